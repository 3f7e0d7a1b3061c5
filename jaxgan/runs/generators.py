"""Generators of runs, loaded to draw samples from them."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import jax

from jaxgan.data.float_arrays import to_units
from jaxgan.errors import RunError, UsageError, first_line, system_reason
from jaxgan.generator_settings import GeneratorSettings
from jaxgan.keys import key_of_seed
from jaxgan.runs import description
from jaxgan.runs.axes import members_of, programs_in
from jaxgan.runs.build import UNITS, build_gan, build_networks
from jaxgan.runs.description import Description
from jaxgan.runs.generator_files import ABOUT, read_weights
from jaxgan.runs.profile_files import make_average
from jaxgan.runs.states import read_state, state_of_seed
from jaxgan.sampling import Sampler

FOLDERS = {"averaged": "generator", "best": "generator-best"}
"""The folders of a run's saved generators, by kind."""


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A generator with its parameters, which is called as `(key, num_samples, labels=None)`.

    sampler: the generator without its parameters. variables: its Flax variables. of_run: the
    description of its run. step: the number of steps that it was trained for. units: the mean and
    the deviation of floating-point data, None for samples as the network computes them.
    style_truncation: as in `Sampler.decode`.
    """

    sampler: Sampler
    variables: dict
    of_run: Description
    step: int
    units: dict | None = None
    style_truncation: float | None = None

    @property
    def latent_size(self) -> int:
        """The number of values of a latent."""
        return self.sampler.latent_size

    @property
    def num_classes(self) -> int | None:
        """The number of classes of a conditional GAN, else None."""
        return self.sampler.num_classes

    def latents(self, key: jax.Array, num_samples: int, truncation: float | None = None):
        """Returns latents `[num_samples, latent_size]` from N(0, 1); see `Sampler.latents`."""
        return self.sampler.latents(key, num_samples, truncation)

    def decode(self, latents: jax.Array, labels=None) -> jax.Array:
        """Returns the samples `[n, ...]` of latents `[n, latent_size]`.

        labels: for a conditional GAN, `[n]` or one for all; by default the classes in turn.
        Raises `UsageError` for labels outside the classes.
        """
        own = self.variables, latents, labels, self.style_truncation
        samples = self.sampler.decode(*own)
        return samples if self.units is None else to_units(samples, **self.units)

    def __call__(self, key: jax.Array, num_samples: int, labels=None) -> jax.Array:
        """Returns samples `[num_samples, ...]`, from the same latents as `GAN.sample`."""
        return self.decode(self.latents(key, num_samples), labels)


def load_generator(
    path: str | Path,
    which: Literal["averaged", "best", "raw"] = "averaged",
    *,
    seed: int | str | None = None,
    step: int | None = None,
    standardized: bool = False,
    ema_width: float | None = None,
) -> Generator:
    """Returns a generator of a run.

    path: a run directory, or a folder with one saved generator, such as `generator/3` of a run.
    which: "averaged", the exponential moving average; "best", the one with the best FID during
        training; or "raw", the generator that was trained, without the average.
    seed: of a run with several seeds or, of one in which settings have several values, the name of
        a member; the first one by default.
    step: that of a kept checkpoint; the last one by default.
    standardized: whether samples of floating-point data are standardized, as the generator computes
        them, instead of in the units of the data.
    ema_width: relative width of the average, made from the snapshots of a run with --ema-profiles.
    Raises `UsageError` for a generator that a run does not have, and `RunError` for one that is
    missing or damaged.
    """
    path = Path(path)
    if not (path / "config.json").exists():
        check_generator_folder(path)
        if (which, seed, step, ema_width) != ("averaged", None, None, None):
            raise UsageError(
                f"{path} is the folder of one generator: name the run directory to choose another "
                "generator, seed, step or --ema-width"
            )
        return _load_saved(path, standardized)
    of_run = description.read(path / "config.json")
    index = of_run.index_of(seed)
    _check_choice(path, which, step, ema_width)
    name = "" if of_run.members is None else str(of_run.members[index])
    if which == "best" or (which == "averaged" and step is None and ema_width is None):
        if not (path / FOLDERS[which]).exists():
            raise RunError(f"{path} has no generator yet: continue the run to its first checkpoint")
        return _load_saved(path / FOLDERS[which] / name, standardized)
    found = state_of_seed(of_run, read_state(path, of_run, step), seed)
    model, key = (
        build_gan(of_run.config, of_run.dataset),
        key_of_seed(members_of(of_run.config)[index]["seed"]),
    )
    if ema_width is not None:
        params, last = make_average(path, ema_width, index)
        found = found._replace(ema=params, step=last)
    if which == "averaged":
        variables = jax.jit(model.averaged)(key, found)
    else:
        trained = found.generator
        variables = {"params": trained.params, **trained.stats}
    units = None
    if not (standardized or of_run.dataset.bounded):
        units = _load_saved(path / FOLDERS["averaged"] / name).units
    return Generator(make_sampler(of_run), variables, of_run, int(found.step), units)


def _check_choice(path: Path, which: str, step: int | None, ema_width: float | None) -> None:
    """Raises `UsageError` for a choice of a run's generators that excludes itself."""
    if ema_width is not None and which != "averaged":
        raise UsageError(f"--ema-width is for the averaged generator, not the {which} one")
    if ema_width is not None and step is not None:
        raise UsageError("--ema-width makes the average at the last step: leave out --step")
    if which == "best" and step is not None:
        raise UsageError("the best generator is of one step: leave out --step")
    if which == "best" and not (path / FOLDERS["best"]).is_dir():
        raise UsageError(
            f"{path} has no best generator: it is kept by a run on images with --evaluate-every"
        )


def check_generator_folder(path: Path) -> None:
    """Raises `RunError`, which says why, for a path that is no folder with a saved generator."""
    if (path / ABOUT).exists():
        return
    if not path.is_dir():
        reason = "it is a file" if path.exists() else "it does not exist"
    elif parts := programs_in(path):
        reason = f"it holds several runs: choose one, such as {parts[0]}"
    elif seeds := sorted(each.parent.name for each in path.glob(f"*/{ABOUT}")):
        reason = f"it holds several ({', '.join(seeds)}): choose one of these folders"
    else:
        reason = "it is neither a run directory nor the folder of a generator"
    raise RunError(f"no generator can be loaded from {path}: {reason}")


def _load_saved(directory: Path, standardized: bool = False) -> Generator:
    """Returns the generator in a folder. Raises `RunError` for one that is missing or damaged."""
    try:
        about = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
        of_run, variables = description.from_json(about), read_weights(directory)
        units = variables.pop(UNITS, None)
        units = None if standardized else units
        step = int(about.get("step", 0))
        generator = Generator(make_sampler(of_run), variables, of_run, step, units)
        jax.eval_shape(lambda: generator(key_of_seed(0), 1))
    except UsageError:
        raise
    except Exception as error:  # Weights of another network raise errors of many types.
        check_generator_folder(directory)
        reason = system_reason(error) or f"it is damaged: {first_line(error)}"
        raise RunError(f"no generator can be loaded from {directory}: {reason}") from error
    return generator


def load_chosen(settings: GeneratorSettings, standardized: bool = False) -> Generator:
    """Returns the generator that the flags of a command choose. Raises as `load_generator` does."""
    return load_generator(
        settings.run,
        settings.generator,
        seed=settings.run_seed,
        step=settings.step,
        standardized=standardized,
        ema_width=settings.ema_width,
    )


def make_sampler(of_run: Description) -> Sampler:
    """Returns the sampler of a run's generator."""
    config, dataset = of_run.config, of_run.dataset
    generator, _ = build_networks(config, dataset)
    return Sampler(
        generator, config.latent_size, dataset.num_classes if config.conditional else None
    )
