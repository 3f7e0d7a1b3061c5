"""What `config.json` says of a run, and whether two runs are the same one."""

import dataclasses
import importlib.metadata
import os
from pathlib import Path

import jax

import jaxgan
from jaxgan.config import BOOKKEEPING, Config
from jaxgan.errors import RunError, UsageError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(
    config: Config, dataset, remark: str = "", devices: int = 1, parameters: dict | None = None
) -> dict:
    """Returns what `config.json` says of a run: settings, data, versions and devices.

    remark: what `jaxgan.data.load` had to say. devices: how many the run uses.
    parameters: how many each network has.
    """
    device = jax.devices()[0]
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
        "versions": {
            "jaxgan": jaxgan.__version__,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "devices": devices,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        },
    }


def compared(directory: Path, before: dict, now: dict) -> list[str]:
    """Returns remarks on what changed around a run; raises `UsageError` for another run."""
    try:
        old, new = _settings(Config()) | before["config"], now["config"]
        old_data, new_data = before["dataset"], now["dataset"]
        names = [name for name in new | old if name not in BOOKKEEPING]
        pairs = {name: (old.get(name), new.get(name)) for name in names}
        pairs["dataset"] = (old_data["name"], new_data["name"])
        if old_data["name"] == new_data["name"]:
            pairs["data (fingerprint)"] = (old_data["fingerprint"], new_data["fingerprint"])
        around = [
            (name, before[part].get(name), now[part][name])
            for part in ("versions", "device")
            for name in now[part]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{directory / 'config.json'} is damaged: restore it, or name another --out"
        ) from error
    differing = [f"{name} {a} there, {b} now" for name, (a, b) in pairs.items() if a != b]
    if differing:
        raise UsageError(
            f"{directory} holds a run of another configuration ({'; '.join(differing)}): name "
            "another --out, or start afresh with --overwrite"
        )
    changed = [f"{name} was {a} and is {b}" for name, a, b in around if a not in (None, b)]
    return [f"not exactly repeatable any more: {'; '.join(changed)}"] if changed else []


def _settings(config: Config) -> dict:
    """Returns the settings as JSON has them."""
    plain = {Path: str, tuple: list}
    return {
        name: next((of(value) for kind, of in plain.items() if isinstance(value, kind)), value)
        for name, value in dataclasses.asdict(config).items()
    }
