"""The description of a run in `config.json`, and the check that two are of the same run."""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan import __version__, environment
from jaxgan.errors import RunError, UsageError
from jaxgan.files import write_json
from jaxgan.runs.axes import index_of, names_of
from jaxgan.runs.config import BOOKKEEPING, Config, check_config

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")


class DatasetInfo(NamedTuple):
    """What is known of a data set without loading it; the fields of `jaxgan.data`'s data sets.

    holds: its content in a few words. class_names: the names of the classes, if they are known.
    class_frequencies: their frequencies, None without classes and for runs of earlier versions.
    remark: what the user was told of the data, such as what was passed over.
    """

    name: str
    holds: str = ""
    fingerprint: str = ""
    shape: tuple[int, ...] = ()
    bounded: bool = True
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    class_frequencies: tuple[float, ...] | None = None
    remark: str = ""


class Description(NamedTuple):
    """What `config.json` and `generator.json` say of a run.

    parameters: the number of parameters of each network. versions, device, environment: the
    versions of packages, the device, and the variables of the environment that the run began with.
    environments: the same three, and "log_every", by the "step" from which they apply.
    source: "step" and "state_sha256" of the state of --init-from, None without that.
    """

    config: Config
    dataset: DatasetInfo
    parameters: dict[str, int]
    versions: dict[str, str]
    device: dict[str, Any]
    environment: dict[str, str] | None
    environments: tuple[dict, ...]
    source: dict | None = None

    @property
    def members(self) -> Sequence[int | str] | None:
        """The names of the members: seeds, or texts of settings; None for a single run."""
        return names_of(self.config)

    def index_of(self, member: int | str | None) -> int:
        """Returns the index of a member, see `jaxgan.runs.axes.index_of`."""
        return index_of(self.config, member)

    def to_json(self) -> dict:
        """Returns the description as JSON holds it."""
        content = {**self._asdict(), "config": _settings(self.config)}
        content["dataset"] = self.dataset._asdict()
        content["environments"] = list(self.environments)
        for name in ("environment", "source"):
            if content[name] is None:
                del content[name]
        return content

    def write(self, path: Path) -> None:
        """Writes a `config.json`, which is replaced as a whole."""
        write_json(path, self.to_json())


def describe_run(
    config: Config,
    dataset,
    remarks: Sequence[str] = (),
    devices: int = 1,
    parameters: dict[str, int] | None = None,
    source: dict | None = None,
) -> Description:
    """Returns the description of a run that begins now.

    remarks: what `jaxgan.data.load` remarked. devices: the number of devices that the run uses.
    parameters: the number of parameters of each network. source: see `Description`.
    """
    now, frequencies = surroundings(devices), getattr(dataset, "class_frequencies", None)
    info = DatasetInfo(
        name=dataset.name,
        holds=dataset.describe(),
        fingerprint=dataset.fingerprint,
        shape=dataset.shape,
        bounded=dataset.bounded,
        num_classes=dataset.num_classes,
        class_names=tuple(getattr(dataset, "class_names", ())),
        class_frequencies=None if frequencies is None else tuple(map(float, frequencies)),
        remark="; ".join(remarks),
    )
    begin = source["step"] if source and config.init_with == "state" else 0
    entry = {"step": begin, **now, "log_every": config.log_every}
    return Description(config, info, parameters or {}, **now, environments=(entry,), source=source)


def surroundings(devices: int) -> dict:
    """Returns what can change a run by rounding errors, apart from its configuration."""
    import jax

    device = jax.devices()[0]
    return {
        "versions": {
            "jaxgan": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "devices": devices,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "processor": environment.processor() if device.platform == "cpu" else None,
        },
        "environment": environment.recorded_variables(),
    }


def read(path: Path) -> Description | None:
    """Returns the description in a `config.json`, None where there is no such file.

    Raises `UsageError` for a JSON file that is not a run's, and `RunError` for a damaged one.
    """
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and {"config", "dataset"} <= content.keys():
            return from_json(content)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}): restore it, choose another --out, or start again "
            "with --overwrite"
        ) from error
    raise UsageError(f"{path} is not the config.json of a run")


def from_json(content: dict) -> Description:
    """Returns the description that a JSON object holds; raises `ValueError` for a damaged one.

    The description of an earlier version may lack settings, which then have their defaults, the
    environment and its history, and the numbers of parameters.
    """
    try:
        config = _config(content["config"])
        dataset = DatasetInfo(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in content["dataset"].items()}
        )
        versions, device = dict(content["versions"]), dict(content["device"])
        surroundings = {"versions": versions, "device": device}
        if (variables := content.get("environment")) is not None:
            surroundings["environment"] = dict(variables)
        history = content.get("environments") or [{"step": 0, **surroundings}]
        for entry in history:
            if not isinstance(entry["step"], int):
                raise ValueError("the step of an environment is not a number")
            dict(entry["versions"]), dict(entry["device"])
        return Description(
            config=config,
            dataset=dataset,
            parameters=dict(content.get("parameters", {})),
            versions=versions,
            device=device,
            environment=surroundings.get("environment"),
            environments=tuple(history),
            source=content.get("source"),
        )
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError("a value has another type") from error


def _config(settings: dict) -> Config:
    """Returns a configuration from its settings in JSON."""
    names = {field.name for field in dataclasses.fields(Config)}
    if unknown := settings.keys() - names:
        raise ValueError(f"this version of jaxgan has no setting {', '.join(sorted(unknown))}")
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    try:
        config = Config(**settings)
        check_config(config)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return config


def check_same_run(directory: Path, before: Description, now: Description) -> None:
    """Raises `UsageError` where a directory holds another run than the one that is to be trained.

    before: the description in the directory. now: that of the run to be trained.
    """
    old, new = _settings(before.config), _settings(now.config)
    pairs = {name: (old[name], new[name]) for name in new if name not in BOOKKEEPING}
    if old["evaluate_every"] and new["evaluate_every"]:  # Else, there are no scores to compare.
        given = ("not given", "given")
        pairs["inception"] = tuple(given[each["inception"] is not None] for each in (old, new))
    digests = [each.source and each.source["state_sha256"][:12] for each in (before, now)]
    pairs["init_from (state)"] = tuple(digests)
    pairs["dataset"] = (before.dataset.name, now.dataset.name)
    if before.dataset.name == now.dataset.name:
        pairs["data (fingerprint)"] = (before.dataset.fingerprint, now.dataset.fingerprint)
    differing = [f"{name} is {a} there and {b} now" for name, (a, b) in pairs.items() if a != b]
    if differing:
        raise UsageError(
            f"{directory} holds a run of another configuration ({'; '.join(differing)}): choose "
            "another --out, or start again with --overwrite"
        )
    changed = [
        name
        for name, count in before.parameters.items()
        if now.parameters.get(name, count) != count
    ]
    if changed:
        last = max(before.environments, key=lambda entry: entry["step"])
        version = f"jaxgan {found}" if (found := last["versions"].get("jaxgan")) else "its version"
        raise UsageError(
            f"the {' and '.join(changed)} of the run in {directory} differ in their number of "
            f"parameters from those of jaxgan {__version__}: continue it with {version}, or start "
            "again with --overwrite"
        )


def continue_history(past: tuple[dict, ...], now: dict, step: int) -> tuple[tuple[dict, ...], str]:
    """Returns the environments of a run that continues from a step, and a remark on changes.

    past: the environments so far; those that begin at a later step are dropped. now: the present
    one. The remark is empty if nothing that may change a number has changed.
    """
    kept = [entry for entry in past if entry["step"] < step]
    if not kept:
        return ({**now, "step": step},), ""
    last = kept[-1]
    if {**last, "step": step} != {**now, "step": step}:
        kept.append({**now, "step": step})
    changed = describe_changes(last, now)
    remark = f"the run is no longer exactly repeatable: {'; '.join(changed)}" if changed else ""
    return tuple(kept), remark


def describe_changes(before: dict, now: dict) -> list[str]:
    """Returns how two environments differ in what may change a number, each as a few words.

    before: an entry of `Description.environments`. now: what `surroundings` returned.
    """
    return [
        f"{name} was {_show(old)} and is {_show(new)}"
        for part in ("versions", "device", "environment")
        for name, old, new in _pairs(before, now, part)
        if old != new
    ]


def _pairs(last: dict, now: dict, part: str) -> list[tuple]:
    """Returns the name, the earlier and the present value of what was recorded earlier too."""
    old, new = last.get(part), now[part]
    if old is None:
        return []
    if part == "environment":
        return [(name, old.get(name), new.get(name)) for name in sorted(old | new)]
    return [(name, old[name], new[name]) for name in new if old.get(name) is not None]


def _show(value: Any) -> str:
    return "not set" if value is None else str(value)


def _settings(config: Config) -> dict:
    """Returns the settings as JSON holds them, with absolute paths of what is read."""
    settings = dataclasses.asdict(config)
    for name in ("data_dir", "data_file", "inception", "init_from"):
        if settings[name] is not None:
            settings[name] = settings[name].absolute()
    plain = {Path: str, tuple: list}
    return {
        name: next((of(value) for kind, of in plain.items() if isinstance(value, kind)), value)
        for name, value in settings.items()
    }
