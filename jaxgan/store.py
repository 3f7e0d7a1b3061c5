"""Arrays on disk: safetensors files that carry a digest and are replaced as a whole."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from jaxgan.files import replacing
from jaxgan.trees import tree_sha256

SEPARATOR = "."


class Stored(NamedTuple):
    """The content of a file.

    arrays: a nested dictionary of NumPy arrays. about: the JSON object saved beside them.
    digest: the SHA-256 of the arrays, see `jaxgan.trees.tree_sha256`.
    """

    arrays: dict
    about: dict
    digest: str


def save(path: Path, arrays: dict, about: dict | None = None) -> None:
    """Writes a nested dictionary of arrays with its digest. An existing file is replaced whole.

    about: a JSON object to keep beside the arrays. Raises `OSError`.
    """
    from safetensors.numpy import save as serialize

    flat = {
        name: np.asarray(array, order="C")
        for name, array in traverse_util.flatten_dict(arrays, sep=SEPARATOR).items()
    }
    header = {"sha256": tree_sha256(arrays), "about": json.dumps(about or {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, shared=True) as temporary:
        temporary.write_bytes(serialize(flat, metadata=header))


def load(path: Path) -> Stored:
    """Returns the content of a file.

    Raises `OSError` where it cannot be read, and `ValueError` where it is damaged.
    """
    from safetensors import safe_open

    path.stat()  # Raises the system's own error for a file that is missing.
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata()
            flat = {name: file.get_tensor(name) for name in list(file.keys())}
        about, expected = json.loads(header["about"]), header["sha256"]
    except OSError:
        raise
    except Exception as error:  # A damaged file raises errors of many types.
        raise ValueError(f"{error}") from error
    arrays = traverse_util.unflatten_dict(flat, sep=SEPARATOR)
    if (digest := tree_sha256(arrays)) != expected:
        raise ValueError("its digest does not match")
    return Stored(arrays, about, digest)
