"""Any image data set that TensorFlow Datasets has prepared on disk, read without TensorFlow."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from jaxgan import store
from jaxgan.data import image_folder, tfds
from jaxgan.data.builders import import_tfds
from jaxgan.data.records import PreparedRecords
from jaxgan.data.source import Source
from jaxgan.data.user_files import name_classes, open_source_of_pictures
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError, first_line
from jaxgan.files import user_cache

PREFIX = "tfds:"
TEST_SPLITS = ("test", "validation")
READ_AT_ONCE = 1000


class Features(NamedTuple):
    """The names of the features with the image and, if there is one, its class."""

    image: str
    label: str | None
    class_names: tuple[str, ...]


def open_prepared(settings: DataSettings) -> Source:
    """Returns the source of `--dataset tfds:NAME[/CONFIG]`: its training split.

    Its test split is `test` or else `validation`, if it has one of these.
    Raises `UsageError` for a data set that is not prepared or has no images or no training split,
    and `RunError` for files that cannot be read.
    """
    name = settings.dataset.removeprefix(PREFIX)
    directory = find_prepared(tfds.data_root(settings.data_dir), name)
    try:
        builder = import_tfds().builder_from_directory(directory)
        features = _find_features(builder.info.features)
        splits = list(builder.info.splits)
    except RunError:
        raise
    except Exception as error:  # The errors of TFDS have no common type.
        raise RunError(f"{directory} cannot be read by TFDS: {first_line(error)}") from error
    if features is None:
        raise UsageError(f"{settings.dataset} has no images")
    if "train" not in splits:
        raise UsageError(f"{settings.dataset} has no split train, only {', '.join(splits)}")
    test = next((split for split in TEST_SPLITS if split in splits), None)
    name = name.replace("/", "-")
    source = _open_split(name, builder, features, "train", settings)
    open_test = lambda: _open_split(name, builder, features, test, settings)
    return source._replace(open_test=open_test if test else None)


def find_prepared(root: Path, name: str) -> Path:
    """Returns the folder of the newest version of a prepared data set.

    name: NAME, or NAME/CONFIG. Raises `UsageError` if there is none, or several configurations.
    """
    if found := tfds.find_version(root, name):
        return found
    configs = sorted({file.parents[1].name for file in (root / name).glob("*/*/dataset_info.json")})
    if len(configs) == 1:
        return tfds.find_version(root, f"{name}/{configs[0]}")
    if configs:
        raise UsageError(
            f"{PREFIX}{name} has several configurations: give {PREFIX}{name}/CONFIG, with one of "
            f"{', '.join(configs)}"
        )
    raise UsageError(
        f"{PREFIX}{name} is not prepared in {root / name}: prepare it where TensorFlow is "
        f"installed, by `tfds build {name} --file_format=array_record`, and give the folder with "
        f"{name}/ by --data-dir"
    )


def _find_features(known) -> Features | None:
    """Returns the features of images and classes, None without images."""
    from tensorflow_datasets.core import features

    if not isinstance(known, features.FeaturesDict):
        return None
    by_type = lambda kind: [name for name, each in known.items() if isinstance(each, kind)]
    images, labels = by_type(features.Image), by_type(features.ClassLabel)
    if not images:
        return None
    label = next(iter(labels), None)
    names = () if label is None else tuple(known[label].names or ())
    return Features("image" if "image" in images else images[0], label, names)


def _open_split(name, builder, features: Features, split: str, settings: DataSettings) -> Source:
    skip = {features.image: import_tfds().decode.SkipDecoding()}
    where = f"{split} in {builder.data_path}"
    files = sorted(Path(builder.data_path).glob(f"*-{split}.array_record*"))
    try:
        source = builder.as_data_source(split=split, decoders=skip)
    except Exception as error:  # The errors of TFDS have no common type.
        reason = first_line(error)
        if not files:
            reason = "it was not prepared with --file_format=array_record"
        raise RunError(f"{where} cannot be read row by row: {reason}") from error
    listing = image_folder.Files(Path(builder.data_path), [f.name for f in files]).listing()
    labels = None
    if features.label is not None:
        labels = _read_labels(source, features.label, listing, where)
    pictures = PreparedRecords(source, features.image, where)
    found = open_source_of_pictures(name, pictures, labels, listing, settings)
    return name_classes(found, features.class_names)


def _read_labels(source, feature: str, listing: str, where: str) -> np.ndarray | None:
    """Returns the classes of a split, int32 `[n]`, which are cached; None if they are not known."""
    place = user_cache() / "labels" / f"{listing[:32]}.safetensors"
    with contextlib.suppress(OSError, ValueError):
        return store.load(place).arrays["labels"]
    labels = np.empty(len(source), np.int32)
    starts = range(0, len(source), READ_AT_ONCE)
    try:
        for start in tqdm(starts, "reading labels", disable=None, leave=False):
            indices = list(range(start, min(start + READ_AT_ONCE, len(source))))
            labels[indices] = [each[feature] for each in source.__getitems__(indices)]
    except Exception as error:  # The errors of TFDS have no common type.
        raise RunError(f"{where} cannot be read: {first_line(error)}") from error
    if labels.min() < 0:  # The classes of some test splits are secret.
        return None
    with contextlib.suppress(OSError):
        store.save(place, {"labels": labels})
    return labels
