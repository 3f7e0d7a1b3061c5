"""Generators in files for other programs: weights, StableHLO and ONNX."""

import importlib.util
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxgan import store
from jaxgan.errors import RunError, UsageError
from jaxgan.files import replacing
from jaxgan.networks.shared import identity
from jaxgan.outputs.layers import list_layers
from jaxgan.runs.generators import Generator

PLATFORMS = ("cpu", "cuda")


def describe(generator: Generator) -> dict:
    """Returns what a program needs to know of a generator, besides its arrays.

    "activation": of the last layer, "tanh" or "identity". "layers": those of `list_layers`, None
    for networks that cannot be listed.
    """
    of_run, module = generator.of_run, generator.sampler.module
    try:
        layers = list_layers(generator)
    except UsageError:
        layers = None
    return {
        "network": of_run.config.network,
        "shape": list(of_run.dataset.shape),
        "latent_size": generator.latent_size,
        "num_classes": generator.num_classes,
        "class_names": list(of_run.dataset.class_names),
        "activation": "tanh" if getattr(module, "output", identity) is nn.tanh else "identity",
        "norm": module.norm,
        "conditioning": module.conditioning if generator.num_classes is not None else None,
        "step": generator.step,
        "layers": layers,
    }


def arrays_of(generator: Generator) -> dict:
    """Returns the variables of a generator and, of floating-point data, their "units"."""
    units = {} if generator.units is None else {"units": generator.units}
    return jax.tree.map(np.asarray, generator.variables | units)


def write_safetensors(path: Path, generator: Generator) -> None:
    """Writes the arrays of a generator by their paths, such as "params.Dense_0.kernel".

    The header has `describe` as JSON, under "about". `experiments/readers/` has programs that read
    such a file. Raises `OSError`.
    """
    store.save(path, arrays_of(generator), describe(generator))


def write_stablehlo(path: Path, generator: Generator) -> None:
    """Writes the function from latents to samples as a serialized `jax.export.Exported`.

    Its arguments are latents `[n, latent_size]` and, for a conditional GAN, int32 labels `[n]`, for
    any n, on the CPU or on CUDA. To read it takes JAX and flatbuffers:
    `jax.export.deserialize(bytearray).call(...)`.
    Raises `RunError` without the package flatbuffers, and `OSError`.
    """
    from jax import export

    require("flatbuffers")
    (count,) = export.symbolic_shape("n")
    arguments = [jax.ShapeDtypeStruct((count, generator.latent_size), jnp.float32)]
    if generator.num_classes is not None:
        arguments.append(jax.ShapeDtypeStruct((count,), jnp.int32))
    decode = jax.jit(lambda *inputs: generator.decode(*inputs))
    exported = export.export(decode, platforms=PLATFORMS)(*arguments)
    with replacing(path) as temporary:
        temporary.write_bytes(exported.serialize())


def write_onnx(path: Path, generator: Generator) -> None:
    """Writes the generator of an mlp or a dcgan as an ONNX model.

    Inputs: "latents" `[n, latent_size]` and, for a conditional GAN, "labels" `[n]`. Output:
    "samples" `[n, *shape]`.
    Raises `UsageError` for other networks or without the package onnx, and `OSError`.
    """
    try:
        layers = list_layers(generator)
    except UsageError as error:
        raise UsageError(f"ONNX needs layers: {error}; choose --format stablehlo") from error
    require("onnx")
    from jaxgan.outputs.onnx_model import make_model

    arrays = traverse_util.flatten_dict(arrays_of(generator), sep=store.SEPARATOR)
    model = make_model(layers, arrays, describe(generator))
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


WRITERS = {
    "safetensors": write_safetensors,
    "stablehlo": write_stablehlo,
    "onnx": write_onnx,
}
"""Functions `(path, generator)` by the name of the format, which is also the suffix of the file."""


def require(package: str) -> None:
    """Raises `UsageError` if a package of the extra is not installed."""
    if importlib.util.find_spec(package) is None:
        raise RunError(f"this needs {package}: pip install 'jaxgan[export]'")
