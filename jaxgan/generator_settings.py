"""The settings that choose a generator, which commands share."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxgan.constraints import Index, ProfileWidth


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
    """Which generator to use."""

    run: Annotated[Path, tyro.conf.Positional]
    """run directory, or a folder with one saved generator"""
    generator: Literal["averaged", "best", "raw"] = "averaged"
    """averaged: the exponential moving average; best: the one with the best FID during training
    (see --evaluate-every of jaxgan.train); raw: the one that was trained, without the average"""
    step: Index | None = None
    """step of a kept checkpoint; if not given, the last one"""
    ema_width: ProfileWidth | None = None
    """relative width of the average, made from the snapshots of a run with --ema-profiles; if not
    given, the run's own average"""
    run_seed: str | None = None
    """seed of a run with several seeds or, of a run in which settings have several values, the name
    of one of its GANs, such as r1=0.1,seed=0 (summary.json lists them); if not given, the first
    one"""
