"""Is a published result the same here? Trains its run again and compares the state, bit for bit.

    taskset -c 0,1 python -m experiments.verify 551df15a1e4a --data-dir ~/tensorflow_datasets

Takes the first digits of a digest, as in the tables of the experiments. The bits are the same on the
same kind of machine with as many cores and the same versions; if they differ, `jaxgan.verify` says what
has changed.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from experiments import record
from jaxgan import verify
from jaxgan.files import write_json


def find_line(digest: str) -> dict:
    """Returns the only published line whose digest begins so. Raises `SystemExit` otherwise."""
    found = {
        line["state_sha256"]: line
        for path in sorted(record.RESULTS.glob("*.jsonl"))
        for line in record.read_lines(path)
        if (line.get("state_sha256") or "").startswith(digest)
    }
    if len(found) != 1:
        what = "several digests begin" if found else "no published digest begins"
        raise SystemExit(f"{what} with {digest}: give the digits of a table of the experiments")
    return next(iter(found.values()))


def main() -> int:
    """Verifies what the command line names, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digest", help="the first digits of state_sha256 in a table")
    parser.add_argument("--data-dir", help="directory of TensorFlow Datasets")
    options = parser.parse_args()
    line = find_line(options.digest)
    data_dir = options.data_dir and str(Path(options.data_dir).expanduser().resolve())
    name = f"published-{record.short_digest(line)}"  # The message begins with it.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(name).mkdir()
        write_json(Path(name) / "config.json", record.make_description(line))
        sys.argv[1:] = ["--config", f"{name}/config.json", "--expect", line["state_sha256"]]
        sys.argv += ["--data-dir", data_dir] if data_dir else []
        return verify.command()


if __name__ == "__main__":
    sys.exit(main())
