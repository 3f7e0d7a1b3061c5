"""Settings with several values: the members of a run, and the programs that train them.

Every combination of the values, with every seed, is a member. Members that differ in numbers of the
step only are trained by one program.
"""

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError, check_choice
from jaxgan.files import read_json
from jaxgan.keys import key_of_seed
from jaxgan.metrics import BY_NAME
from jaxgan.parallel.layout import Layout
from jaxgan.parallel.members import Member
from jaxgan.runs.config import Config, check_config
from jaxgan.runs.method_settings import NetworkSettings
from jaxgan.runs.numbers import GROUPS, number_settings, numbers_of

AXES = frozenset(
    field.name
    for group in (NetworkSettings, *GROUPS)
    for field in dataclasses.fields(group)
    # In metrics.jsonl and in tables, a setting with several values stands beside scores.
    if not isinstance(field.default, bool | tuple) and field.name not in BY_NAME
)
"""The settings that may have several values."""
LONGEST_NAME = 200
"""The largest length of the name of a member, which is also that of a folder."""
LISTED = 3
"""The largest number of values that the name of a program lists."""


def combinations(config: Config) -> list[dict[str, Any]]:
    """Returns the combinations of the values of the axes; a single one, {}, without axes.

    The last axis varies fastest.
    """
    products = itertools.product(*config.axes.values())
    return [dict(zip(config.axes, values, strict=True)) for values in products]


def count_members(config: Config) -> int:
    """Returns the number of members of a run."""
    return config.seeds * math.prod(map(len, config.axes.values()))


def members_of(config: Config) -> list[dict[str, Any]]:
    """Returns the settings of each member, the last one of which is its seed, varying fastest."""
    seeds = range(config.seed, config.seed + config.seeds)
    return [{**each, "seed": seed} for each in combinations(config) for seed in seeds]


def config_of(config: Config, settings: dict[str, Any]) -> Config:
    """Returns the configuration of the solo run with the settings of a member."""
    return dataclasses.replace(config, axes={}, seeds=1, **settings)


def names_of(config: Config) -> Sequence[int | str] | None:
    """Returns the names of the members: seeds or, with axes, texts; None for a single run."""
    if config.axes:
        return [name_of(each) for each in members_of(config)]
    return range(config.seed, config.seed + config.seeds) if config.seeds > 1 else None


def name_of(settings: dict[str, Any]) -> str:
    """Returns settings as a text, such as "learning_rate=0.0002,seed=1"."""
    return ",".join(f"{name}={value}" for name, value in settings.items())


def index_of(config: Config, member: int | str | None) -> int:
    """Returns the index of a member; 0, of the first one, for None.

    member: a name or, if no other member has it, a seed.
    Raises `UsageError` for a member that the run does not have.
    """
    if member is None:
        return 0
    names = names_of(config) or [config.seed]
    known = [
        (str(name), str(own["seed"])) for name, own in zip(names, members_of(config), strict=True)
    ]
    found = [k for k, each in enumerate(known) if str(member) in each]
    if len(found) == 1:
        return found[0]
    if config.axes:
        what = f"{len(found)} members with seed {member}" if found else f"no member {member}"
        names = textwrap.shorten(" ".join(names), 300, placeholder=" ...")
        raise UsageError(f"the run has {what}; its members: {names}")
    seeds = f"seed {names[0]}" if len(names) == 1 else f"seeds {names[0]} to {names[-1]}"
    raise UsageError(f"the run has {seeds}, and no seed {member}")


def labels_of(config: Config) -> list[dict[str, Any]] | None:
    """Returns what a line of `metrics.jsonl` says of its member; None for a single run."""
    if config.axes:
        return [{"member": name_of(own), **own} for own in members_of(config)]
    names = names_of(config)
    return names and [{"seed": seed} for seed in names]


def make_member(config: Config, layout: Layout) -> Member:
    """Returns the key and the numbers of a run or, with several members, those of each of them."""
    members = members_of(config)
    numbers = [numbers_of(config_of(config, each)) for each in members]
    if layout.members is None:
        single = {name: jnp.float32(value) for name, value in numbers[0].items()}
        return Member(key_of_seed(config.seed), single)
    stacked = {name: jnp.array([own[name] for own in numbers], jnp.float32) for name in numbers[0]}
    seeds = jnp.array([each["seed"] for each in members], jnp.uint32)
    return Member(jax.vmap(key_of_seed)(seeds), stacked)


def split_by_program(config: Config) -> dict[str, Config]:
    """Returns the parts of a run that each need a program of their own, by name.

    The name says in what they differ: "" for a single part. The first values of the axes of a part
    are also the values of its settings.
    """
    groups = {axis: _group(config, axis) for axis in config.axes}
    parts = {}
    for chosen in itertools.product(*groups.values()):
        values = dict(zip(groups, chosen, strict=True))
        split = [axis for axis in values if len(groups[axis]) > 1]
        name = ",".join(f"{axis}={_label(values[axis])}" for axis in split)
        first = {axis: own[0] for axis, own in values.items()}
        # An axis stays one with a single value, so that all parts are described in the same way.
        parts[name] = dataclasses.replace(config, axes=values, **first)
    return parts or {"": config}


def _label(values: tuple) -> str:
    """Returns values in few words; the first one tells those of a program from other programs'."""
    more = len(values) - 1
    return "_".join(map(str, values)) if more < LISTED else f"{values[0]}_and_{more}_more"


def _group(config: Config, axis: str) -> list[tuple]:
    """Returns the values of an axis in groups, each of which shares a program."""
    if axis not in number_settings():
        return [(value,) for value in config.axes[axis]]
    groups: dict[tuple, list] = {}
    for value in config.axes[axis]:
        is_number = axis in numbers_of(dataclasses.replace(config, **{axis: value}))
        # Numbers that leave different things out, such as 0 and None, have a program each.
        groups.setdefault((is_number, None if is_number else value), []).append(value)
    return [tuple(own) for own in groups.values()]


def programs_in(path: Path) -> list[Path]:
    """Returns the run directories in the folder of a run that needs several programs, else [].

    Those of programs that have not begun are left out.
    """
    if not path.is_dir() or (path / "config.json").exists():
        return []
    names = read_json(path / "sweep.json").get("runs")
    runs = [path / str(name) for name in names] if isinstance(names, list) else []
    return [run for run in runs if (run / "config.json").exists()]


def check_axes(config: Config) -> None:
    """Raises `UsageError` for axes that cannot be, too many members, and impossible members."""
    if config.rank_by is not None:
        if not config.axes:
            raise UsageError("--rank-by needs a setting with several values")
        scores = [name for name, metric in BY_NAME.items() if metric.direction]
        check_choice(f"score '{config.rank_by}' of --rank-by", config.rank_by, scores)
    for axis, values in config.axes.items():
        flag = "--" + axis.replace("_", "-")
        if axis not in AXES:
            several = " (--seeds is the number of seeds)" if axis == "seed" else ""
            raise UsageError(
                f"{flag} takes one value{several}: those that may have several are numbers and "
                "choices of the network, the loss, the optimizer and their schedules"
            )
        if not values:
            raise UsageError(f"{flag} has no value")
        if twice := [value for value in values if values.count(value) > 1]:
            raise UsageError(f"{flag} has the value {twice[0]} twice")
    if config.axes and (count := count_members(config)) > config.most_members:
        raise UsageError(
            f"these are {count:,} members, the combinations of all values and seeds, and more than "
            f"--most-members {config.most_members:,}: choose fewer values, or raise that limit"
        )
    longest = max(len(name_of(each)) for each in members_of(config))
    if longest > LONGEST_NAME:
        raise UsageError(
            f"the name of a member would have {longest} letters, more than {LONGEST_NAME}: choose "
            "fewer settings with several values"
        )
    for settings in combinations(config):
        try:
            check_config(config_of(config, settings))
        except UsageError as error:
            raise UsageError(f"{error} (in the combination {name_of(settings)})") from error
