"""Packing: the discriminator sees several images at a time (PacGAN, Lin et al. 2018)."""

import jax
import jax.numpy as jnp


def pack_images(images: jax.Array, pack: int) -> jax.Array:
    """Returns images `[n / pack, ..., pack * c]` of images `[n, ..., c]`, joined by channel.

    Images `n / pack` rows apart are joined, so that each device has whole packs in its rows.
    """
    if pack == 1:
        return images
    return jnp.concatenate(list(images.reshape(pack, -1, *images.shape[1:])), axis=-1)


def pack_labels(labels: jax.Array | None, pack: int) -> jax.Array | None:
    """Returns labels `[n / pack, pack]` of labels `[n]`; unchanged if `pack` is 1."""
    return labels if labels is None or pack == 1 else labels.reshape(pack, -1).T
