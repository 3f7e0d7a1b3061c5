"""The picture of the samples that are closest to training examples."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import Images
from jaxgan.evaluation.images import crop
from jaxgan.evaluation.reference import Reference
from jaxgan.evaluation.scores import Closest
from jaxgan.runs import plots

NAME = "nearest.png"


def draw_nearest(directory: Path, reference: Reference, closest: Closest | None) -> None:
    """Draws samples, each above the training image that is nearest to it, closest first.

    Does nothing for data other than images, and without `closest`. Raises `OSError`.
    """
    train = reference.splits.train
    if closest is None or not isinstance(train, Images):
        return
    rows = jax.tree.map(jnp.asarray, reference.neighbors.examples.take(closest.indices))
    samples = crop(closest.samples, train.shape)
    images = np.concatenate([samples, np.asarray(train.convert(rows).images)])
    plots.save_samples(directory / NAME, images, len(train.shape), columns=len(samples))
