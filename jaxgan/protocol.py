"""Samples of a run and the data that it was trained on: what is compared with what."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import __version__, data
from jaxgan.checkpoint import sampler, sha256
from jaxgan.command import say
from jaxgan.data import Dataset, Images, Mixture, Stacked, tfds
from jaxgan.data.arrays import pixels
from jaxgan.data.cache import user_directory
from jaxgan.errors import UsageError
from jaxgan.files import read_json, write_arrays, write_json
from jaxgan.judge import (
    Judge,
    Seen,
    cropped,
    head,
    judge_for,
    learnable,
    quick_scores,
    remarks,
    scores,
    stacked_scores,
)
from jaxgan.keys import key_of_seed, stream
from jaxgan.metrics import classifier
from jaxgan.metrics.score import histogram

CHUNK = 500
"""Samples that are drawn in one go."""
QUICK_SAMPLES = 2_000
"""During training."""
STACKED_SAMPLES = 26_000
"""Of stacked MNIST, as published tables have it: divergences depend on how many there are."""


class Real(NamedTuple):
    """What samples are judged against.

    train, test: the splits of the data. count: how many samples are compared.
    judge: of `jaxgan.judge`. seen: what it makes of real samples of the test split.
    floor: the scores that samples of the training split get.
    remarks: what there is to know of all these scores.
    """

    train: Dataset
    test: Dataset
    count: int
    judge: Judge
    seen: Seen
    floor: dict[str, float]
    remarks: list[str]


def real_data(
    about: dict, samples: int, inception: Path | None = None, conditional: bool = False
) -> Real:
    """Returns the data of a run as its samples are judged against them.

    about: what `config.json` says of the run. samples: how many are compared, at most.
    inception: a file of weights.
    conditional: whether scores of classes that were asked for are among those of the floor.
    Raises `UsageError` where the data are not the run's, or are too few to be judged.
    """
    check_data(about)
    train, test = load(about, "train"), load(about, "test")
    count = count_of(samples, (train, test), inception)
    if count < samples:
        say(f"there are {count:,} real samples to compare with: taking as many generated ones")
    judge = judge_for(about, train, inception)
    seen, _ = look_at_real(test, "test", count_to_draw(test, count), judge, key_of(0))
    notes = [] if isinstance(train, Mixture) else remarks(seen, count)
    if isinstance(train, Images) and not has_test_split(about):
        notes.insert(
            0, f"{train.name} has no test split: compared is a fifth of all that runs train on"
        )
    real = Real(train, test, count, judge, seen, {}, notes)
    return real._replace(floor=floor_of(real, conditional))


def check_data(about: dict) -> None:
    """Raises `UsageError` where the data are not what a run was trained on."""
    known = about["dataset"]
    if load(about, None).fingerprint != known["fingerprint"]:
        flag = "--data-file" if about["config"].get("data_file") else "--data-dir"
        raise UsageError(
            f"{known['name']} is not what the run was trained on: name its {flag}, or put the "
            "data back"
        )


def has_test_split(about: dict) -> bool:
    """Whether the data of a run came with a test split: by how they were asked for, not by name."""
    return not about["config"].get("data_file") and about["dataset"]["name"] in tfds.SOURCES


def count_of(samples: int, parts: Sequence[Dataset], inception: Path | None = None) -> int:
    """Returns how many of so many samples there are real ones for; raises `UsageError` for few."""
    sizes = [len(part.images) for part in parts if isinstance(part, Images)]
    count = min([samples, *sizes])
    if sizes and inception is None and count <= (least := classifier.WIDTHS[-1]):
        raise UsageError(
            f"{count} samples of {parts[0].name} are too few: {least + 1} or more are needed, of "
            "real and of generated ones"
        )
    return count


def floor_of(real: Real, conditional: bool) -> dict[str, float]:
    """Returns the scores of real samples of the training split, which are kept as well."""
    known_by = f"{real.train.fingerprint} {real.test.fingerprint}"
    path = kept(f"{known_by} floor {conditional} {real.count}", real.judge, ".json")
    known = read_json(path)
    if known and known.get("sha256") == digest_of(known.get("floor")):
        return known["floor"]
    count = count_to_draw(real.train, real.count)
    seen, labels = look_at_real(real.train, "train", count, real.judge, key_of(0))
    floor = all_scores(real, seen, 0, labels if conditional else None)
    if conditional and learnable(real.train):
        batch = real.train.batch(key_of(0), 0, real.count)
        floor["cas"] = accuracy_of_training(real, *batch)
    with contextlib.suppress(OSError):
        write_json(path, {"sha256": digest_of(floor), "floor": floor})
    return floor


def digest_of(content) -> str:
    """Returns the SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def look_at_real(
    part: Dataset, use: str, count: int, judge: Judge, key: jax.Array
) -> tuple[Seen, np.ndarray | None]:
    """Returns what a judge makes of `count` real samples, which is kept, and their labels.

    use: what they are for, which says the split. key: chooses them.
    """
    batch = part.batch(key, 0, count)
    labels = None if batch.labels is None else np.asarray(batch.labels)
    if isinstance(part, Mixture):
        return judge.look(np.asarray(batch.images)), labels
    path = kept(f"{part.fingerprint} {use} {count}", judge, ".npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in Seen._fields if name in file}
            if str(file["sha256"]) == sha256(arrays):
                return Seen(**arrays), labels
    except Exception:  # Missing, or damaged: NumPy raises errors of many types.
        pass
    seen = judge.look(np.asarray(batch.images))
    arrays = {name: array for name, array in seen._asdict().items() if array is not None}
    with contextlib.suppress(OSError):
        write_arrays(path, {**arrays, "sha256": np.array(sha256(arrays))})
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


def load(about: dict, split: str | None) -> Dataset:
    """Returns a split of a run's data, images as large as they are without a border."""
    settings = about["config"]
    file = settings.get("data_file")
    return data.load(
        None if file else about["dataset"]["name"],
        settings.get("data_dir"),
        data_file=file,
        stacked_images=settings.get("stacked_images") if split is None else None,
        split=split,
    )[0]


def scores_of(
    draw: Callable, about: dict, real: Real, key: int, training: bool
) -> tuple[dict[str, float], list[int] | None]:
    """Returns the scores of the samples that a generator draws with a key.

    And how many were classified as each class, None where there is no classifier.

    draw: `(key, num_samples[, labels]) -> samples`.
    training: whether to train a classifier on the samples of a conditional GAN as well.
    """
    count = count_to_draw(real.train, real.count)
    asked = asked_for(about, real.train, key_of(key), count)
    seen = real.judge.look(samples(draw, key_of(key), count, asked))
    found = all_scores(real, seen, key, asked)
    if asked is not None and training and learnable(real.train):
        shares = np.arange(real.count) % real.train.num_classes
        drawn = samples(draw, stream(key_of(key), "cas"), real.count, shares)
        found["cas"] = accuracy_of_training(real, drawn, shares)
    if seen.classes is None:
        return found, None
    return found, histogram(seen.classes, real.train.num_classes).tolist()


def asked_for(about: dict, train: Dataset, key: jax.Array, count: int) -> np.ndarray | None:
    """Returns the classes `[count]` that samples are asked for, None unless the GAN is conditional.

    They are drawn as frequent as in the training split: metrics that compare distributions would
    take any other shares for a fault of the samples.
    """
    if not about["config"].get("conditional"):
        return None
    frequencies = jnp.asarray(train.class_frequencies, jnp.float32)
    labels_key = stream(key, "labels")
    return np.asarray(jax.random.choice(labels_key, len(frequencies), (count,), p=frequencies))


def samples(
    draw: Callable, key: jax.Array, count: int, asked: np.ndarray | None = None
) -> np.ndarray:
    """Returns `count` samples, `[count, ...]`.

    draw: `(key, num_samples[, labels]) -> samples`. asked: the classes asked for, `[count]`.
    """
    parts = []
    for first in range(0, count, CHUNK):
        labels = () if asked is None else (np.resize(asked[first : first + CHUNK], CHUNK),)
        parts.append(np.asarray(draw(jax.random.fold_in(key, first), CHUNK, *labels)))
    return np.concatenate(parts)[:count]


def count_to_draw(part: Dataset, count: int) -> int:
    """Returns how many samples are drawn: of stacked MNIST enough to count its modes."""
    return max(count, STACKED_SAMPLES) if isinstance(part, Stacked) else count


def all_scores(real: Real, fake: Seen, key: int, asked: np.ndarray | None) -> dict[str, float]:
    """Returns the scores of samples by their names, see `jaxgan.judge`, but for those without one.

    There is no variance where no mode of a mixture was reached, for example.
    """
    rng = np.random.default_rng(key)
    asked = None if asked is None else asked[: real.count]
    found = scores(real.train, head(real.seen, real.count), head(fake, real.count), rng, asked)
    if isinstance(real.train, Stacked):
        found |= stacked_scores(real.train, fake.classes[:STACKED_SAMPLES])
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


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
    return stream(key_of_seed(number), "evaluation")


def selection_key() -> jax.Array:
    """Returns the key by which the best generator is chosen, apart from those that judge it."""
    return stream(key_of_seed(0), "selection")


def scorer(about: dict) -> Callable[[dict], dict[str, float]]:
    """Returns the function from a generator's variables to scores that are quickly computed.

    They are for choosing a generator: against a part of the training split, and with latents of
    their own, so that what is chosen can be judged by the test split.
    about: what `config.json` says of the run.
    """
    try:
        check_data(about)
        train = load(about, "train")
        count = count_of(QUICK_SAMPLES, (train,))
    except UsageError as error:
        raise UsageError(f"leave out --evaluate-every: {error}") from error
    judge = judge_for(about, train)
    seen, _ = look_at_real(train, "selection", count, judge, selection_key())
    asked = asked_for(about, train, selection_key(), count)
    draw = jax.jit(sampler(about), static_argnums=2)

    def score(variables: dict) -> dict[str, float]:
        images = samples(functools.partial(draw, variables), selection_key(), count, asked)
        return quick_scores(train, seen, judge.look(images))

    return score
