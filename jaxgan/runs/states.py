"""The states in the checkpoints of a run, read without changing anything there."""

from pathlib import Path
from typing import Any

import jax

from jaxgan.errors import RunError, first_line, system_reason
from jaxgan.gan import GANState
from jaxgan.parallel.layout import Layout
from jaxgan.runs.axes import make_member
from jaxgan.runs.build import build_gan
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.description import Description


def kept_steps(run: Path) -> list[int]:
    """Returns the steps of the complete checkpoints of a run directory, in order."""
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def read_state(run: Path, of_run: Description, step: int | None = None) -> GANState:
    """Returns the state in a checkpoint of a run, of NumPy arrays; by default the newest one.

    With several seeds, every leaf has an entry for each of them along its first axis.
    Raises `RunError` for a checkpoint that is missing or damaged.
    """
    steps = kept_steps(run)
    if not steps:
        raise RunError(f"{run} has no checkpoint yet: continue the run")
    if step is not None and step not in steps:
        kept = ", ".join(map(str, steps))
        raise RunError(
            f"{run} has no checkpoint of step {step}: it keeps those of the steps {kept}"
        )
    step = steps[-1] if step is None else step
    layout = Layout(of_run.members and len(of_run.members))
    init = layout.map_members(build_gan(of_run.config, of_run.dataset).init)
    template = jax.eval_shape(init, make_member(of_run.config, layout).key)
    checkpoints = Checkpoints(run / "checkpoints", read_only=True)
    try:
        return checkpoints.read(step, template)
    except Exception as error:  # Orbax passes on the errors of its storage.
        reason = system_reason(error) or f"it is damaged: {first_line(error)}"
        raise RunError(
            f"the checkpoint of step {step} in {run} cannot be read ({reason})"
        ) from error
    finally:
        checkpoints.close()


def state_of_seed(of_run: Description, state: Any, seed: int | str | None = None) -> Any:
    """Returns the state of one seed, by default the first one, of a run with several or one seed.

    seed: one of the run's, see `Description.index_of`.
    """
    if of_run.members is None:
        return state
    return jax.tree.map(lambda leaf: leaf[of_run.index_of(seed)], state)
