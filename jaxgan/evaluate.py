"""python -m jaxgan.evaluate: say in numbers what the samples of runs are worth."""

import dataclasses
import functools
import hashlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from jaxgan.command import keep_compiled, run_command, say
from jaxgan.errors import RunError, UsageError
from jaxgan.files import read_json, replacing, write_json

CHUNK = 500
"""Samples that are drawn in one go."""
INCEPTION_BATCH = 50
QUICK_SAMPLES = 2_000
"""During training."""
STACKED_SAMPLES = 26_000
"""Of stacked MNIST, as published tables have it: divergences depend on how many there are."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Judge the samples of runs against the test split of their data; writes evaluation.json."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run directories, of the same data"""
    samples: int = 10_000
    """generated ones, and as many real ones, of which there may be fewer"""
    keys: int = 3
    """how often they are drawn, each time from other latents"""
    seed: int = 0
    """the first of the keys that they are drawn from"""
    best: bool = False
    """judge the best generator by FID (of --evaluate-every) in the place of the last one"""
    inception: Path | None = None
    """weights of Inception-v3, .safetensors or .pth, for its features in the place of a
    classifier's"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data (by default where the run found it)"""
    stored: bool = False
    """show what was found before, and compute nothing"""


class Real(NamedTuple):
    """What samples are judged against.

    train, test: the splits of the data. count: how many samples are compared.
    judge: of `jaxgan.judge`. seen: what it makes of real samples of the test split.
    floor: the scores that samples of the training split get.
    """

    train: Any
    test: Any
    count: int
    judge: Any
    seen: Any
    floor: dict[str, float]


def main(config: Config) -> dict[str, dict]:
    """Judges runs, prints a table, and returns by run what its `evaluation.json` says.

    Raises `UsageError` for runs whose numbers do not go into one table, and `RunError` where a run,
    its data or a classifier cannot be read.
    """
    check(config)
    abouts = {str(run): described(run) for run in config.runs}
    check_same("data", {run: about["dataset"]["fingerprint"] for run, about in abouts.items()})
    if config.stored:
        results = {run: stored(Path(run), config.best) for run in abouts}
    else:
        keep_compiled()
        conditional = any(about["config"].get("conditional") for about in abouts.values())
        real = real_data(config, next(iter(abouts.values())), conditional)
        results = {run: judged(config, Path(run), about, real) for run, about in abouts.items()}
    for what in ("digest", "samples", "split"):
        check_same(what, {run: result["protocol"][what] for run, result in results.items()})
    print(table(results), flush=True)
    return results


def check(config: Config) -> None:
    """Raises `UsageError` for settings that no evaluation can have."""
    if not config.runs:
        raise UsageError("name the run directories to judge")
    for name, least in (("samples", 2), ("keys", 1), ("seed", 0)):
        value = getattr(config, name)
        if not least <= value < 2**31:
            raise UsageError(f"--{name} {value} must be at least {least} and below 2**31")


def described(run: Path) -> dict:
    """Returns what `config.json` says of a run; raises `UsageError` where it is none."""
    about = read_json(run / "config.json")
    if not {"config", "dataset"} <= about.keys():
        raise UsageError(f"{run} is not a run directory: it has no config.json of a run")
    return about


def check_same(what: str, values: dict[str, Any]) -> None:
    """Raises `UsageError` where runs differ in what makes numbers comparable."""
    (first, value), *others = values.items()
    for run, other in others:
        if other != value:
            raise UsageError(
                f"these runs do not go into one table: they differ in their {what} "
                f"({str(value)[:12]} of {first} and {str(other)[:12]} of {run})"
            )


def real_data(config: Config, about: dict, conditional: bool) -> Real:
    """Returns the data of a run as its samples are judged against them."""
    from jaxgan.data import Images, Mixture
    from jaxgan.judge import judge_of

    settings, known = about["config"], about["dataset"]

    def get(split: str | None):
        return load(config, settings, known["name"], split)

    if get(None).fingerprint != known["fingerprint"]:
        raise UsageError(
            f"{known['name']} is not what the run was trained on: name its --data-dir, or put the "
            "data back"
        )
    train, test = get("train"), get("test")
    inception = None if config.inception is None else inception_of(config.inception)
    trained = None if isinstance(train, Mixture) else classifier_of(config, settings, train)
    judge = judge_of(train, trained, inception)
    sizes = [len(part.images) for part in (train, test) if isinstance(part, Images)]
    count = min([config.samples, *sizes])
    if count < config.samples:
        say(f"there are {count:,} real samples to compare with: taking as many generated ones")
    real = Real(train, test, count, judge, look_at_real(test, "test", count, judge)[0], {})
    return real._replace(floor=floor_of(real, conditional))


def floor_of(real: Real, conditional: bool) -> dict[str, float]:
    """Returns the scores of real samples of the training split, which are kept as well."""
    from jaxgan.data import Images

    path = kept(f"{real.test.fingerprint} floor {conditional} {real.count}", real.judge, ".json")
    if floor := read_json(path):
        return floor
    seen, labels = look_at_real(real.train, "train", real.count, real.judge)
    floor = all_scores(real, seen, 0, labels if conditional else None)
    if conditional and isinstance(real.train, Images):
        batch = real.train.batch(key_of(0), 0, real.count)
        floor["cas"] = accuracy_of_training(real, *batch)
    write_json(path, floor)
    return floor


def kept(what: str, judge, suffix: str) -> Path:
    """Returns the file in the user's cache for what a judge made of something."""
    from jaxgan import __version__
    from jaxgan.data.cache import user_directory

    digest = hashlib.sha256(f"{__version__} {what} {judge.about['digest']}".encode()).hexdigest()
    path = user_directory() / "judged" / (digest[:32] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def inception_of(path: Path) -> tuple[Callable, str]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to features and logits; a digest."""
    import numpy as np
    from tqdm import tqdm

    from jaxgan.data.arrays import unit
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


def load(config: Config, settings: dict, name: str, split: str | None):
    """Returns a split of a run's data, images as large as they are without a border."""
    from jaxgan import data

    file = settings.get("data_file")
    return data.load(
        None if file else name,
        config.data_dir or settings.get("data_dir"),
        data_file=file,
        stacked_images=settings.get("stacked_images") if split is None else None,
        split=split,
    )[0]


def classifier_of(config: Config, settings: dict, train):
    """Returns the classifier of a data set, trained now if need be; None where there are no labels.

    MNIST's, also of stacked MNIST, comes with the package.
    """
    from jaxgan import classify
    from jaxgan.metrics import classifier

    if train.num_classes is None:
        return None
    if train.name in ("mnist", "stacked_mnist"):
        return classifier.load(classifier.MNIST)
    if (place := classifier.place(train)).exists():
        return classifier.load(place)
    file = settings.get("data_file")
    where = config.data_dir or settings.get("data_dir")
    return classify.main(
        classify.Config(
            dataset=None if file else train.name,
            data_dir=Path(where) if where else None,
            data_file=Path(file) if file else None,
        )
    )


def look_at_real(part, split: str, count: int, judge):
    """Returns what a judge makes of `count` real samples, and their labels; both are kept."""
    import numpy as np

    from jaxgan.data import Mixture
    from jaxgan.judge import Seen

    batch = part.batch(key_of(0), 0, count_to_draw(part, count))
    labels = None if batch.labels is None else np.asarray(batch.labels)
    if isinstance(part, Mixture):
        return judge.look(np.asarray(batch.images)), labels
    path = kept(f"{part.fingerprint} {split} {count}", judge, ".npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            return Seen(**{name: file.get(name) for name in Seen._fields}), labels
    except Exception:  # Missing, or damaged: NumPy raises errors of many types.
        seen = judge.look(np.asarray(batch.images))
    with replacing(path) as temporary, open(temporary, "wb") as out:
        np.savez(out, **{k: v for k, v in seen._asdict().items() if v is not None})
    return seen, labels


def count_to_draw(part, count: int) -> int:
    """Returns how many samples are drawn: of stacked MNIST enough to count its modes."""
    from jaxgan.data import Stacked

    return max(count, STACKED_SAMPLES) if isinstance(part, Stacked) else count


def judged(config: Config, run: Path, about: dict, real: Real) -> dict:
    """Judges a run, writes its `evaluation.json`, and returns what that says."""
    seeds = {}
    for name, directory in generators(run, about, config.best).items():
        say(f"judging {directory}")
        by_key = [
            scores_of(directory, about, real, key, training=key == config.seed)
            for key in range(config.seed, config.seed + config.keys)
        ]
        step = read_json(directory / "generator.json").get("step")
        seeds[name] = {"step": step, **summed_up(by_key), "by_key": by_key}
    over = "seeds" if len(seeds) > 1 else "keys"
    rows = [seed["mean"] for seed in seeds.values()] if len(seeds) > 1 else by_key
    result = {
        "protocol": {
            **real.judge.about,
            "samples": real.count,
            "split": "test",
            "data": about["dataset"]["fingerprint"],
            "keys": list(range(config.seed, config.seed + config.keys)),
            "generator": "best" if config.best else "last",
        },
        "real": real.floor,
        "seeds": seeds,
        **summed_up(rows),
        "deviation_over": over,
    }
    write_json(run / result_name(config.best), result)
    return result


def generators(run: Path, about: dict, best: bool) -> dict[str, Path]:
    """Returns the folders of a run's generators by their seed."""
    directory = run / ("generator-best" if best else "generator")
    first, count = about["config"]["seed"], about["config"].get("seeds", 1)
    if count == 1:
        return {str(first): directory}
    return {str(seed): directory / str(seed) for seed in range(first, first + count)}


def scores_of(directory: Path, about: dict, real: Real, key: int, training: bool) -> dict:
    """Returns the scores of the samples that a generator draws with a key.

    training: whether to train a classifier on the samples of a conditional GAN as well.
    """
    import jax

    from jaxgan.checkpoint import load_generator
    from jaxgan.data import Images

    draw = jax.jit(load_generator(directory), static_argnums=1)
    images, asked = samples(draw, about, key_of(key), count_to_draw(real.train, real.count))
    found = all_scores(real, real.judge.look(images), key, asked)
    if asked is not None and training and isinstance(real.train, Images):
        found["cas"] = accuracy_of_training(real, images, asked)
    return found


def samples(draw: Callable, about: dict, key, count: int):
    """Returns `count` samples and the classes asked for, None unless the GAN is conditional.

    draw: `(key, num_samples[, labels]) -> samples`.
    """
    import jax
    import numpy as np

    settings, num_classes = about["config"], about["dataset"]["num_classes"]
    asked = np.arange(count) % num_classes if settings.get("conditional") else None
    parts = []
    for first in range(0, count, CHUNK):
        labels = () if asked is None else ((first + np.arange(CHUNK)) % num_classes,)
        parts.append(np.asarray(draw(jax.random.fold_in(key, first), CHUNK, *labels)))
    return np.concatenate(parts)[:count], asked


def scorer(config, about: dict) -> Callable[[dict], dict[str, float]]:
    """Returns the function from a generator's variables to scores that are quickly computed.

    config: that of the training. about: what `config.json` says of the run.
    """
    import jax

    from jaxgan import judge
    from jaxgan.checkpoint import sampler

    settings = Config((), samples=QUICK_SAMPLES, data_dir=config.data_dir)
    real = real_data(settings, about, conditional=False)
    draw = jax.jit(sampler(about), static_argnums=2)

    def scores(variables: dict) -> dict[str, float]:
        images, _ = samples(functools.partial(draw, variables), about, key_of(0), real.count)
        return judge.quick_scores(real.train, first(real, real.seen), real.judge.look(images))

    return scores


def all_scores(real: Real, fake, key: int, asked) -> dict[str, float]:
    """Returns the scores of samples by their names, see `jaxgan.judge`."""
    import numpy as np

    from jaxgan import judge
    from jaxgan.data import Stacked

    rng = np.random.default_rng(key)
    asked = None if asked is None else asked[: real.count]
    found = judge.scores(real.train, first(real, real.seen), first(real, fake), rng, asked)
    if isinstance(real.train, Stacked):
        found |= judge.stacked_scores(real.train, fake.classes[:STACKED_SAMPLES])
    return {name: float(value) for name, value in found.items()}


def first(real: Real, seen):
    """Returns what was seen of the first samples, as many as are compared."""
    return type(seen)(*(None if each is None else each[: real.count] for each in seen))


def accuracy_of_training(real: Real, images, labels) -> float:
    """Returns the classification accuracy score (Ravuri and Vinyals 2019): that on real test images
    of a classifier that was trained on these.
    """
    import jax.numpy as jnp

    from jaxgan.data import Images
    from jaxgan.data.arrays import pixels
    from jaxgan.judge import cropped
    from jaxgan.metrics import classifier

    images = jnp.asarray(cropped(pixels(images), real.train.shape))
    labels = jnp.asarray(labels, jnp.int32)
    drawn = Images(images, "samples", "samples", labels, real.train.num_classes)
    return classifier.accuracy(classifier.train(drawn, key_of(0)), real.test)


def key_of(number: int):
    """Returns the key of a number, apart from those that runs are trained with."""
    import jax

    from jaxgan.keys import stream

    return stream(jax.random.key(number), "evaluation")


def summed_up(rows: list[dict]) -> dict:
    """Returns the mean of every score and its standard deviation (n - 1), where there are two."""
    columns = {name: [row[name] for row in rows if name in row] for row in rows for name in row}
    return {
        "mean": {name: statistics.fmean(values) for name, values in columns.items()},
        "std": {name: statistics.stdev(v) for name, v in columns.items() if len(v) > 1},
    }


def result_name(best: bool) -> str:
    """Returns the name of the file that holds what was found."""
    return "evaluation-best.json" if best else "evaluation.json"


def stored(run: Path, best: bool) -> dict:
    """Returns what was found of a run before. Raises `RunError` where that is nothing, or old."""
    path = run / result_name(best)
    result = read_json(path)
    if not {"protocol", "real", "seeds", "mean", "std"} <= result.keys():
        raise RunError(f"{path} is missing or damaged: evaluate without --stored")
    for directory in generators(run, described(run), best).values():
        step = read_json(directory / "generator.json").get("step")
        if step not in [seed["step"] for seed in result["seeds"].values()]:
            raise RunError(f"{path} is not of step {step}: evaluate without --stored")
    return result


COLUMNS = {
    "fid": "FID",
    "kid": "KID x 1000",
    "score": "score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_kl": "class KL",
    "asked_accuracy": "asked",
    "cas": "CAS",
    "modes": "modes",
    "high_quality": "high quality",
    "reverse_kl": "reverse KL",
    "covariance_ratio": "covariance",
    "kl_uniform": "KL uniform",
    "kl_data": "KL data",
    "kl_corrected": "KL corrected",
    "floor": "KL floor",
}
"""Titles of scores, in the order of the table."""


def table(results: dict[str, dict]) -> str:
    """Returns a table of runs, real data of the training split first, and the protocol below."""
    first = next(iter(results.values()))
    names = [name for name in COLUMNS if any(name in r["mean"] for r in results.values())]
    lines = [["", *(COLUMNS[name] for name in names)]]
    lines.append(["real (training split)", *(cell(name, first["real"]) for name in names)])
    for run, result in results.items():
        lines.append([run, *(cell(name, result["mean"], result["std"]) for name in names)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    protocol = first["protocol"]
    over = " and ".join(sorted({result["deviation_over"] for result in results.values()}))
    return (
        f"{text}\n{protocol['samples']:,} samples against the {protocol['split']} split, features: "
        f"{protocol['features']} {protocol['digest'][:12]}; deviations over {over}"
    )


def cell(name: str, mean: dict, std: dict | None = None) -> str:
    """Returns a score, with its deviation where there is one."""
    if name not in mean:
        return "-"
    scale = 1000 if name == "kid" else 1
    digits = 1 if name == "modes" else 2 if name in ("fid", "kid", "score") else 3
    text = f"{scale * mean[name]:.{digits}f}"
    return f"{text} ± {scale * std[name]:.{digits}f}" if std and name in std else text


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.evaluate")


if __name__ == "__main__":
    sys.exit(command())
