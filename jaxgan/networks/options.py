"""The options that all network families share."""

from typing import NamedTuple

from jaxgan.errors import UsageError


class Heads(NamedTuple):
    """The outputs of a discriminator, see `jaxgan.losses.HeadOutputs`.

    conditioning: how a conditional discriminator uses labels: "projection" adds the dot product of
    the features and an embedding of the class to the logits; "auxiliary_classifier" returns logits
    of the classes; "data_to_data_cross_entropy" returns embeddings of the images and proxies of the
    classes.
    rotation: whether to return logits of rotations. slicing: whether the last layer is that of a
    slicing adversarial network.
    """

    conditioning: str = "projection"
    rotation: bool = False
    slicing: bool = False


class NetworkOptions(NamedTuple):
    """Options of a network family; None for the family's own choice.

    g_norm, d_norm: one of `jaxgan.networks.norms.NORMS`.
    g_conditioning: how a conditional generator uses labels: "embedding" appends an embedding of the
    class to the latents; "norm" gives every norm a scale and an offset for each class.
    heads: the outputs of the discriminator.
    widths: the channels at each size, from the smallest, for families that have such widths.
    mapping_layers, style_mixing: of stylegan2, see `jaxgan.networks.stylegan2.Generator`.
    remat: whether to compute the values within blocks again for gradients, which takes less memory,
    for families that have blocks.
    """

    g_norm: str | None = None
    d_norm: str | None = None
    g_conditioning: str = "embedding"
    heads: Heads = Heads()
    widths: tuple[int, ...] = ()
    mapping_layers: int = 8
    style_mixing: float = 0.9
    remat: bool = False


DEFAULTS = NetworkOptions()


def refuse_widths(options: NetworkOptions, network: str) -> None:
    """Raises `UsageError` for widths at each size, which only some families have."""
    if options.widths:
        raise UsageError(
            f"--widths needs --network r3gan or stylegan2: for {network}, give a --width"
        )


def refuse_blocks(options: NetworkOptions, network: str) -> None:
    """Raises `UsageError` for what only families with blocks have."""
    refuse_widths(options, network)
    if options.remat:
        raise UsageError(
            f"--network {network} has no blocks: --remat is for resnet, sagan, biggan, stylegan2 "
            "and r3gan"
        )


def find_widths(shape, options: NetworkOptions, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the channels at each size, from the smallest, of the options or the usual ones.

    Raises `UsageError` for another number of widths than images of the shape have sizes.
    """
    if options.widths and len(options.widths) != len(usual):
        raise UsageError(
            f"--widths needs {len(usual)} numbers for images of {shape[0]} x {shape[1]}, one for "
            f"each size from the smallest, and has {len(options.widths)}"
        )
    return options.widths or usual


def refuse_norms(options: NetworkOptions, network: str) -> None:
    """Raises `UsageError` for a norm, for a family that has none."""
    for flag, norm in (("--g-norm", options.g_norm), ("--d-norm", options.d_norm)):
        if norm not in (None, "none"):
            raise UsageError(f"--network {network} has no norms: leave out {flag} {norm}")
