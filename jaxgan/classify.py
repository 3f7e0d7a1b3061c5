"""python -m jaxgan.classify: train the classifier that samples are judged by."""

import dataclasses
import sys
from pathlib import Path

from jaxgan.command import keep_compiled, run_command, say
from jaxgan.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a classifier on the training split of a data set.

    `jaxgan.evaluate` does so by itself where there is none for the data of a run.
    """

    dataset: str | None = None
    """mnist, fashion_mnist, kmnist, cifar10 or digits"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data"""
    data_file: Path | None = None
    """a folder of pictures, in which each folder is a class"""
    image_size: int | None = None
    """pixels to which a black border enlarges images"""
    epochs: int = 6
    """how often it sees every image"""
    seed: int = 0
    """of its parameters, of the order of the images and their shifts"""
    out: Path | None = None
    """the file to write (by default in the user's cache, where jaxgan.evaluate looks)"""


def main(config: Config):
    """Trains a classifier, writes it, and returns it as `jaxgan.metrics.classifier.Trained`."""
    if config.dataset is None and config.data_file is None:
        raise UsageError("name the data: --dataset or --data-file")
    if not 1 <= config.epochs < 1000:
        raise UsageError(f"--epochs {config.epochs} must be at least 1 and below 1000")
    keep_compiled()
    import jax
    from tqdm import tqdm

    from jaxgan import data
    from jaxgan.metrics import classifier

    train, test = (
        data.load(
            config.dataset,
            config.data_dir,
            data_file=config.data_file,
            image_size=config.image_size,
            split=split,
        )[0]
        for split in ("train", "test")
    )
    if not isinstance(train, data.Images) or train.num_classes is None:
        raise UsageError(f"{train.name} has no labelled images to train a classifier on")
    out = config.out or classifier.place(train)
    say(f"training a classifier on {train.name} ({train.describe()}): {config.epochs} epochs")
    with tqdm(total=config.epochs, unit="epoch", disable=None, leave=False) as bar:
        key = jax.random.key(config.seed)
        variables = classifier.train(train, key, config.epochs, lambda *_: bar.update())
    about = {
        "dataset": train.name,
        "fingerprint": train.fingerprint,
        "shape": train.shape,
        "accuracy": classifier.accuracy(variables, test),
        "command": f"python -m jaxgan.classify --dataset {train.name} "
        f"--epochs {config.epochs} --seed {config.seed}",
    }
    classifier.save(out, variables, about)
    trained = classifier.load(out)
    say(f"{about['accuracy']:.2%} of the test split right; digest {trained.digest[:12]}; in {out}")
    return trained


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.classify"))
