"""python -m jaxgan.classify: train the classifier that samples are judged by."""

import dataclasses
import sys
from pathlib import Path

from jaxgan.command import keep_compiled, run_command, say
from jaxgan.environment import pinned
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a classifier on the training split of a data set.

    It learns the classes or, where there are none, which way images were turned.
    `jaxgan.evaluate` does so by itself where there is none for the data of a run.
    """

    dataset: str | None = None
    """mnist, fashion_mnist, kmnist, cifar10 or digits"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data"""
    data_file: Path | None = None
    """images of your own: a .npy file, or a folder of pictures, in which each folder is a class"""
    epochs: int | None = None
    """how often it sees every image (by default 6 times, and more often where that is less than 400
    steps)"""
    seed: int = 0
    """of its parameters, of the order of the images and their shifts"""
    out: Path | None = None
    """the file to write (by default in the user's cache, where jaxgan.evaluate looks)"""

    def __post_init__(self):
        expand_paths(self, "data_dir", "data_file", "out")


def main(config: Config):
    """Trains a classifier, writes it, and returns it as `jaxgan.metrics.classifier.Trained`.

    Raises `UsageError` for settings and data that no classifier can be trained with.
    """
    if config.dataset is None and config.data_file is None:
        raise UsageError("name the data: --dataset or --data-file")
    if config.epochs is not None and not 1 <= config.epochs < 1000:
        raise UsageError(f"--epochs {config.epochs} must be at least 1 and below 1000")
    if not 0 <= config.seed < 2**32:
        raise UsageError(f"--seed {config.seed} must be at least 0 and below 2**32")
    with pinned():
        keep_compiled()
        return _trained(config, *_splits(config))


def _splits(config: Config) -> tuple:
    """Returns the training split and the test split."""
    from jaxgan import data

    train, test = (
        data.load(config.dataset, config.data_dir, data_file=config.data_file, split=split)[0]
        for split in ("train", "test")
    )
    if not isinstance(train, data.Images):
        raise UsageError(f"{train.name} is no set of images to train a classifier on")
    return train, test


def _trained(config: Config, train, test):
    """Returns the classifier of a training split, written and with its accuracy on a test split."""
    from tqdm import tqdm

    from jaxgan.keys import key_of_seed
    from jaxgan.metrics import classifier, rotations

    out = config.out or classifier.place(train)
    if out.exists():
        raise UsageError(f"{out} exists: numbers may refer to it; name another --out, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    task = "classes" if classifier.has_classes(train) else classifier.TURNING
    if task == classifier.TURNING:
        train, test = rotations.to_turn(train), rotations.in_all_turns(test)
    epochs = config.epochs or classifier.epochs_for(len(train.images))
    say(
        f"training a classifier of {task} on {train.name} ({len(train.images):,} images "
        f"{'x'.join(map(str, train.shape))}): {epochs} epochs"
    )
    with tqdm(total=epochs, unit="epoch", disable=None, leave=False) as bar:
        key = key_of_seed(config.seed)
        variables = classifier.train(train, key, epochs, lambda *_: bar.update())
    file = config.data_file
    data_flag = f"--data-file {file.resolve().name}" if file else f"--dataset {train.name}"
    about = {
        "dataset": train.name,
        "fingerprint": train.fingerprint,
        "task": task,
        "shape": train.shape,
        "accuracy": classifier.accuracy(variables, test),
        "command": f"python -m jaxgan.classify {data_flag} --epochs {epochs} --seed {config.seed}",
    }
    classifier.save(out, variables, about)
    trained = classifier.load(out)
    say(f"{about['accuracy']:.2%} of the test split right; digest {trained.digest[:12]}; in {out}")
    return trained


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.classify", "nothing was written"))
