"""What several tests share."""

import hashlib
import json
from pathlib import Path

import numpy as np

from jaxgan.trees import leaves_by_path


def assert_close(found, expected, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Compares trees leaf by leaf, to float tolerance."""
    found = leaves_by_path(found)
    for path, leaf in leaves_by_path(expected).items():
        np.testing.assert_allclose(found[path], leaf, rtol=rtol, atol=atol, err_msg=path)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_rows(run: Path) -> list[dict]:
    """Returns the lines of a run's `metrics.jsonl`."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def digest_of(run: Path) -> str:
    """Returns the digest of a run's last state."""
    return read_json(run / "summary.json")["state_sha256"]


def content_of(run: Path) -> dict[str, str]:
    """Returns the digest of every file of a folder, by its name in it."""
    files = [file for file in sorted(run.rglob("*")) if file.is_file()]
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
