"""Does a GAN fill in a missing quarter of a digit better than simple methods do?

    python -m experiments.invert runs/mnist --data-dir ~/tensorflow_datasets

One random quadrant of each of 100 test images is missing. It is filled in by the GAN of a run
(`python -m jaxgan.invert`), from the training image that is nearest by the visible pixels, from the
mean of the 30 nearest, and from the mean training image. Prints a JSON line with the mean squared
error of each, over the missing pixels with values in [0, 1], and its standard error over images.
The hidden pixels and the labels of the test images are used for nothing else.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from jaxgan.data import load
from jaxgan.data.arrays import to_float
from jaxgan.keys import key_of_seed
from jaxgan.outputs.inversion import DEFAULTS, invert
from jaxgan.runs import plots
from jaxgan.runs.generators import load_generator

NEAREST = 30
"""The number of training images whose mean is one of the methods."""
EXAMPLES = 10
"""The number of images in the picture."""


def choose_quadrants(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns which pixels are known, bool `[n, h, w, 1]`: all but a random quadrant of each."""
    count, height, width = images.shape[:3]
    rows, columns = np.arange(height) >= height // 2, np.arange(width) >= width // 2
    quadrant = 2 * rows[:, None] + columns
    return (quadrant != rng.integers(4, size=count)[:, None, None])[..., None]


def nearest(images: np.ndarray, masks: np.ndarray, train: np.ndarray, count: int = 1) -> np.ndarray:
    """Returns the mean of the training images that are nearest to each image, by known pixels."""
    distance = lambda image, mask: ((train - image) ** 2 * mask).sum(axis=(1, 2, 3))
    found = [distance(*each).argsort()[:count] for each in zip(images, masks, strict=True)]
    return np.stack([train[each].mean(axis=0) for each in found])


def hidden_errors(filled: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the mean squared errors `[n]` over missing pixels, of values in [0, 1]."""
    missing = np.broadcast_to(~masks, truth.shape)
    squares = np.where(missing, ((filled - truth) / 2) ** 2, 0)
    return squares.sum(axis=(1, 2, 3)) / missing.sum(axis=(1, 2, 3))


def draw(path: Path, rows: dict[str, np.ndarray]) -> None:
    """Draws a row of images for each method."""
    few = np.stack([images[:EXAMPLES] for images in rows.values()])
    plots.save_samples(path, few.reshape(-1, *few.shape[2:]), 3, columns=few.shape[1])


def main() -> None:
    """Measures the errors of all methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--count", type=int, default=100, help="number of images")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("restarts", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(DEFAULTS, name))
    for name in ("learning-rate", "prior"):
        default = getattr(DEFAULTS, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--picture", type=Path, help="file for a picture of ten examples")
    options = parser.parse_args()
    generator = load_generator(options.run)
    name = generator.of_run.dataset.name
    train, test = (
        np.asarray(to_float(load(name, options.data_dir, split=part)[0].images))
        for part in ("train", "test")
    )
    rng = np.random.default_rng(options.seed)
    truth = test[rng.permutation(len(test))[: options.count]]
    masks = choose_quadrants(truth, rng)
    names = ("restarts", "steps", "learning_rate", "prior")
    settings = DEFAULTS._replace(**{name: getattr(options, name) for name in names})
    damaged = np.where(masks, truth, 0)
    found = jax.device_get(invert(generator, damaged, masks, key_of_seed(options.seed), settings))
    fill = lambda other: np.where(masks, truth, other)
    filled = {
        "gan": found.completed,
        "nearest": fill(nearest(damaged, masks, train)),
        "mean_of_nearest": fill(nearest(damaged, masks, train, NEAREST)),
        "mean": fill(train.mean(axis=0)),
    }
    errors = {name: hidden_errors(images, truth, masks) for name, images in filled.items()}
    line = {"dataset": name, "images": len(truth), "seed": options.seed, **settings._asdict()}
    for name, own in errors.items():
        line[name] = round(float(own.mean()), 5)
        line[f"{name}_standard_error"] = round(float(own.std(ddof=1) / np.sqrt(len(own))), 5)
    line["known_error"] = round(float(found.errors.mean() / 4), 5)
    print(json.dumps({**line, "device": jax.devices()[0].device_kind}))
    if options.picture is not None:
        draw(options.picture, {"truth": truth, "damaged": damaged, **filled})


if __name__ == "__main__":
    main()
