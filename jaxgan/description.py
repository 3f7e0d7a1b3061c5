"""What `config.json` says of a run, and whether two runs are the same one."""

import dataclasses
import importlib.metadata
import os
import platform
from pathlib import Path

import jax

import jaxgan
from jaxgan import environment
from jaxgan.config import BOOKKEEPING, Config
from jaxgan.errors import RunError, UsageError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(
    config: Config, dataset, remark: str = "", devices: int = 1, parameters: dict | None = None
) -> dict:
    """Returns what `config.json` says of a run: settings, data, versions, devices, environment.

    Its "environments" say from which step on it is computed in which of them; the first is also
    there by itself.
    remark: what `jaxgan.data.load` had to say. devices: how many the run uses.
    parameters: how many each network has.
    """
    around = _around(devices)
    return {
        "config": _settings(config),
        "dataset": {
            "name": dataset.name,
            "holds": dataset.describe(),
            "fingerprint": dataset.fingerprint,
            "shape": dataset.shape,
            "bounded": dataset.bounded,
            "num_classes": dataset.num_classes,
            "remark": remark,
        },
        "parameters": parameters or {},
        **around,
        "environments": [{"step": 0, **around, "log_every": config.log_every}],
    }


def _around(devices: int) -> dict:
    """Returns what decides the last bits of a run beside its configuration."""
    device = jax.devices()[0]
    return {
        "versions": {
            "jaxgan": jaxgan.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "devices": devices,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        },
        "environment": environment.recorded(),
    }


def compared(directory: Path, before: dict, now: dict) -> None:
    """Raises `UsageError` where a directory holds another run than the one that is asked for.

    before, now: what `config.json` says, and what `describe` returned. Raises `RunError` for a
    `config.json` that is damaged.
    """
    try:
        old, new = _settings(Config()) | before["config"], now["config"]
        old_data, new_data = before["dataset"], now["dataset"]
        names = [name for name in new | old if name not in BOOKKEEPING]
        pairs = {name: (old.get(name), new.get(name)) for name in names}
        pairs["dataset"] = (old_data["name"], new_data["name"])
        if old_data["name"] == new_data["name"]:
            pairs["data (fingerprint)"] = (old_data["fingerprint"], new_data["fingerprint"])
        last = max(history(before), key=lambda entry: entry["step"])
        sizes = before.get("parameters", {}).items(), now["parameters"]
        changed = [name for name, count in sizes[0] if sizes[1].get(name, count) != count]
        version = last["versions"].get("jaxgan", "that it was begun with")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RunError(
            f"{directory / 'config.json'} is damaged: restore it, name another --out, or start "
            "afresh with --overwrite"
        ) from error
    differing = [f"{name} {a} there, {b} now" for name, (a, b) in pairs.items() if a != b]
    if differing:
        raise UsageError(
            f"{directory} holds a run of another configuration ({'; '.join(differing)}): name "
            "another --out, or start afresh with --overwrite"
        )
    if changed:
        raise UsageError(
            f"{directory} holds a run whose networks ({' and '.join(changed)}) have other numbers "
            f"of parameters than those of jaxgan {jaxgan.__version__}: continue it with jaxgan "
            f"{version}, or start afresh with --overwrite"
        )


def history(about: dict) -> list[dict]:
    """Returns in what a run was computed, and from which step on, the first entry from step 0.

    about: what `config.json` says. Where it has no "environments" it is what else it says.
    """
    first = {"step": 0, **{name: about[name] for name in ("versions", "device")}}
    first |= {"environment": about["environment"]} if "environment" in about else {}
    return about.get("environments") or [first]


def continued(past: list[dict], now: dict, step: int) -> tuple[list[dict], str]:
    """Returns the history of a run that goes on from a step, and a remark on what has changed.

    past: the history so far, of which nothing is left that came after that step.
    now: the entry of this environment, from whatever step. The remark is empty where nothing that
    may decide a number has changed.
    """
    kept = [entry for entry in past if entry["step"] < step]
    if not kept:
        return [now | {"step": step}], ""
    last = kept[-1]
    if {**last, "step": step} != {**now, "step": step}:
        kept.append(now | {"step": step})
    changed = [
        f"{name} was {_said(before)} and is {_said(after)}"
        for part in ("versions", "device", "environment")
        for name, before, after in _pairs(last, now, part)
        if before != after
    ]
    return kept, f"not exactly repeatable any more: {'; '.join(changed)}" if changed else ""


def _pairs(last: dict, now: dict, part: str) -> list[tuple]:
    """Returns names and what each was and is, but for what was not yet recorded."""
    old, new = last.get(part), now[part]
    if old is None:
        return []
    if part == "environment":
        return [(name, old.get(name), new.get(name)) for name in sorted(old | new)]
    return [(name, old[name], new[name]) for name in new if old.get(name) is not None]


def _said(value) -> str:
    return "not set" if value is None else str(value)


def _settings(config: Config) -> dict:
    """Returns the settings as JSON has them; where data is found does not hang on the folder."""
    settings = dataclasses.asdict(config)
    for name in ("data_dir", "data_file"):
        if settings[name] is not None:
            settings[name] = settings[name].absolute()
    plain = {Path: str, tuple: list}
    return {
        name: next((of(value) for kind, of in plain.items() if isinstance(value, kind)), value)
        for name, value in settings.items()
    }
