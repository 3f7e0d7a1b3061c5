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
    if not 0 <= config.seed < 2**32:
        raise UsageError(f"--seed {config.seed} must be at least 0 and below 2**32")
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
            split=split,
        )[0]
        for split in ("train", "test")
    )
    if not isinstance(train, data.Images) or train.num_classes is None:
        raise UsageError(f"{train.name} has no labelled images to train a classifier on")
    if train.num_classes < 2:
        raise UsageError(f"all images of {train.name} are of one class: there is nothing to learn")
    out = config.out or classifier.place(train)
    if out.exists():
        raise UsageError(f"{out} exists: numbers may refer to it; name another --out, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    say(f"training a classifier on {train.name} ({train.describe()}): {config.epochs} epochs")
    with tqdm(total=config.epochs, unit="epoch", disable=None, leave=False) as bar:
        key = jax.random.key(config.seed)
        variables = classifier.train(train, key, config.epochs, lambda *_: bar.update())
    file = config.data_file
    data_flag = f"--data-file {file.name}" if file else f"--dataset {train.name}"
    about = {
        "dataset": train.name,
        "fingerprint": train.fingerprint,
        "shape": train.shape,
        "accuracy": classifier.accuracy(variables, test),
        "command": f"python -m jaxgan.classify {data_flag} --epochs {config.epochs} "
        f"--seed {config.seed}",
    }
    classifier.save(out, variables, about)
    trained = classifier.load(out)
    say(f"{about['accuracy']:.2%} of the test split right; digest {trained.digest[:12]}; in {out}")
    return trained


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.classify", "nothing was written"))
