"""The files of generators: saved so that they can be loaded without the rest of the run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

from jaxgan import store
from jaxgan.files import read_json, write_json
from jaxgan.runs.description import Description
from jaxgan.runs.metrics_log import member_of
from jaxgan.runs.profile_files import last_snapshot, save_profiles

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


def read_weights(directory: Path) -> dict:
    """Returns the variables of a saved generator.

    Raises `OSError` where they cannot be read, and `ValueError` where they are damaged.
    """
    if (directory / WEIGHTS).exists() or not (directory / EARLIER_WEIGHTS).exists():
        return store.load(directory / WEIGHTS).arrays
    with np.load(directory / EARLIER_WEIGHTS, allow_pickle=False) as file:
        return traverse_util.unflatten_dict({path: file[path] for path in file}, sep=".")


def is_saved(directory: Path) -> bool:
    """Returns whether a directory holds a generator."""
    return (directory / ABOUT).exists() and any(
        (directory / name).exists() for name in (WEIGHTS, EARLIER_WEIGHTS)
    )


class Generators:
    """The folders of a run's generators, `generator/` and `generator-best/`.

    With several members, each of the two has a folder for every member.
    path: the folder of the run. members: the names of several members, None for a single run.
    """

    def __init__(self, path: Path, members: Sequence[int | str] | None = None):
        self.path, self.members = path, members
        self._pending: tuple[dict, np.ndarray, tuple] | None = None

    def folder(self, name: str, member: int | str | None) -> Path:
        """Returns the folder of a generator. member: None for a single run."""
        return self.path / name / ("" if member is None else str(member))

    def each_member(self, variables: dict, taken: np.ndarray) -> Iterator[tuple]:
        """Yields each member's index, name (None for a single run), steps taken and variables."""
        if self.members is None:
            yield 0, None, int(taken), variables
            return
        for k, member in enumerate(self.members):
            yield k, member, int(taken[k]), jax.tree.map(lambda leaf, k=k: leaf[k], variables)

    def lacks(self, taken: np.ndarray, profiles: tuple = ()) -> bool:
        """Returns whether a generator, or a snapshot of profiles, is missing or older than a state.

        taken: the number of steps of the state. profiles: its averages with profiles.
        """
        if profiles and last_snapshot(self.path) < np.max(taken):
            return True
        for _, member, steps, _ in self.each_member({}, taken):
            folder = self.folder("generator", member)
            step = read_about(folder).get("step")
            if not is_saved(folder) or not isinstance(step, int) or step < steps:
                return True
        return False

    def best_fid(self, member: int | str | None, rows: Sequence[dict]) -> float:
        """Returns the smallest FID of a member so far, infinity if there is none.

        rows: the lines of `metrics.jsonl`.
        """
        about = read_about(self.folder("generator-best", member))
        found = [*(row for row in rows if member_of(row) == member), about]
        return min((each["fid"] for each in found if "fid" in each), default=np.inf)

    def hold(self, variables: dict, taken: np.ndarray, profiles: tuple = ()) -> None:
        """Keeps the averaged generators of a checkpoint that is being written.

        profiles: its averages with profiles.
        """
        self._pending = jax.tree.map(np.asarray, (variables, taken, profiles))

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
            (variables, taken, profiles), self._pending = self._pending, None
            for _, member, steps, own in self.each_member(variables, taken):
                self.save("generator", member, own, {"step": steps}, of_run)
            if profiles:
                save_profiles(self.path, taken, profiles, of_run.config.ema_profiles)

    def save(
        self, name: str, member: int | str | None, variables: dict, about: dict, of_run: Description
    ) -> None:
        """Writes one generator. Raises `OSError`."""
        if member is not None:
            about = {**about, ("seed" if isinstance(member, int) else "member"): member}
        save_generator(self.folder(name, member), variables, about, of_run)
