"""Saved states (Orbax), and the averaged generator by itself."""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxgan import distributed
from jaxgan.config import Config
from jaxgan.errors import RunError, UsageError, choose
from jaxgan.files import write_arrays, write_text
from jaxgan.gan import leaves
from jaxgan.keys import key_of_seed
from jaxgan.networks import NETWORKS
from jaxgan.sampling import generated

KEPT = 3
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
"""Errors of the system that say of a file that it is not there: it is damage, as others are not."""


def sha256(state: Any) -> str:
    """Returns a digest of every leaf of a state: its path, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for path, leaf in sorted(leaves(state).items()):
        array = np.asarray(leaf)
        digest.update(f"{path} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of a run, written in the background, the last `KEPT` of them kept.

    In a run of several processes all make the same calls, with the same states; one writes.
    A checkpoint appears under its step's number only when it is complete, and carries the digest of
    its state. Errors of the disk are raised as `RunError` by the call that meets them, which may be
    the one after.
    """

    def __init__(self, directory: Path):
        import orbax.checkpoint as ocp
        from absl import logging as absl_logging

        absl_logging.set_verbosity(absl_logging.FATAL)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Errors arrive as exceptions too.
        # What a killed process had begun to write. Orbax would remove it too, but some time later.
        if distributed.is_first():
            for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished)
        self.directory = directory
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=KEPT),
        )

    def save(self, step: int, state: Any) -> None:
        """Begins to write a state, which must not be donated afterwards."""
        args = self._args.Composite(
            state=self._args.StandardSave({k: np.asarray(v) for k, v in leaves(state).items()}),
            digest=self._args.JsonSave({"sha256": sha256(state)}),
        )
        self._checked(lambda: self._manager.save(step, args=args, force=True))

    def saving(self) -> bool:
        """Returns whether a checkpoint is still being written."""
        return self._manager.is_saving_in_progress()

    def newest(self) -> int | None:
        """Returns the step of the newest complete checkpoint, once all are written."""
        self.wait()
        return self._manager.latest_step()

    def wait(self) -> None:
        """Returns when everything is written."""
        self._checked(self._manager.wait_until_finished)

    def close(self) -> None:
        """Ends the background work."""
        self._checked(self._manager.close)

    def latest(self, template: Any) -> tuple[int, Any, list[int]] | None:
        """Returns the newest complete state, its step, and the steps of damaged ones passed over.

        Its leaves are NumPy's. None where nothing was ever saved.
        template: arrays or shapes of the state's structure.
        Damaged ones are moved to `damaged/` beside the directory. Raises `RunError` where all are,
        and where the system could not read one: then nothing is changed.
        """
        damaged = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self._restore(step, template)
            except Exception as error:  # Orbax passes on whatever its storage raises.
                if reason := reason_of_the_system(error):
                    raise RunError(
                        f"the checkpoint of step {step} in {self.directory} could not be read "
                        f"({reason}): nothing was changed; see that it can be, and run the same "
                        "command again, or move it away to continue from an earlier one"
                    ) from error
                damaged.append(step)
                continue
            self._set_aside(damaged)
            return step, state, damaged
        if damaged:
            raise RunError(
                f"every checkpoint in {self.directory} is damaged; copy a sound one there, or "
                "start afresh with --overwrite"
            )
        return None

    def _restore(self, step: int, template: Any) -> Any:
        expected = {path: np.empty(x.shape, x.dtype) for path, x in leaves(template).items()}
        restored = self._manager.restore(
            step,
            args=self._args.Composite(
                state=self._args.StandardRestore(expected), digest=self._args.JsonRestore()
            ),
        )
        state = jax.tree.unflatten(
            jax.tree.structure(template), [restored.state[path] for path in expected]
        )
        if sha256(state) != restored.digest["sha256"]:
            raise ValueError("its digest does not match")
        return state

    def _set_aside(self, steps: list[int]) -> None:
        if not steps:
            return
        distributed.meet("found damaged checkpoints")
        if distributed.is_first():
            aside = self.directory.with_name("damaged")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for step in steps:
                os.rename(self.directory / str(step), aside / str(step))
        distributed.meet("set damaged checkpoints aside")
        self._manager.reload()

    def _checked(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # Orbax passes on whatever its storage raises.
            if isinstance(error, jax.errors.JaxRuntimeError) and distributed.process_count() > 1:
                raise  # Another process is gone.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = reason_of_the_system(error) or lines[0][:160]
            raise RunError(
                f"a checkpoint could not be written to {self.directory} ({reason}): make "
                "room there and run the same command again; the earlier checkpoints are untouched"
            ) from error


def reason_of_the_system(error: BaseException | None) -> str | None:
    """Returns what the system had against reading or writing a file, None for other errors.

    TensorStore has its error numbers in the text of what it raises.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if found := re.search(r"os_error_code='(\d+)'", str(error)):
            number = int(found[1])
        if isinstance(error, MemoryError):
            number = errno.ENOMEM
        if isinstance(number, int) and number not in MISSING:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def save_generator(directory: Path, variables: dict, description: dict) -> None:
    """Writes a generator so that `load_generator` can rebuild it.

    variables: Flax's, `{"params": ..., ...}`.
    description: the step and what `config.json` says.
    """
    directory.mkdir(parents=True, exist_ok=True)
    flat = traverse_util.flatten_dict(variables, sep=".")
    write_arrays(directory / "weights.npz", {path: np.asarray(leaf) for path, leaf in flat.items()})
    write_text(directory / "generator.json", json.dumps(description, indent=2) + "\n")


def load_generator(directory: str | Path) -> Callable[..., jax.Array]:
    """Returns `(key, num_samples, labels=None) -> images [num_samples, ...]` of a saved generator.

    directory: the `generator/` of a run, or of one with several seeds `generator/<seed>/`.
    The same key gives the latents of `GAN.sample`. labels: of a conditional GAN, `[num_samples]` or
    one for all; one class after the other unless given.
    Raises `RunError` where it is missing or damaged.
    """
    directory = Path(directory)
    try:
        about = json.loads((directory / "generator.json").read_text(encoding="utf-8"))
        with np.load(directory / "weights.npz", allow_pickle=False) as file:
            variables = traverse_util.unflatten_dict({path: file[path] for path in file}, sep=".")
        sample = partial(sampler(about), variables)
        jax.eval_shape(lambda: sample(key_of_seed(0), 1))
    except UsageError:
        raise
    except Exception as error:  # A damaged archive raises errors of many types.
        seeds = sorted(path.parent.name for path in directory.glob("*/generator.json"))
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"generator.json lacks {reason}"
        if seeds:
            reason = f"it holds those of the seeds {', '.join(seeds)}: name one"
        raise RunError(f"no generator can be loaded from {directory} ({reason})") from error
    return sample


def sampler(about: dict) -> Callable[..., jax.Array]:
    """Returns `(variables, key, num_samples, labels=None) -> images` of a run's generator.

    about: what `config.json` says of the run.
    """
    # Runs of an earlier version lack settings that were added since.
    settings, dataset = dataclasses.asdict(Config()) | about["config"], about["dataset"]
    num_classes = dataset["num_classes"] if settings["conditional"] else None
    arguments = dataset["shape"], dataset["bounded"], settings["width"], num_classes
    generator, _ = choose("network", NETWORKS, settings["network"])(*arguments)
    latent_size = settings["latent_size"]

    def sample(variables: dict, key: jax.Array, num_samples: int, labels: Any = None) -> jax.Array:
        return generated(generator, variables, latent_size, key, num_samples, labels, num_classes)

    return sample
