"""Do samples of a GAN, trained on few digits, help a classifier of those few digits?

    python -m experiments.augment --data-dir ~/tensorflow_datasets

For N = 10, 50 and 500 real MNIST digits of each class, drawn anew for each seed, a conditional GAN
is trained on those digits alone. A classifier is then trained on the digits, on samples of the GAN,
and on both in equal parts, for the same number of steps each time (with shifts of the images, as
`jaxgan.classify` does), and tested on the 10,000 digits of the test split. Prints a JSON line for
each N and seed, and the mean accuracy, with the mean difference between "both" and "real" and its
standard error over seeds.

With dcgan, 4,000 steps of the GAN and 1,500 of the classifier on an H200 (`results/augment.jsonl`):
with 10 digits of each class, the accuracy is 90.3 %, and 90.9 % with samples (a gain of 0.66 ± 0.08
points, five seeds); with 50, 97.5 and 97.2 % (-0.34 ± 0.08); with 500, 99.0 and 98.8 %
(-0.17 ± 0.03, four seeds). With the mlp, whose samples are worse, they do harm at each number.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import sample, train
from jaxgan.data import Images, load
from jaxgan.evaluation import classifier
from jaxgan.keys import key_of_seed
from jaxgan.runs.recipes import make_config

PER_CLASS = (10, 50, 500)
SAMPLES = 5_000
"""Numbers of real digits of each class, and of samples that the classifier is trained on."""
GAN = {"conditional": True, "augment": ("translation",)}
"""What differs from `--recipe mnist_mlp`: with few digits, the discriminator must not know them all."""


def choose_digits(dataset: Images, per_class: int, seed: int) -> np.ndarray:
    """Returns the indices of some digits of each class."""
    rng, labels = np.random.default_rng(seed), np.asarray(dataset.labels)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in range(10)]
    return rng.permutation(np.concatenate(chosen))


def draw_samples(few: Images, seed: int, options, root: Path) -> Images:
    """Returns samples, in equal parts of each class, of a GAN trained on some digits."""
    file, run, drawn = root / "few.npz", root / "run", root / "samples.npz"
    np.savez(file, images=np.asarray(few.images), labels=np.asarray(few.labels))
    batch_size = min(64, len(few.images) // 2)  # A step takes two batches.
    steps = options.gan_steps
    lengths = {"steps": steps, "decay_steps": steps, "batch_size": batch_size}
    config = make_config("mnist_mlp", **GAN, **lengths, network=options.network, seed=seed)
    settings = {"dataset": None, "data_file": file, "out": run, "sample_every": steps}
    with contextlib.redirect_stdout(sys.stderr):
        train.main(dataclasses.replace(config, **settings, checkpoint_every=steps))
        sample.main(sample.Config(run, num=SAMPLES, seed=seed, out=drawn))
    with np.load(drawn) as found:
        return make_images(found["images"], found["labels"])


def make_images(images: np.ndarray, labels: np.ndarray) -> Images:
    """Returns labeled images as the classifier takes them."""
    arrays = jnp.asarray(images), "digits", "digits", jnp.asarray(labels, jnp.int32)
    return Images(*arrays, num_classes=10)


def both(real: Images, samples: Images) -> Images:
    """Returns samples and equally many real digits, which are repeated."""
    count = len(samples.images)
    pick = lambda each: np.resize(np.asarray(each), (count, *each.shape[1:]))
    images = np.concatenate([pick(real.images), np.asarray(samples.images)])
    return make_images(images, np.concatenate([pick(real.labels), np.asarray(samples.labels)]))


def classify(images: Images, test: Images, seed: int, steps: int) -> float:
    """Returns the accuracy on the test split of a classifier trained for a number of steps."""
    epochs = -(-steps // classifier.steps_per_epoch(len(images.images)))
    return classifier.accuracy(classifier.train(images, key_of_seed(seed), epochs), test)


def measure(digits: Images, test: Images, per_class: int, seed: int, options) -> dict:
    """Returns the accuracies for one number of digits and one seed."""
    chosen = choose_digits(digits, per_class, seed)
    few = make_images(np.asarray(digits.images)[chosen], np.asarray(digits.labels)[chosen])
    with tempfile.TemporaryDirectory() as root:
        samples = draw_samples(few, seed, options, Path(root))
    parts = {"real": few, "samples": samples, "both": both(few, samples)}
    accuracies = {name: classify(part, test, seed, options.steps) for name, part in parts.items()}
    return {"per_class": per_class, "seed": seed, **accuracies}


def summarize(lines: list[dict], per_class: int) -> dict:
    """Returns the means over seeds, and the gain by samples with its standard error."""
    own = [line for line in lines if line["per_class"] == per_class]
    values = {name: np.array([line[name] for line in own]) for name in ("real", "samples", "both")}
    gain = values["both"] - values["real"]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else None
    return {
        "per_class": per_class,
        "seeds": len(own),
        **{name: round(float(value.mean()), 4) for name, value in values.items()},
        "gain": round(float(gain.mean()), 4),
        "standard_error": None if error is None else round(float(error), 4),
    }


def main() -> None:
    """Measures all numbers of digits and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", default="dcgan")
    parser.add_argument("--gan-steps", type=int, default=4_000)
    parser.add_argument("--steps", type=int, default=1_500, help="of the classifier")
    parser.add_argument("--per-class", type=int, nargs="*", default=PER_CLASS)
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    digits, test = (load("mnist", options.data_dir, split=part)[0] for part in ("train", "test"))
    lines, about = [], {"device": jax.devices()[0].device_kind, "network": options.network}
    about |= {"gan_steps": options.gan_steps, "steps": options.steps}
    for per_class in options.per_class:
        for seed in range(options.seeds):
            lines.append(measure(digits, test, per_class, seed, options))
            print(json.dumps({**about, **lines[-1]}), flush=True)
        print(json.dumps(summarize(lines, per_class)), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
