"""Latents of given images: inversion of a generator, and completion of damaged images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxgan.runs.generators import Generator
from jaxgan.sampling import cycle_classes

CANDIDATES = 2_048
"""The least number of samples that the search begins from."""
CHUNK = 64
"""The number of samples that are computed at a time."""
IMAGES_AT_A_TIME = 16


class Settings(NamedTuple):
    """How latents are searched.

    restarts: searches for each image, of which the best is kept. steps: of each search.
    label: the class of all images, for a conditional GAN; None for a search over classes.
    learning_rate: the first one of Adam; it decays to zero along a cosine.
    prior: weight of the mean square of the latent, up to a factor its negative log density, times
    the share of the pixels that are missing: it decides where the known pixels do not.
    """

    restarts: int = 8
    steps: int = 300
    label: int | None = None
    learning_rate: float = 0.1
    prior: float = 0.4


DEFAULTS = Settings()


class Inversion(NamedTuple):
    """What was found for n images of shape `[h, w, c]`.

    latents: `[n, latent_size]`. labels: `[n]`, None if the GAN is not conditional. images: of the
    latents, in [-1, 1]. completed: the given images where they are known, and `images` elsewhere.
    errors: `[n]`, the mean squared errors over known pixels. objectives: `[n]`, the same with the
    prior, which is what the search minimizes.
    """

    latents: jax.Array
    labels: jax.Array | None
    images: jax.Array
    completed: jax.Array
    errors: jax.Array
    objectives: jax.Array


class Found(NamedTuple):
    """The best latents `[restarts, k]` of a search so far, `[restarts]` of the others."""

    latents: jax.Array
    objectives: jax.Array
    errors: jax.Array


def invert(
    generator: Generator,
    images: jax.Array,
    masks: jax.Array,
    key: jax.Array,
    settings: Settings = DEFAULTS,
) -> Inversion:
    """Returns the latents whose images are nearest to given images where these are known.

    The distance is the mean squared error over known pixels (inversion by gradient descent: Zhu et
    al. 2016, arXiv:1609.03552; completion of images: Yeh et al. 2017, arXiv:1607.07539). Each
    search begins at one of the nearest of `CANDIDATES` samples and keeps its best latent. The
    searches over a conditional GAN go through the classes in turn, from the class of the nearest
    sample on. What is found for an image does not depend on its unknown pixels, and is never worse
    with more restarts.
    images: `[n, h, w, c]` in [-1, 1]. masks: `[n, h, w, 1]`, whether a pixel is known; at least one
    of each image must be.
    """
    classes = generator.num_classes if settings.label is None else None
    count = CHUNK * -(-CANDIDATES // CHUNK)
    if classes is not None:  # Equally many of each class.
        count = CHUNK * classes * -(-count // (CHUNK * classes))
    latents = generator.latents(key, count)
    labels = None
    if generator.num_classes is not None:
        labels = (
            jnp.full(count, settings.label) if classes is None else cycle_classes(count, classes)
        )
        labels = jnp.asarray(labels)

    def search(variables, images, masks, latents, labels):
        decode = lambda latents, labels: generator.sampler.decode(variables, latents, labels)
        masks = jnp.asarray(masks, jnp.float32)
        known = jnp.where(masks > 0, images, 0)
        chosen = choose_starts(
            sample_distances(decode, known, masks, latents, labels), classes or 1, settings.restarts
        )

        def of_image(inputs):
            image, mask, chosen = inputs
            own = None if labels is None else labels[chosen]
            found = descend(lambda z: decode(z, own), image, mask, latents[chosen], settings)
            best = jnp.argmin(found.objectives)
            label = None if labels is None else own[best]
            return jax.tree.map(lambda leaf: leaf[best], found), label

        size = min(IMAGES_AT_A_TIME, len(images))
        found, own = lax.map(of_image, (known, masks, chosen), batch_size=size)
        reached = lax.map(
            lambda inputs: decode(inputs[0][None], None if own is None else inputs[1][None])[0],
            (found.latents, own),
            batch_size=CHUNK,
        )
        completed = jnp.where(masks > 0, images, reached)
        return Inversion(found.latents, own, reached, completed, found.errors, found.objectives)

    return jax.jit(search)(generator.variables, images, masks, latents, labels)


def sample_distances(decode, images, masks, latents, labels) -> jax.Array:
    """Returns the summed squared errors `[n, count]` of samples over known pixels.

    decode: from latents and labels to samples. images: `[n, h, w, c]`, zero where they are unknown.
    masks: `[n, h, w, 1]`, 1 or 0. latents: `[count, k]`. labels: `[count]` or None.
    """
    shape = images.shape[1:]
    flat = lambda x: jnp.broadcast_to(x, (len(x), *shape)).reshape(len(x), -1)
    images, masks = flat(images), flat(masks)
    squares = (images**2).sum(axis=1, keepdims=True)

    def of_chunk(inputs):
        samples = flat(decode(*inputs))
        product = lambda a, b: jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
        return squares - 2 * product(images, samples) + product(masks, samples**2)

    chunked = lambda x: None if x is None else x.reshape(-1, CHUNK, *x.shape[1:])
    distances = lax.map(of_chunk, (chunked(latents), chunked(labels)))
    return jnp.moveaxis(distances, 0, 1).reshape(len(images), -1)


def choose_starts(distances: jax.Array, classes: int, restarts: int) -> jax.Array:
    """Returns the samples `[n, restarts]` that searches begin at, the most promising first.

    The nearest sample of each class, nearest first, then the second nearest of each, and so on.
    distances: `[n, count]` to samples, the classes of which go in turn.
    """
    by_class = distances.reshape(len(distances), -1, classes)
    ranked = jnp.argsort(by_class, axis=1)
    order = jnp.argsort(by_class.min(axis=1), axis=1)
    numbers = np.arange(restarts)
    own = order[:, numbers % classes]
    rank = numbers // classes % by_class.shape[1]
    chosen = ranked[np.arange(len(distances))[:, None], rank, own]
    return chosen * classes + own


def descend(decode, image: jax.Array, mask: jax.Array, starts: jax.Array, settings: Settings):
    """Returns the best latents that Adam reaches from some starts, as `Found`.

    decode: from latents `[restarts, k]` to samples. image: `[h, w, c]`. mask: `[h, w, 1]`.
    """
    total, prior = mask.sum() * image.shape[-1], settings.prior * (1 - mask.mean())
    tx = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, max(1, settings.steps)))

    def measure(latents):
        errors = (mask * (decode(latents) - image) ** 2).sum(axis=(1, 2, 3)) / total
        objectives = errors + prior * (latents**2).mean(axis=1)
        return objectives.sum(), Found(latents, objectives, errors)

    def step(carry, _):
        latents, state, best = carry
        gradients, now = jax.grad(measure, has_aux=True)(latents)
        better = now.objectives < best.objectives
        pick = lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        best = jax.tree.map(pick, now, best)
        updates, state = tx.update(gradients, state)
        return (optax.apply_updates(latents, updates), state, best), None

    unknown = jnp.full(len(starts), jnp.inf)
    carry = starts, tx.init(starts), Found(starts, unknown, unknown)
    # The last update is not measured.
    (_, _, best), _ = lax.scan(step, carry, length=settings.steps + 1)
    return best
