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
    """

    g_norm: str | None = None
    d_norm: str | None = None
    g_conditioning: str = "embedding"
    heads: Heads = Heads()
    widths: tuple[int, ...] = ()


DEFAULTS = NetworkOptions()


def refuse_widths(options: NetworkOptions, network: str) -> None:
    """Raises `UsageError` for widths at each size, which only some families have."""
    if options.widths:
        raise UsageError(f"--widths is for --network r3gan: choose a --width of {network}")
