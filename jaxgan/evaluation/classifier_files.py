"""Trained classifiers: the one that comes with the package, and those in the user's cache.

MNIST's comes with the package, so that the numbers of different people are of the same features.
For other data, a classifier is trained when it is needed for the first time.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from jaxgan import store
from jaxgan.data.arrays import Images
from jaxgan.data_settings import DataSettings, PictureSettings, SourceSettings
from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation import classifier, rotations
from jaxgan.files import user_cache
from jaxgan.keys import key_of_seed
from jaxgan.parallel.distributed import print_lines

MNIST = Path(__file__).parent / "mnist.safetensors"
RECIPE = 2
"""The version of the training. Classifiers of another version are kept, and not used."""
ROTATIONS = "turns"
"""The task of a classifier that tells by which angle an image was rotated."""


class Trained(NamedTuple):
    """A trained classifier.

    variables: Flax's. digest: their SHA-256. about: how it was trained.
    """

    variables: dict
    digest: str
    about: dict

    @property
    def num_classes(self) -> int:
        """The number of its classes."""
        return self.variables["params"]["Dense_0"]["bias"].shape[0]

    @property
    def of_rotations(self) -> bool:
        """Whether its classes are rotations, see `jaxgan.evaluation.rotations`."""
        return self.about.get("task") == ROTATIONS


def classifier_path(dataset: Images) -> Path:
    """Returns the file of a data set's classifier in the user's cache."""
    name = f"{dataset.fingerprint[:32]}-{RECIPE}.safetensors"
    return user_cache() / "classifiers" / name


def load(path: Path) -> Trained:
    """Returns a saved classifier. Raises `RunError` for a file that is missing or damaged."""
    try:
        variables, about, digest = store.load(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"the classifier in {path} cannot be loaded ({error}): reinstall jaxgan if the file is "
            "part of it, otherwise delete the file to train the classifier again"
        ) from error
    return Trained(variables, digest, about)


def find_classifier(train: Images, test: Images, data_flags: str = "") -> Trained:
    """Returns the classifier of a data set, which is trained now if there is none.

    data_flags: see `train_and_save`.
    Raises `RunError` for a file that is damaged or is the classifier of other data.
    """
    bundled = load(MNIST)
    if train.fingerprint == bundled.about["fingerprint"]:
        return bundled
    path = classifier_path(train)
    if not path.exists():
        return train_and_save(train, test, path, data_flags=data_flags)
    trained = load(path)
    if trained.about["fingerprint"] != train.fingerprint:
        raise RunError(
            f"{path} is the classifier of {trained.about['dataset']}, not of {train.name}: delete "
            "the file to train the right one"
        )
    return trained


def describe_data(settings: DataSettings) -> str:
    """Returns the flags of the data and of their pictures, with the bare name of a file."""
    flags = []
    for field in (*dataclasses.fields(SourceSettings), *dataclasses.fields(PictureSettings)):
        value = getattr(settings, field.name)
        if field.name == "data_dir" or value == field.default:
            continue
        if field.name == "data_file":
            value = value.resolve().name
        flags.append(f"--{field.name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    return " ".join(flags)


def train_and_save(
    train: Images,
    test: Images,
    path: Path,
    epochs: int | None = None,
    seed: int = 0,
    data_flags: str = "",
) -> Trained:
    """Trains a classifier of the classes of images or, without classes, of rotations; saves it.

    epochs: by default those of `classifier.default_epochs`. data_flags: the data in the command
    that is saved with it. Raises `UsageError` if the file exists already.
    """
    from tqdm import tqdm

    if path.exists():
        raise UsageError(
            f"{path} exists, and scores may depend on it: choose another --out, or delete it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    task = "classes" if classifier.has_classes(train) else ROTATIONS
    if task == ROTATIONS:
        train, test = rotations.with_random_rotations(train), rotations.with_all_rotations(test)
    epochs = epochs or classifier.default_epochs(len(train.images))
    print_lines(
        f"training a classifier of {'rotations' if task == ROTATIONS else task} on {train.name} "
        f"({len(train.images):,} images {'x'.join(map(str, train.shape))}): {epochs} epochs"
    )
    with tqdm(total=epochs, unit="epoch", disable=None, leave=False) as bar:
        variables = classifier.train(train, key_of_seed(seed), epochs, lambda *_: bar.update())
    data_flags = data_flags or f"--dataset {train.name}"
    about = {
        "dataset": train.name,
        "fingerprint": train.fingerprint,
        "task": task,
        "shape": train.shape,
        "accuracy": classifier.accuracy(variables, test),
        "command": f"python -m jaxgan.classify {data_flags} --epochs {epochs} --seed {seed}",
    }
    store.save(path, variables, about)
    trained = load(path)
    print_lines(
        f"{about['accuracy']:.2%} accuracy on the test split; digest {trained.digest[:12]}; saved "
        f"as {path}"
    )
    return trained
