"""Saved generators, which can be loaded without the rest of the run."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

from jaxgan import store
from jaxgan.data.float_arrays import to_units
from jaxgan.errors import RunError, UsageError, first_line
from jaxgan.files import read_json, write_json
from jaxgan.keys import key_of_seed
from jaxgan.runs import description
from jaxgan.runs.build import UNITS, build_networks
from jaxgan.runs.description import Description
from jaxgan.sampling import Sampler

WEIGHTS = "weights.safetensors"
EARLIER_WEIGHTS = "weights.npz"
"""The file of weights that versions up to 0.2 wrote."""
ABOUT = "generator.json"


def save_generator(directory: Path, variables: dict, about: dict, of_run: Description) -> None:
    """Writes a generator so that `load_generator` can rebuild it. Raises `OSError`.

    variables: those of Flax, `{"params": ..., ...}`. about: its step, and what else is known of it.
    of_run: the description of its run.
    """
    directory.mkdir(parents=True, exist_ok=True)
    store.save(directory / WEIGHTS, jax.tree.map(np.asarray, variables))
    write_json(directory / ABOUT, {**about, **of_run.to_json()})
    (directory / EARLIER_WEIGHTS).unlink(missing_ok=True)


def read_about(directory: Path) -> dict:
    """Returns what `generator.json` says, such as "step"; an empty object if it is missing."""
    return read_json(directory / ABOUT)


def is_saved(directory: Path) -> bool:
    """Returns whether a directory holds a generator."""
    return (directory / ABOUT).exists() and any(
        (directory / name).exists() for name in (WEIGHTS, EARLIER_WEIGHTS)
    )


def load_generator(directory: str | Path, standardized: bool = False) -> Callable[..., jax.Array]:
    """Returns the function `(key, num_samples, labels=None) -> samples` of a saved generator.

    directory: `generator/` of a run, or `generator/<seed>/` of a run with several seeds.
    standardized: whether to return samples of floating-point data standardized, as the generator
    computes them, instead of in the units of the data.
    The function returns an array `[num_samples, ...]`, from the same latents as `GAN.sample` with
    the same key. labels: for a conditional GAN, `[num_samples]` or one for all; by default the
    classes in turn.
    Raises `RunError` for a generator that is missing or damaged.
    """
    directory = Path(directory)
    try:
        about = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
        sampler, variables = make_sampler(description.from_json(about)), _weights(directory)
        units = None if standardized else variables.pop(UNITS, None)
        sample = partial(sampler.sample, variables)
        if units is not None:
            sample = lambda *args, **labels: to_units(
                sampler.sample(variables, *args, **labels), **units
            )
        jax.eval_shape(lambda: sample(key_of_seed(0), 1))
    except UsageError:
        raise
    except Exception as error:  # Weights of another network raise errors of many types.
        reason = first_line(error)
        if seeds := sorted(path.parent.name for path in directory.glob(f"*/{ABOUT}")):
            reason = f"it holds those of the seeds {', '.join(seeds)}: choose one"
        raise RunError(f"no generator can be loaded from {directory} ({reason})") from error
    return sample


def make_sampler(of_run: Description) -> Sampler:
    """Returns the sampler of a run's generator."""
    config, dataset = of_run.config, of_run.dataset
    generator, _ = build_networks(config, dataset)
    return Sampler(
        generator, config.latent_size, dataset.num_classes if config.conditional else None
    )


class Generators:
    """The folders of a run's generators, `generator/` and `generator-best/`.

    With several seeds, each of the two has a folder for every seed.
    path: the folder of the run. seeds: those of a run with several seeds, else None.
    """

    def __init__(self, path: Path, seeds: Sequence[int] | None = None):
        self.path, self.seeds = path, seeds
        self._pending: tuple[dict, np.ndarray] | None = None

    def folder(self, name: str, seed: int | None) -> Path:
        """Returns the folder of a generator. seed: None for a single run."""
        return self.path / name / ("" if seed is None else str(seed))

    def each_seed(self, variables: dict, taken: np.ndarray) -> Iterator[tuple]:
        """Yields each seed's index, number (None for a single run), steps taken and variables."""
        if self.seeds is None:
            yield 0, None, int(taken), variables
            return
        for k, seed in enumerate(self.seeds):
            yield k, seed, int(taken[k]), jax.tree.map(lambda leaf, k=k: leaf[k], variables)

    def lacks(self, taken: np.ndarray) -> bool:
        """Returns whether a generator is missing or older than the steps taken."""
        for _, seed, steps, _ in self.each_seed({}, taken):
            folder = self.folder("generator", seed)
            step = read_about(folder).get("step")
            if not is_saved(folder) or not isinstance(step, int) or step < steps:
                return True
        return False

    def best_fid(self, seed: int | None, rows: Sequence[dict]) -> float:
        """Returns the smallest FID of a seed so far, infinity if there is none.

        rows: the lines of `metrics.jsonl`.
        """
        about = read_about(self.folder("generator-best", seed))
        found = [*(row for row in rows if row.get("seed") == seed), about]
        return min((each["fid"] for each in found if "fid" in each), default=np.inf)

    def hold(self, variables: dict, taken: np.ndarray) -> None:
        """Keeps the averaged generators of a checkpoint that is being written."""
        self._pending = jax.tree.map(np.asarray, (variables, taken))

    def drop(self) -> None:
        """Discards the kept generators, because their checkpoint could not be written."""
        self._pending = None

    def holds(self) -> bool:
        """Returns whether generators are kept, to be written with their checkpoint."""
        return self._pending is not None

    def write_held(self, of_run: Description) -> None:
        """Writes the generators that were kept, once their checkpoint is complete.

        So a saved generator implies that a checkpoint of its step was written. Raises `OSError`.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            for _, seed, steps, own in self.each_seed(*pending):
                self.save("generator", seed, own, {"step": steps}, of_run)

    def save(
        self, name: str, seed: int | None, variables: dict, about: dict, of_run: Description
    ) -> None:
        """Writes one generator. Raises `OSError`."""
        about = about if seed is None else {**about, "seed": seed}
        save_generator(self.folder(name, seed), variables, about, of_run)


def _weights(directory: Path) -> dict:
    if (directory / WEIGHTS).exists() or not (directory / EARLIER_WEIGHTS).exists():
        return store.load(directory / WEIGHTS).arrays
    with np.load(directory / EARLIER_WEIGHTS, allow_pickle=False) as file:
        return traverse_util.unflatten_dict({path: file[path] for path in file}, sep=".")
