"""The state that a run begins with: new, or from a checkpoint of another run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan.errors import RunError, UsageError
from jaxgan.gan import GANState
from jaxgan.parallel.members import Member
from jaxgan.players import Player
from jaxgan.runs import description
from jaxgan.runs.axes import members_of, name_of
from jaxgan.runs.class_axes import PLAYERS, class_axes, shapes_of_variables, variables_of
from jaxgan.runs.config import Config
from jaxgan.runs.description import Description
from jaxgan.runs.method_settings import NetworkSettings
from jaxgan.runs.states import kept_steps, read_state
from jaxgan.trees import leaves_by_path, tree_sha256

SHOWN = 5
"""The number of parameters whose names are shown."""


class Start(NamedTuple):
    """The state that a run begins with, and a remark on where it comes from, "" for a new one."""

    state: GANState
    remark: str = ""


def find_source(config: Config, out: Path) -> dict | None:
    """Returns the "step" and the "state_sha256" of the checkpoint that --init-from selects.

    None without --init-from. For a run that `out` holds already, it is what was recorded there.
    Raises `UsageError` for a directory without a run, and for a fork of its state that would not
    take a step, and `RunError` for a missing checkpoint.
    """
    if config.init_from is None:
        return None
    if out.resolve() == config.init_from.resolve():
        raise UsageError(
            f"--init-from {config.init_from} is also the run directory of this run: choose "
            "another --out"
        )
    past = None if config.overwrite else description.read(out / "config.json")
    if past is not None and past.source is not None:
        settings = past.config.init_from, past.config.init_step
        if settings == (config.init_from.absolute(), config.init_step):
            return past.source
    source = _read_description(config.init_from)
    kept = kept_steps(config.init_from)
    step = config.init_step if config.init_step is not None or not kept else kept[-1]
    found = read_state(config.init_from, source, step)
    if config.init_with == "state" and step >= config.steps:
        raise UsageError(
            f"--init-with state starts from step {step} of {config.init_from}, and --steps is "
            f"{config.steps}: set --steps to more than {step}"
        )
    return {"step": step, "state_sha256": tree_sha256(found)}


def make_initial_state(of_run: Description, init: Callable, key: jax.Array | Member) -> Start:
    """Returns the state that a run begins with.

    of_run: its description. init: `key -> state`. key: of the run or, with several members, of all.
    Raises `UsageError` for a source whose networks or seeds do not fit, and `RunError` if it has
    changed.
    """
    state = init(key)
    if of_run.source is None:
        return Start(state)
    path, step = of_run.config.init_from, of_run.source["step"]
    source, found = _read_source(of_run)
    found = _select_seeds(of_run, source, found)
    digest = of_run.source["state_sha256"][:12]
    remark = f"starting from step {step} of {path} (state_sha256 {digest})"
    if of_run.config.init_with == "state":
        same_profiles = source.config.ema_profiles == of_run.config.ema_profiles
        return Start(_check_whole_state(path, state, found, same_profiles), remark)
    return _take_parameters(of_run, source, state, found, remark)


def _read_description(run: Path) -> Description:
    found = description.read(run / "config.json")
    if found is None:
        raise UsageError(f"--init-from {run} is not a run directory: it has no config.json")
    return found


def _read_source(of_run: Description) -> tuple[Description, GANState]:
    """Returns the description and the state that a run recorded as its source.

    Raises `RunError` if they are no longer there, or have changed.
    """
    path, step = of_run.config.init_from, of_run.source["step"]
    advice = "put it back, or start a new run"
    try:
        source = _read_description(path)
        found = read_state(path, source, step)
    except (UsageError, RunError) as error:
        raise RunError(
            f"the run began with step {step} of {path}, which cannot be read ({error}): {advice}"
        ) from error
    if tree_sha256(found) != of_run.source["state_sha256"]:
        raise RunError(
            f"the checkpoint of step {step} in {path} is not the one that the run began with: "
            f"{advice}"
        )
    return source, found


def _select_seeds(of_run: Description, source: Description, found: GANState) -> GANState:
    """Returns the state that each seed of a run begins with.

    From a run of several seeds, each takes the state of the same seed; from one of a single seed,
    all take its state; from one in which settings have the same several values, each member takes
    the state of the same member.
    """
    members = members_of(of_run.config)
    seeds = [own["seed"] for own in members]
    if source.config.axes:
        if {**source.config.axes} != {**of_run.config.axes}:
            raise UsageError(
                "--init-from needs a run of one or several seeds, or one with the same values of "
                f"{', '.join(source.config.axes)}"
            )
        indices = [source.index_of(name_of(own)) for own in members]
        return jax.tree.map(lambda leaf: leaf[indices], found)
    if source.members is None:
        if of_run.members is None:
            return found
        return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(seeds), *leaf.shape)), found)
    if of_run.members is None:
        index = source.index_of(of_run.config.seed)
        return jax.tree.map(lambda leaf: leaf[index], found)
    indices = [source.index_of(seed) for seed in seeds]
    return jax.tree.map(lambda leaf: leaf[indices], found)


def _check_whole_state(
    path: Path, state: GANState, found: GANState, same_profiles: bool
) -> GANState:
    """Returns the state that was found. Raises `UsageError` unless it has the leaves of `state`.

    same_profiles: whether its averages have the profiles of the new run.
    """
    shapes = lambda tree: {k: (v.shape, v.dtype) for k, v in leaves_by_path(tree).items()}
    if shapes(state) != shapes(found) or not same_profiles:
        raise UsageError(
            f"--init-with state needs the networks, loss and optimizers of {path}, with the same "
            "settings, also --ema-profiles: use --init-with parameters"
        )
    found = jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(found))

    # The state of an optimizer with schedules holds its numbers, which are settings of the new run.
    injected = lambda node: hasattr(node, "hyperparams")
    with_own = lambda own, other: (
        other._replace(hyperparams=own.hyperparams) if injected(own) else other
    )
    return jax.tree.map(with_own, state, found, is_leaf=injected)


def _take_parameters(
    of_run: Description, source: Description, state: GANState, found: GANState, remark: str
) -> Start:
    """Returns a new state with the networks of another one; what differs by class starts anew."""
    _check_networks(of_run, source, found)
    average = found.generator.params if found.ema is None else found.ema
    pairs = {
        "generator": (variables_of(state.generator), variables_of(found.generator)),
        "discriminator": (variables_of(state.discriminator), variables_of(found.discriminator)),
    }
    if state.ema is not None:
        pairs["ema"] = ({"params": state.ema}, {"params": average})
    rows, axes = _same_classes(of_run, source), class_axes(of_run.config, of_run.dataset)
    anew, merged = [], {}
    for name, (own, other) in pairs.items():
        others = leaves_by_path(other)
        network = "generator" if name == "ema" else name

        def merge(path, leaf, others=others, name=name, network=network):
            place = jax.tree_util.keystr(path, simple=True, separator="/")
            axis = axes.get(f"{network}/{place}")
            taken = _merge_leaf(leaf, others.get(place), rows, axis)
            if taken is None:
                anew.append(f"{name}/{place}")
            return leaf if taken is None else taken

        merged[name] = jax.tree.map_with_path(merge, own)
    if anew:
        more = f" and {len(anew) - SHOWN} more" if len(anew) > SHOWN else ""
        remark += f"; new, because the classes differ: {', '.join(anew[:SHOWN])}{more}"
    return Start(
        state._replace(
            generator=_with_variables(state.generator, merged["generator"]),
            discriminator=_with_variables(state.discriminator, merged["discriminator"]),
            ema=merged["ema"]["params"] if "ema" in merged else None,
        ),
        remark,
    )


def _check_networks(of_run: Description, source: Description, found: GANState) -> None:
    """Raises `UsageError` unless the run would have the source's networks, with its classes."""
    config = dataclasses.replace(of_run.config, conditional=source.config.conditional)
    dataset = of_run.dataset._replace(num_classes=source.dataset.num_classes)
    expected, rank = shapes_of_variables(config, dataset), found.step.ndim
    players = {name: variables_of(getattr(found, name)) for name in PLAYERS}
    shapes = {path: leaf.shape[rank:] for path, leaf in leaves_by_path(players).items()}
    wrong = [path for path in expected | shapes if expected.get(path) != shapes.get(path)]
    if wrong:
        names = [field.name for field in dataclasses.fields(NetworkSettings)]
        values = [(getattr(source.config, name), getattr(config, name), name) for name in names]
        other = [f"{name} is {old} there and {new} here" for old, new, name in values if old != new]
        raise UsageError(
            f"the networks of --init-from {of_run.config.init_from} differ from those of this run "
            f"(in {'; '.join(other) or wrong[0]}): give it the same network settings and data of "
            "the same shape"
        )


def _merge_leaf(leaf: Any, other: Any, rows: tuple, axis: int | None) -> Any:
    """Returns a leaf of the source, or its rows of the classes that both runs have.

    rows: labels of the run and of the source for the same classes. axis: that of the classes,
    counted from the last one; None for a leaf without. None if the leaf cannot be taken.
    """
    if other is None or leaf.ndim != other.ndim:
        return None
    if axis is None:
        return other if leaf.shape == other.shape else None
    own, others = (np.moveaxis(np.array(each), axis, 0) for each in (leaf, other))
    if own.shape[1:] != others.shape[1:] or not rows[0]:
        return None
    own[rows[0]] = others[rows[1]]
    return np.moveaxis(own, 0, axis)


def _same_classes(of_run: Description, source: Description) -> tuple[list[int], list[int]]:
    """Returns the labels, in the run and in its source, of the classes that both have.

    They are compared by name or, where the names are not known and there are equally many, by
    number.
    """
    own, others = of_run.dataset, source.dataset
    if own.class_names and others.class_names:
        names = [name for name in own.class_names if name in others.class_names]
        return [*map(own.class_names.index, names)], [*map(others.class_names.index, names)]
    count = _classes(of_run) if _classes(of_run) == _classes(source) else 0
    return [*range(count or 0)], [*range(count or 0)]


def _classes(of_run: Description) -> int | None:
    return of_run.dataset.num_classes if of_run.config.conditional else None


def _with_variables(player: Player, variables: dict) -> Player:
    return player._replace(
        params=variables["params"], stats={name: variables[name] for name in player.stats}
    )
