"""The states of a run on disk, saved in the background by Orbax."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.errors import RunError, first_line, system_reason
from jaxgan.parallel import distributed
from jaxgan.trees import leaves_by_path, tree_sha256

KEPT = 3


class Checkpoints:
    """The checkpoints of a run, written in the background; the last `KEPT` of them are kept.

    In a run of several processes, all of them make the same calls with the same states, and one
    writes. A checkpoint has the name of its step only when it is complete, and it contains the
    digest of its state. Errors of the disk are raised as `RunError`, perhaps by a later call.
    read_only: whether to leave everything in the directory as it is.
    """

    def __init__(self, directory: Path, read_only: bool = False):
        import orbax.checkpoint as ocp
        from absl import logging as absl_logging

        absl_logging.set_verbosity(absl_logging.FATAL)
        logging.getLogger("asyncio").setLevel(
            logging.CRITICAL
        )  # Its errors also arrive as exceptions.
        # The unfinished checkpoints of a killed process. Orbax would remove them at a later time.
        if distributed.is_first() and not read_only:
            for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished)
        self.directory = directory
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=None if read_only else KEPT, read_only=read_only
            ),
        )

    def save(self, step: int, state: Any) -> None:
        """Starts to write a state, which must not be donated afterwards."""
        args = self._args.Composite(
            state=self._args.StandardSave(
                {k: np.asarray(v) for k, v in leaves_by_path(state).items()}
            ),
            digest=self._args.JsonSave({"sha256": tree_sha256(state)}),
        )
        self._checked(lambda: self._manager.save(step, args=args, force=True))

    def saving(self) -> bool:
        """Returns whether a checkpoint is still being written."""
        return self._manager.is_saving_in_progress()

    def newest(self) -> int | None:
        """Waits, and returns the step of the newest checkpoint; None if there is none."""
        self.wait()
        return self._manager.latest_step()

    def wait(self) -> None:
        """Waits until everything is written."""
        self._checked(self._manager.wait_until_finished)

    def close(self) -> None:
        """Ends the background work."""
        self._checked(self._manager.close)

    def latest(self, template: Any) -> tuple[int, Any, list[int]] | None:
        """Returns the step and the state of the newest complete checkpoint, and the damaged steps.

        The leaves of the state are NumPy arrays. Returns None if nothing was ever saved.
        template: a state of arrays or shapes. Damaged checkpoints are moved to `damaged/` beside
        the directory. Raises `RunError` if all are damaged, or if the system could not read one;
        then nothing has changed.
        """
        damaged = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self.read(step, template)
            except Exception as error:  # Orbax passes on the errors of its storage.
                if reason := system_reason(error):
                    raise RunError(
                        f"the checkpoint of step {step} in {self.directory} could not be read "
                        f"({reason}): nothing was changed; make it readable and run the same "
                        "command again, or move it away to continue from an earlier one"
                    ) from error
                damaged.append(step)
                continue
            self._set_aside(damaged)
            return step, state, damaged
        if damaged:
            raise RunError(
                f"every checkpoint in {self.directory} is damaged: copy an intact one there, or "
                "start again with --overwrite"
            )
        return None

    def read(self, step: int, template: Any) -> Any:
        """Returns the state of a step, of NumPy arrays. template: a state of arrays or shapes.

        Raises errors of many types for a checkpoint that is missing, damaged or unreadable.
        """
        expected = {
            path: np.empty(x.shape, x.dtype) for path, x in leaves_by_path(template).items()
        }
        restored = self._manager.restore(
            step,
            args=self._args.Composite(
                state=self._args.StandardRestore(expected), digest=self._args.JsonRestore()
            ),
        )
        state = jax.tree.unflatten(
            jax.tree.structure(template), [restored.state[path] for path in expected]
        )
        if tree_sha256(state) != restored.digest["sha256"]:
            raise ValueError("its digest does not match")
        return state

    def _set_aside(self, steps: list[int]) -> None:
        if not steps:
            return
        distributed.wait_for_all("found damaged checkpoints")
        if distributed.is_first():
            aside = self.directory.with_name("damaged")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for step in steps:
                os.rename(self.directory / str(step), aside / str(step))
        distributed.wait_for_all("set damaged checkpoints aside")
        self._manager.reload()

    def _checked(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # Orbax passes on the errors of its storage.
            if isinstance(error, jax.errors.JaxRuntimeError) and distributed.process_count() > 1:
                raise  # Another process is gone.
            reason = system_reason(error) or first_line(error)
            raise RunError(
                f"a checkpoint could not be written to {self.directory} ({reason}): make "
                "space there and run the same command again; the earlier checkpoints are untouched"
            ) from error
