"""The layers of a generator as a list, for programs that do not have Flax."""

from jaxgan.errors import UsageError
from jaxgan.networks.norms import has_bias
from jaxgan.networks.shared import count_halvings, identity
from jaxgan.runs.generators import Generator

EPSILON = 1e-5
"""What batch norm adds to the variance, Flax's default."""
NORMS = ("none", "batch")
"""The norms of generators that can be written as a list of layers."""


def list_layers(generator: Generator) -> list[dict]:
    """Returns the layers of an mlp or a dcgan in order, each with an "op" and names of its arrays.

    The arrays are the generator's variables by their path. On a batch `x`, the ops are:
        "append_class": `concatenate([x, table[labels]], axis=1)`.
        "dense": `x @ kernel`, plus "bias" if it is not None.
        "batch_norm": `(x - mean) / sqrt(var + epsilon) * scale + offset`, for each channel.
        "relu", "tanh".
        "reshape": to `[n, *shape]`; images are `[n, h, w, c]`.
        "conv_transpose": with stride 2 and a kernel `[4, 4, outputs, inputs]`, one pixel cut off on
        each side, plus "bias" if it is not None.
        "scale": `x * deviation + mean`, to the units of floating-point data.
    Raises `UsageError` for other networks, and for other norms than batch norm.
    """
    module, network = generator.sampler.module, generator.of_run.config.network
    if network not in LISTED:
        known = " and ".join(LISTED)
        raise UsageError(f"only {known} can be written as a list of layers, not {network}")
    by_class = module.num_classes is not None
    if by_class and module.conditioning != "embedding":
        raise UsageError(
            f"only --g-conditioning embedding can be written as a list of layers, not "
            f"{module.conditioning}"
        )
    if module.norm not in NORMS:
        raise UsageError(
            f"only --g-norm {' and '.join(NORMS)} can be written as a list of layers, not "
            f"{module.norm}"
        )
    layers = LISTED[network](module)
    if by_class:
        layers.insert(0, {"op": "append_class", "table": "params.Embed_0.embedding"})
    if generator.units is not None:
        layers.append({"op": "scale", "deviation": "units.deviation", "mean": "units.mean"})
    return layers


def _mlp(module) -> list[dict]:
    layers = []
    for i in range(len(module.features)):
        layers += [_dense(i, has_bias(module.norm)), *_hidden(i, module.norm)]
    layers += [_dense(len(module.features)), *_output(module)]
    return [*layers, {"op": "reshape", "shape": list(module.shape)}]


def _dcgan(module) -> list[dict]:
    count, size = count_halvings(module.shape, "dcgan")
    channels = module.width * 2 ** (count - 1)
    layers = [_dense(0, has_bias(module.norm)), {"op": "reshape", "shape": [*size, channels]}]
    for i in range(count):
        last = i == count - 1
        bias = f"params.ConvTranspose_{i}.bias" if last or has_bias(module.norm) else None
        kernel = f"params.ConvTranspose_{i}.kernel"
        layers += _hidden(i, module.norm)
        layers.append({"op": "conv_transpose", "kernel": kernel, "bias": bias})
    return [*layers, *_output(module)]


LISTED = {"mlp": _mlp, "dcgan": _dcgan}
"""The networks that can be written as a list of layers."""


def _dense(i: int, bias: bool = True) -> dict:
    name = f"params.Dense_{i}"
    return {"op": "dense", "kernel": f"{name}.kernel", "bias": f"{name}.bias" if bias else None}


def _hidden(i: int, norm: str) -> list[dict]:
    """Returns what follows a hidden layer: its norm, if any, and ReLU."""
    if norm == "none":
        return [{"op": "relu"}]
    params, stats = f"params.BatchNorm_{i}", f"batch_stats.BatchNorm_{i}"
    names = {"scale": f"{params}.scale", "offset": f"{params}.bias"}
    names |= {"mean": f"{stats}.mean", "var": f"{stats}.var"}
    return [{"op": "batch_norm", **names, "epsilon": EPSILON}, {"op": "relu"}]


def _output(module) -> list[dict]:
    return [] if module.output is identity else [{"op": "tanh"}]
