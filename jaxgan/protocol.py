"""Samples of a run and the data that it was trained on: what is compared with what."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import __version__, classify, data
from jaxgan.checkpoint import sampler, sha256
from jaxgan.command import say
from jaxgan.data import Dataset, Images, Mixture, Stacked, tfds
from jaxgan.data.arrays import pixels, unit
from jaxgan.data.cache import user_directory
from jaxgan.errors import RunError, UsageError
from jaxgan.files import read_json, replacing, write_json
from jaxgan.judge import (
    Judge,
    Seen,
    cropped,
    judge_of,
    quick_scores,
    scores,
    stacked_scores,
)
from jaxgan.keys import stream
from jaxgan.metrics import classifier
from jaxgan.metrics.score import histogram

CHUNK = 500
"""Samples that are drawn in one go."""
INCEPTION_BATCH = 50
QUICK_SAMPLES = 2_000
"""During training."""
STACKED_SAMPLES = 26_000
"""Of stacked MNIST, as published tables have it: divergences depend on how many there are."""


class Real(NamedTuple):
    """What samples are judged against.

    train, test: the splits of the data. count: how many samples are compared.
    judge: of `jaxgan.judge`. seen: what it makes of real samples of the test split.
    floor: the scores that samples of the training split get.
    """

    train: Dataset
    test: Dataset
    count: int
    judge: Judge
    seen: Seen
    floor: dict[str, float]


def real_data(
    about: dict,
    samples: int,
    data_dir: Path | None = None,
    inception: Path | None = None,
    conditional: bool = False,
) -> Real:
    """Returns the data of a run as its samples are judged against them.

    about: what `config.json` says of the run. samples: how many are compared, at most.
    data_dir: unless where the run found its data. inception: a file of weights.
    conditional: whether scores of classes that were asked for are among those of the floor.
    Raises `UsageError` where the data are not the run's, or have nobody to judge them.
    """
    settings, known = about["config"], about["dataset"]

    def get(split: str | None):
        return load(settings, known["name"], data_dir, split)

    if get(None).fingerprint != known["fingerprint"]:
        raise UsageError(
            f"{known['name']} is not what the run was trained on: name its --data-dir, or put the "
            "data back"
        )
    train, test = get("train"), get("test")
    sizes = [len(part.images) for part in (train, test) if isinstance(part, Images)]
    count = min([samples, *sizes])
    if count < samples:
        say(f"there are {count:,} real samples to compare with: taking as many generated ones")
    if sizes and inception is None and count <= (least := classifier.WIDTHS[-1]):
        raise UsageError(
            f"{count} samples of {train.name} are too few: {least + 1} or more are needed, of real "
            "and of generated ones"
        )
    if sizes and train.name not in tfds.SOURCES:
        say(f"{train.name} has no test split: compared is a fifth of all that runs are trained on")
    trained = None if isinstance(train, Mixture) else classifier_of(settings, train, data_dir)
    judge = judge_of(train, trained, None if inception is None else inception_of(inception))
    real = Real(train, test, count, judge, look_at_real(test, "test", count, judge)[0], {})
    return real._replace(floor=floor_of(real, conditional))


def floor_of(real: Real, conditional: bool) -> dict[str, float]:
    """Returns the scores of real samples of the training split, which are kept as well."""
    path = kept(f"{real.test.fingerprint} floor {conditional} {real.count}", real.judge, ".json")
    known = read_json(path)
    if known and known.get("sha256") == digest_of(known.get("floor")):
        return known["floor"]
    seen, labels = look_at_real(real.train, "train", real.count, real.judge)
    floor = all_scores(real, seen, 0, labels if conditional else None)
    if conditional and isinstance(real.train, Images):
        batch = real.train.batch(key_of(0), 0, real.count)
        floor["cas"] = accuracy_of_training(real, *batch)
    with contextlib.suppress(OSError):
        write_json(path, {"sha256": digest_of(floor), "floor": floor})
    return floor


def digest_of(content) -> str:
    """Returns the SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def look_at_real(
    part: Dataset, split: str, count: int, judge: Judge
) -> tuple[Seen, np.ndarray | None]:
    """Returns what a judge makes of `count` real samples, which is kept, and their labels."""
    batch = part.batch(key_of(0), 0, count_to_draw(part, count))
    labels = None if batch.labels is None else np.asarray(batch.labels)
    if isinstance(part, Mixture):
        return judge.look(np.asarray(batch.images)), labels
    path = kept(f"{part.fingerprint} {split} {count}", judge, ".npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in Seen._fields if name in file}
            if str(file["sha256"]) == sha256(arrays):
                return Seen(**arrays), labels
    except Exception:  # Missing, or damaged: NumPy raises errors of many types.
        pass
    seen = judge.look(np.asarray(batch.images))
    arrays = {name: array for name, array in seen._asdict().items() if array is not None}
    with contextlib.suppress(OSError), replacing(path) as temporary, open(temporary, "wb") as out:
        np.savez(out, **arrays, sha256=np.array(sha256(arrays)))
    return seen, labels


def kept(what: str, judge: Judge, suffix: str) -> Path:
    """Returns the file in the user's cache for what a judge made of something.

    Nothing is lost where it cannot be written: then the same is computed again.
    """
    digest = hashlib.sha256(f"{__version__} {what} {judge.about['digest']}".encode()).hexdigest()
    path = user_directory() / "judged" / (digest[:32] + suffix)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def load(settings: dict, name: str, data_dir: Path | None, split: str | None) -> Dataset:
    """Returns a split of a run's data, images as large as they are without a border."""
    file = settings.get("data_file")
    return data.load(
        None if file else name,
        data_dir or settings.get("data_dir"),
        data_file=file,
        stacked_images=settings.get("stacked_images") if split is None else None,
        split=split,
    )[0]


def classifier_of(
    settings: dict, train: Dataset, data_dir: Path | None
) -> classifier.Trained | None:
    """Returns the classifier of a data set, trained now if need be; None where there are no labels.

    MNIST's, also of stacked MNIST, comes with the package.
    """
    if train.num_classes is None:
        return None
    if train.name in ("mnist", "stacked_mnist"):
        return classifier.load(classifier.MNIST)
    if (place := classifier.place(train)).exists():
        trained = classifier.load(place)
        if trained.about["fingerprint"] != train.fingerprint:
            raise RunError(
                f"{place} is the classifier of {trained.about['dataset']}, and not of these "
                f"{train.name}: delete that file, and one is trained"
            )
        return trained
    file = settings.get("data_file")
    where = data_dir or settings.get("data_dir")
    return classify.main(
        classify.Config(
            dataset=None if file else train.name,
            data_dir=Path(where) if where else None,
            data_file=Path(file) if file else None,
        )
    )


def inception_of(path: Path) -> tuple[Callable, str]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to features and logits; a digest."""
    from tqdm import tqdm

    from jaxgan.metrics import inception

    variables, digest = inception.load(path)
    features = inception.features(variables)

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = tqdm(
            range(0, len(images), INCEPTION_BATCH), "Inception", disable=None, leave=False
        )
        parts = [features(unit(images[i : i + INCEPTION_BATCH])) for i in starts]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    return look, digest


def scores_of(
    draw: Callable, about: dict, real: Real, key: int, training: bool
) -> tuple[dict[str, float], list[int] | None]:
    """Returns the scores of the samples that a generator draws with a key.

    And how many were classified as each class, None where there is no classifier.

    draw: `(key, num_samples[, labels]) -> samples`.
    training: whether to train a classifier on the samples of a conditional GAN as well.
    """
    images, asked = samples(draw, about, key_of(key), count_to_draw(real.train, real.count))
    seen = real.judge.look(images)
    found = all_scores(real, seen, key, asked)
    if asked is not None and training and isinstance(real.train, Images):
        found["cas"] = accuracy_of_training(real, images, asked)
    if seen.classes is None:
        return found, None
    return found, histogram(seen.classes, real.train.num_classes).tolist()


def samples(
    draw: Callable, about: dict, key: jax.Array, count: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns `count` samples and the classes asked for, None unless the GAN is conditional.

    draw: `(key, num_samples[, labels]) -> samples`.
    """
    settings, num_classes = about["config"], about["dataset"].get("num_classes")
    asked = np.arange(count) % num_classes if settings.get("conditional") else None
    parts = []
    for first in range(0, count, CHUNK):
        labels = () if asked is None else ((first + np.arange(CHUNK)) % num_classes,)
        parts.append(np.asarray(draw(jax.random.fold_in(key, first), CHUNK, *labels)))
    return np.concatenate(parts)[:count], asked


def count_to_draw(part: Dataset, count: int) -> int:
    """Returns how many samples are drawn: of stacked MNIST enough to count its modes."""
    return max(count, STACKED_SAMPLES) if isinstance(part, Stacked) else count


def all_scores(real: Real, fake: Seen, key: int, asked: np.ndarray | None) -> dict[str, float]:
    """Returns the scores of samples by their names, see `jaxgan.judge`, but for those without one.

    There is no variance where no mode of a mixture was reached, for example.
    """
    rng = np.random.default_rng(key)
    asked = None if asked is None else asked[: real.count]
    found = scores(real.train, first(real, real.seen), first(real, fake), rng, asked)
    if isinstance(real.train, Stacked):
        found |= stacked_scores(real.train, fake.classes[:STACKED_SAMPLES])
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def first(real: Real, seen: Seen) -> Seen:
    """Returns what was seen of the first samples, as many as are compared."""
    return Seen(*(None if each is None else each[: real.count] for each in seen))


def accuracy_of_training(real: Real, images: np.ndarray, labels: np.ndarray) -> float:
    """Returns the classification accuracy score (Ravuri and Vinyals 2019): that on real test images
    of a classifier that was trained on these.
    """
    images = jnp.asarray(cropped(pixels(images), real.train.shape))
    labels = jnp.asarray(labels, jnp.int32)
    drawn = Images(images, "samples", "samples", labels, real.train.num_classes)
    return classifier.accuracy(classifier.train(drawn, key_of(0)), real.test)


def key_of(number: int) -> jax.Array:
    """Returns the key of a number, apart from those that runs are trained with."""
    return stream(jax.random.key(number), "evaluation")


def scorer(about: dict, data_dir: Path | None = None) -> Callable[[dict], dict[str, float]]:
    """Returns the function from a generator's variables to scores that are quickly computed.

    about: what `config.json` says of the run. data_dir: where its data are, unless it says so.
    """
    try:
        real = real_data(about, QUICK_SAMPLES, data_dir)
    except UsageError as error:
        raise UsageError(f"leave out --evaluate-every: {error}") from error
    draw = jax.jit(sampler(about), static_argnums=2)

    def score(variables: dict) -> dict[str, float]:
        images, _ = samples(functools.partial(draw, variables), about, key_of(0), real.count)
        return quick_scores(real.train, first(real, real.seen), real.judge.look(images))

    return score
