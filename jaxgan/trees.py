"""Pytrees of arrays: their leaves by path, their digest, and the values that are not finite."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def leaves_by_path(tree: Any) -> dict[str, jax.Array]:
    """Returns the leaves of a tree by their path in it, such as "generator/params/Dense_0/bias"."""
    flat, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def tree_sha256(tree: Any) -> str:
    """Returns the SHA-256 of every leaf of a tree: its path, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for path, leaf in sorted(leaves_by_path(tree).items()):
        array = np.asarray(leaf)
        digest.update(f"{path} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def non_finite_leaves(tree: Any) -> dict[str, jax.Array]:
    """Returns by path, for every floating-point leaf, whether it holds a NaN or an infinity."""
    return {
        path: ~jnp.isfinite(leaf).all()
        for path, leaf in leaves_by_path(tree).items()
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
