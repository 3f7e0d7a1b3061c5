"""Features that replace those of a classifier: Inception's, or those of a function of the user."""

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data.arrays import to_float
from jaxgan.errors import UsageError, first_line

INCEPTION_BATCH = 50
BATCH = 500
"""The number of images that a function of the user is called with, at most."""


class Extractor(NamedTuple):
    """Features of images, and what they are.

    extract: from images, uint8 `[n, h, w, c]`, to features `[n, d]`, and to logits `[n, classes]`
        or None. name, digest: of the features, for those who compare numbers.
    cached: whether features of real images may be cached, that is, whether the digest covers
        everything that they depend on.
    """

    extract: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    name: str
    digest: str
    cached: bool = True


def load_extractor(inception: Path | None, function: str | None) -> Extractor | None:
    """Returns the features of a file of weights or of a function; None if neither is given.

    Raises `UsageError` if both are given, or as `load_inception` and `load_function` do.
    """
    if inception is not None and function is not None:
        raise UsageError("--inception and --features exclude each other: give one of them")
    if inception is not None:
        return load_inception(inception)
    return None if function is None else load_function(function)


def load_inception(path: Path) -> Extractor:
    """Returns the features of Inception-v3. Raises `UsageError` for a file that cannot be used."""
    from tqdm import tqdm

    from jaxgan.evaluation import inception, inception_weights

    variables, digest = inception_weights.load(path)
    extract = inception.make_extractor(variables)

    def extract_all(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = range(0, len(images), INCEPTION_BATCH)
        starts = tqdm(starts, "Inception", disable=None, leave=False)
        parts = [extract(to_float(images[i : i + INCEPTION_BATCH])) for i in starts]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    return Extractor(extract_all, "Inception-v3", digest)


def load_function(name: str) -> Extractor:
    """Returns the features that a function of the user computes.

    name: "module:function", a function from images, uint8 `[n, h, w, c]`, to features `[n, d]`. The
    module may be in the working directory. The digest is the SHA-256 of the name and of the source
    file of the module. It does not cover what the module reads or imports, so nothing is cached.
    Raises `UsageError` if there is no such function; `extract` raises it for a function that fails,
    and for features of another shape or with values that are not finite.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise UsageError(f"--features {name} must be MODULE:FUNCTION, such as mine:features")
    module = _import(module_name, f"--features {name}")
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"--features {name}: {module_name} has no function {function_name}")
    if (source := getattr(module, "__file__", None)) is None:
        raise UsageError(
            f"--features {name}: {module_name} has no source file, which identifies it"
        )
    digest = hashlib.sha256(name.encode() + b"\n" + Path(source).read_bytes()).hexdigest()

    def extract_all(images: np.ndarray) -> tuple[np.ndarray, None]:
        starts = range(0, len(images), BATCH)
        parts = [_call(function, images[i : i + BATCH], f"--features {name}") for i in starts]
        if len({part.shape[1] for part in parts}) > 1:
            raise UsageError(f"--features {name} returned different numbers of features")
        return np.concatenate(parts), None

    return Extractor(extract_all, name, digest, cached=False)


def _import(name: str, what: str):
    """Returns a module, which may be in the working directory."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)  # For good: the function may import more when it is called.
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except Exception as error:  # The module may raise anything.
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{what}: the module {name} cannot be imported ({reason})") from error


def _call(function: Callable, images: np.ndarray, what: str) -> np.ndarray:
    """Returns the features of some images, float32 `[n, d]`."""
    try:
        features = np.asarray(function(images))
        features = features.astype(np.float32)
    except Exception as error:  # It may raise anything.
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{what} failed for images of shape {images.shape} ({reason})") from error
    if features.ndim != 2 or len(features) != len(images) or not features.size:
        raise UsageError(
            f"{what} must return features [n, d] of images [n, h, w, c]: it returned the shape "
            f"{features.shape} for images of shape {images.shape}"
        )
    if not np.isfinite(features).all():
        raise UsageError(f"{what} returned NaN or infinity: features must be finite numbers")
    return features
