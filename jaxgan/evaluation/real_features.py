"""The features of real samples, which are cached."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import __version__, store
from jaxgan.data import Dataset
from jaxgan.evaluation.protocol import Features, Protocol, extract_in_parts
from jaxgan.files import user_cache


def available(part: Dataset, count: int) -> int:
    """Returns the number of samples that a split can give, at most `count`."""
    return count if part.num_examples is None else min(count, part.num_examples)


def extract_real_features(
    protocol: Protocol, part: Dataset, use: str, count: int, key: jax.Array
) -> tuple[Features, np.ndarray | None]:
    """Returns the features of `count` real samples and their labels. Features are cached.

    use: the purpose, by which they are cached. key: chooses the samples.
    """
    batch = part.batch(key, 0, count)
    labels = None if batch.labels is None else np.asarray(batch.labels)

    def extract() -> dict:
        found = protocol.extract_features(np.asarray(batch.images))
        return {name: each for name, each in found._asdict().items() if each is not None}

    name = f"{part.fingerprint} {use} {count}"
    return Features(**load_or_compute(name, protocol, extract)), labels


def extract_split(protocol: Protocol, part: Dataset) -> np.ndarray:
    """Returns the features of all examples, in their order."""

    def load(indices: np.ndarray) -> np.ndarray:
        return np.asarray(part.convert(jax.tree.map(jnp.asarray, part.take(indices))).images)

    extract = lambda: {"features": extract_in_parts(protocol, load, part.num_examples).features}
    return load_or_compute(f"{part.fingerprint} all", protocol, extract)["features"]


def load_or_compute(name: str, protocol: Protocol, compute: Callable[[], dict]) -> dict:
    """Returns arrays from the user's cache or, if they are not there, computes and saves them.

    name: of what is computed; the file also depends on the features and the version of jaxgan.
    Nothing depends on the cache: what cannot be saved is computed again.
    """
    if not protocol.cached:
        return compute()
    path = cache_path(f"{__version__} {name} {protocol.about['digest']}")
    try:
        return store.load(path).arrays
    except (OSError, ValueError):  # Missing, or damaged.
        arrays = compute()
        with contextlib.suppress(OSError):
            store.save(path, arrays)
        return arrays


def cache_path(name: str) -> Path:
    """Returns the file in the user's cache for what was computed of real data."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return user_cache() / "references" / f"{digest[:32]}.safetensors"
