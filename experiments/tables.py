"""The tables of results, in the README and in the experiments, from the lines in `results/`.

    python -m experiments.tables

`--check` changes nothing, and fails if a table is not that of the results.
"""

import argparse
import importlib
import sys
from pathlib import Path

from experiments import record

NAMES = ("mixtures", "losses", "stacked_mnist", "mnist", "ablation", "limited_data")
"""The experiments with results and a function `make_table`."""
HEADING = "Results (`python -m experiments.tables`):\n"
FOLDER = Path(__file__).parent
README = FOLDER.parent / "README.md"


def in_docstring(text: str, name: str) -> str:
    """Returns the program of an experiment with its table at the end of its docstring."""
    lines = record.read_lines(record.RESULTS / f"{name}.jsonl")
    table = importlib.import_module(f"experiments.{name}").make_table(lines)
    content = f"{HEADING}\n{table.to_markdown()}\n\n{record.describe_machines(lines)}\n"
    start = text.index(HEADING)
    return text[:start] + content + text[text.index('"""', start) :]


def in_readme(text: str) -> str:
    """Returns the README with the table of each experiment between two comments."""
    for name in NAMES:
        lines = record.read_lines(record.RESULTS / f"{name}.jsonl")
        table = importlib.import_module(f"experiments.{name}").make_table(lines)
        begin, end = f"<!-- results of experiments/{name}.py -->", "<!-- end of results -->"
        before, _, rest = text.partition(f"{begin}\n")
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{README} lacks the lines {begin} and {end}")
        content = f"{begin}\n\n{table.to_markdown(digests=False)}\n\n{end}"
        text = before + content + after
    return text


def make_texts() -> dict[Path, str]:
    """Returns the files with tables as they should be."""
    texts = {FOLDER / f"{name}.py": name for name in NAMES}
    texts = {path: in_docstring(path.read_text(), name) for path, name in texts.items()}
    return texts | {README: in_readme(README.read_text())}


def main() -> int:
    """Writes or checks the tables, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if a file would change")
    check = parser.parse_args().check
    stale = {path: text for path, text in make_texts().items() if path.read_text() != text}
    for path, text in stale.items():
        if check:
            print(f"{path} differs from its results: run python -m experiments.tables")
        else:
            path.write_text(text)
            print(f"wrote {path}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
