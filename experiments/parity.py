"""Do the networks compute the values of other authors' implementations in PyTorch?

    pip install torch mmengine mmcv-lite scipy
    pip install --no-deps torch-mimicry==0.1.16 mmagic==1.2.0
    python -m experiments.parity

Answer: yes, to rounding or to where a constant is added, in outputs and in gradients with respect to
inputs and to every parameter, and with as many parameters. Both sides get the same random parameters,
statistics, vectors of singular values and noise, and compute in float64. The table has the largest
difference, relative to the largest absolute value, of outputs (in inference, and where it differs in
training) and of the gradients of a random linear function of the outputs.

The references are torch-mimicry and mmagic. The latter's StyleGAN2 reads the weights of the authors,
and its augmentations are NVIDIA's file. Only needed files are imported, and what mmcv computes on
GPUs is replaced by a few lines. Changed in the references, because they depart from the authors:

- torch-mimicry: upsampling is to the nearest neighbor instead of bilinear, and ReLU does not overwrite
  the inputs of shortcuts. The discriminator's attention is after the first block, not the second, as in
  StudioGAN.
- mmagic's BigGAN has the channels and places of attention of StudioGAN, and PyTorch's spectral norm:
  in its own, the singular value is a constant for the gradients of weights.
- mmagic's StyleGAN2 normalizes latents with an epsilon of 1e-8, as NVIDIA does.

Remaining differences: of StyleGAN2's generator and path lengths, where 1e-8 and 1e-12 are added under
roots; without these constants on both sides, at most 1e-14. Of ADA, random numbers and filters in
float32, and a few pixels at borders of images that it shrinks, for which NVIDIA reflects too few
pixels. It takes six minutes of one core.

| family | what | parameters | parameters there | reference | outputs | gradients |
| --- | --- | --- | --- | --- | --- | --- |
| SAGAN, 32 pixels | generator | 73,540 | 73,540 | torch-mimicry | 2e-12 | 8e-11 |
| SAGAN, 32 pixels | discriminator | 17,442 | 17,442 | torch-mimicry | 2e-12 | 7e-12 |
| BigGAN, 32 pixels | generator | 115,652 | 115,652 | mmagic | 2e-12 | 5e-12 |
| BigGAN, 32 pixels | discriminator | 17,442 | 17,442 | mmagic | 2e-12 | 6e-12 |
| BigGAN, 64 pixels | generator | 267,364 | 267,364 | mmagic | 4e-12 | 9e-12 |
| BigGAN, 64 pixels | discriminator | 307,050 | 307,050 | mmagic | 2e-11 | 4e-11 |
| StyleGAN2, 32 pixels | generator | 21,523,475 | 21,523,475 | mmagic | 8e-09 | 1e-07 |
| StyleGAN2, 32 pixels | discriminator | 21,507,073 | 21,507,073 | mmagic | 7e-15 | 7e-15 |
| StyleGAN2, 8 pixels | path lengths | 10,505,225 | 10,505,225 | mmagic | 6e-08 | 1e-06 |
| StyleGAN2, 8 pixels | R1 | 11,543,553 | 11,543,553 | mmagic | 1e-15 | 3e-14 |
| ADA | geometry of 3 channels |  |  | NVIDIA's, in mmagic | 1e-06 | 2e-06 |
| ADA | colors of 3 channels |  |  | NVIDIA's, in mmagic | 5e-08 | 5e-08 |
| ADA | colors of 1 channel |  |  | NVIDIA's, in mmagic | 7e-08 | 7e-08 |
"""

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from experiments.record import Table
from experiments.references import (
    KEY,
    Check,
    check_network,
    compare,
    draw,
    prepare_references,
    to_torch,
)
from jaxgan import ada, lazy, losses
from jaxgan.networks import stylegan2_layers
from jaxgan.networks.biggan import biggan
from jaxgan.networks.options import NetworkOptions
from jaxgan.networks.sagan import sagan
from jaxgan.networks.stylegan2 import stylegan2

CLASSES, COUNT = 5, 8
LABELS = np.arange(COUNT) % CLASSES
EDITORS = "mmagic.models.editors"
STYLES = 512
"""Channels of StyleGAN2, which mmagic fixes for up to 32 pixels."""
BLOCK = "Conv_0 {0}1{1}, Conv_1 {0}2{1}, Conv_2 {2}{1}"
ATTENTION = "Conv_0 theta{0}, Conv_1 phi{0}, Conv_2 g{0}, Conv_3 o{0}, gain gamma"
LINEAR = "Linear_{0} {1}.linear, Linear_{0}/bias {1}.bias"
CONV = "EqualizedConv_{0} {1}.conv, EqualizedConv_{0}/bias {2}.bias"
AUGMENTATIONS = {
    "geometry": "xflip rotate90 xint scale rotate aniso xfrac".split(),
    "colors": "brightness contrast lumaflip hue saturation".split(),
}
"""NVIDIA's names of the elementary augmentations."""


def main() -> None:
    """Prints the table."""
    warnings.simplefilter("ignore")
    prepare_references()
    rows = []
    for checks in (
        *(check_sagan(), check_biggan(32, 8), check_biggan(64, 8)),
        *(check_stylegan2(32), check_regularizers(8), check_ada()),
    ):
        rows += map(compare, checks)
    titles = ["family", "what", "parameters", "parameters there", "reference"]
    print(Table([*titles, "outputs", "gradients"], rows).to_markdown())


def under(own: str, other: str, names: str) -> dict[str, str]:
    """Returns names by path, of what is in a block: `"own other, own other"`."""
    pairs = (each.split() for each in names.split(", "))
    return {f"{own}/{path}": f"{other}.{name}" for path, name in pairs}


def check_sagan() -> Iterator[Check]:
    """Yields the checks of SAGAN. Three things of torch-mimicry are replaced, see above."""
    networks = import_module("torch_mimicry.nets.sagan.sagan_32")
    g, d = sagan((32, 32, 3), True, 16, CLASSES, NetworkOptions(g_conditioning="norm"))
    other_g = networks.SAGANGenerator32(CLASSES, nz=20, ngf=32)
    other_d = networks.SAGANDiscriminator32(CLASSES, ndf=16)
    for block in (other_g.block2, other_g.block3, other_g.block4):
        block._upsample_conv = lambda x, conv: conv(functional.interpolate(x, scale_factor=2))
    other_d.block1 = nn.Sequential(other_d.block1, other_d.attn_block)
    other_d.attn_block = nn.Identity()
    for layer in other_d.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    layers = BLOCK.format("c", "", "c_sc")
    norms = "BatchNorm_0 b1.bn, Embed_0 b1.embed, Embed_1 b1.embed, "
    norms += "BatchNorm_1 b2.bn, Embed_2 b2.embed, Embed_3 b2.embed"
    names = {"Dense_0": "l1", "BatchNorm_0": "b5", "Conv_0": "c5"}
    for i in range(3):
        names |= under(f"GeneratorBlock_{i}", f"block{i + 2}", f"{layers}, {norms}")
    names |= under("SelfAttention_0", "attn_block", ATTENTION.format(""))
    more = {"module": other_g, "names": names, "pixels": ("Dense_0", 1), "trains": True}
    title = ("SAGAN, 32 pixels", "generator", "torch-mimicry")
    yield check_network(title, g, draw(COUNT, 20), LABELS, **more)
    names = {"Dense_0": "l5", "Embed_0": "l_y"}
    for i, place in enumerate(("block1.0", "block2", "block3", "block4")):
        names |= under(f"DiscriminatorBlock_{i}", place, layers)
    names |= under("SelfAttention_0", "block1.1", ATTENTION.format(""))
    title = (title[0], "discriminator", title[2])
    more = {"module": other_d, "names": names, "trains": True}
    yield check_network(title, d, draw(COUNT, 32, 32, 3), LABELS, **more)


def check_biggan(size: int, width: int) -> Iterator[Check]:
    """Yields the checks of BigGAN, whose channels and places of attention mmagic is given."""
    g, d = biggan((size, size, 3), True, width, CLASSES)
    count, blocks = len(g.widths) - 1, len(d.widths)
    latents, layers = 5 * (count + 1), BLOCK.format("conv", ".conv", "shortcut")
    norms = "BatchNorm_0 bn1.bn, Dense_0 bn1.gain, Dense_1 bn1.bias, "
    norms += "BatchNorm_1 bn2.bn, Dense_2 bn2.gain, Dense_3 bn2.bias"
    arch = {"in_channels": g.widths[:-1], "out_channels": g.widths[1:], "upsample": [True] * count}
    arch["attention"] = [i == count - 2 for i in range(count)]
    build = import_module(f"{EDITORS}.biggan.biggan_generator").BigGANGenerator
    other = build(size, latents, CLASSES, arch_cfg=arch, sn_style="torch")
    names = {"Dense_0": "noise2feat", "Embed_0": "shared_embedding"}
    names |= {"BatchNorm_0": "output_layer.bn", "Conv_0": "output_layer.conv"}
    for i in range(count):
        place = f"conv_blocks.{i + (i == count - 1)}"
        names |= under(f"GeneratorBlock_{i}", place, f"{layers}, {norms}")
    names |= under("SelfAttention_0", f"conv_blocks.{count - 1}", ATTENTION.format(".conv"))
    more = {"module": other, "names": names, "pixels": ("Dense_0", 1), "trains": True}
    title = (f"BigGAN, {size} pixels", "generator", "mmagic")
    yield check_network(title, g, draw(COUNT, latents), LABELS, **more)
    arch = {"in_channels": (3, *d.widths[:-1]), "out_channels": d.widths}
    arch["downsample"] = [i < d.halvings for i in range(blocks)]
    arch["attention"] = [i == 0 for i in range(blocks)]
    build = import_module(f"{EDITORS}.biggan.biggan_discriminator").BigGANDiscriminator
    other = build(size, CLASSES, arch_cfg=arch, sn_style="torch")
    names = {"Dense_0": "decision", "Embed_0": "proj_y"}
    for i in range(blocks):
        names |= under(f"DiscriminatorBlock_{i}", f"conv_blocks.{i + (i > 0)}", layers)
    names |= under("SelfAttention_0", "conv_blocks.1", ATTENTION.format(".conv"))
    more = {"module": other, "names": names, "trains": True}
    title = (title[0], "discriminator", title[2])
    yield check_network(title, d, draw(COUNT, size, size, 3), LABELS, **more)


def make_stylegan2(size: int) -> tuple[tuple[Any, dict], tuple[Any, dict]]:
    """Returns StyleGAN2's networks, each with fields of its check."""
    g, d = stylegan2((size, size, 3))
    folder = f"{EDITORS}.stylegan2.stylegan2"
    other_g = import_module(f"{folder}_generator").StyleGAN2Generator(size, STYLES, norm_eps=1e-8)
    other_d = import_module(f"{folder}_discriminator").StyleGAN2Discriminator(size)
    style = LINEAR.format(0, "conv.style_modulation")
    conv = f"kernel conv.weight, {style}, bias activate.bias, noise_strength noise_injector.weight"
    g_names, d_names = {"synthesis/start": "constant_input.input"}, {}
    for i in range(g.mapping_layers):
        g_names |= under("mapping", "style_mapping", LINEAR.format(i, i + 1))
    for i in range(2 * len(g.widths) - 1):
        own = f"synthesis/StyleConv_{i}"
        g_names |= under(own, f"convs.{i - 1}" if i else "conv1", conv)
        g_names[f"{own}/image"] = f"injected_noise_{i}"
    for i in range(len(g.widths)):
        place = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        names = f"kernel conv.weight, {style}, bias bias"
        g_names |= under(f"synthesis/ToImage_{i}", place, names)
    for i, place in enumerate(("convs.0", "final_conv")):
        d_names |= under(f"EqualizedConv_{i}", place, "kernel 0.conv.weight, bias 1.bias")
        d_names |= {f"Linear_{i}": f"final_linear.{i}.linear"}
        d_names |= {f"Linear_{i}/bias": f"final_linear.{i}.bias"}
    layers = f"{CONV.format(1, 'conv1.0', 'conv1.1')}, {CONV.format(2, 'conv2.1', 'conv2.2')}"
    for i in range(len(d.widths) - 1):
        names = f"EqualizedConv_0 skip.1.conv, {layers}"
        d_names |= under(f"DiscriminatorBlock_{i}", f"convs.{i + 1}", names)
    of_d = {"module": other_d, "names": d_names, "pixels": ("Linear_0", 0)}
    return (g, {"module": other_g, "names": g_names}), (d, of_d)


def check_stylegan2(size: int) -> Iterator[Check]:
    """Yields the checks of StyleGAN2, with noise that does not change."""
    (g, of_g), (d, of_d) = make_stylegan2(size)
    title = f"StyleGAN2, {size} pixels"
    of_g["other"] = lambda module, latents: module(latents, randomize_noise=False)
    yield check_network((title, "generator", "mmagic"), g, draw(COUNT, STYLES), **of_g)
    images = draw(COUNT, size, size, 3)
    yield check_network((title, "discriminator", "mmagic"), d, images, **of_d)


def check_regularizers(size: int) -> Iterator[Check]:
    """Yields the checks of the path lengths, without noise between layers, and of R1."""
    (g, of_g), (d, of_d) = make_stylegan2(size)
    there = import_module("mmagic.models.losses.gan_loss")
    noise = jax.random.normal(jax.random.split(KEY)[0], (COUNT, size, size, 3))

    def path_lengths(variables: dict, latents: jax.Array) -> jax.Array:
        zeros = lambda draw, key, shape: jnp.zeros(shape)
        with mock.patch.object(stylegan2_layers, "draw_rows", zeros):
            unmixed = g.clone(style_mixing=0.0)
            return lazy.measure_path_lengths(unmixed, variables, KEY, latents, None)

    def other_path_lengths(module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        run = lambda *_, **__: module(latents, return_latents=True, add_noise=False)
        with mock.patch("torch.randn_like", return_value=to_torch(noise)):
            return there.gen_path_regularizer(run, COUNT, torch.zeros(()))[2]

    def r1(variables: dict, images: jax.Array) -> jax.Array:
        inputs = losses.LossInputs(images, images, KEY, 0)
        critic = lambda key, images: d.apply(variables, images)
        return losses.r1(losses.no_loss(), gamma=1.0).discriminator(critic, inputs)[0]

    penalty = there.r1_gradient_penalty_loss
    other_r1 = lambda module, images: penalty(module, images, norm_mode="HWC") / 2
    of_g |= {"own": path_lengths, "other": other_path_lengths}
    title = f"StyleGAN2, {size} pixels"
    yield check_network((title, "path lengths", "mmagic"), g, draw(COUNT, STYLES), **of_g)
    of_d |= {"own": r1, "other": other_r1}
    yield check_network((title, "R1", "mmagic"), d, draw(COUNT, size, size, 3), **of_d)


class Recorder(ada.Draws):
    """Draws whose random numbers are kept, as the ones in [0, 1) or from N(0, 1) they come from."""

    drawn: list[np.ndarray] = []  # noqa: RUF012

    def draw(self, how: Callable, **settings) -> jax.Array:
        """Returns random numbers, as `ada.Draws` does."""
        values = super().draw(how, **settings)
        low, high = settings.get("minval", 0), settings.get("maxval", 1)
        whole = 0.5 * (how is jax.random.randint)
        self.drawn.append(np.asarray((values + whole - low) / (high - low), np.float64))
        return values


def check_ada() -> Iterator[Check]:
    """Yields the checks of ADA's augmentations, each with probability 1/2, for the same draws."""
    build = import_module(f"{EDITORS}.stylegan2.ada.augment").AugmentPipe
    for kind, channels in (("geometry", 3), ("colors", 3), ("colors", 1)):
        images = draw(COUNT, 32, 32, channels)
        with mock.patch.multiple(Recorder, drawn=[]), mock.patch.object(ada, "Draws", Recorder):
            getattr(ada, kind)(KEY, images, 0.5)
            drawn = Recorder.drawn
        own = lambda _, images, kind=kind: getattr(ada, kind)(KEY, images, 0.5)
        augment = build(**dict.fromkeys(AUGMENTATIONS[kind], 1))
        augment.p.fill_(0.5)

        def other(_, images, drawn=drawn, augment=augment):
            numbers = iter(drawn)

            def take(shape, device=None):
                count = int(np.prod(shape)) // COUNT
                values = np.stack([next(numbers) for _ in range(count)], axis=1)
                return torch.tensor(values).reshape(shape)

            with mock.patch.multiple("torch", rand=take, randn=take):
                return augment(images)

        title = (
            "ADA",
            f"{kind} of {channels} channel{'s' * (channels > 1)}",
            "NVIDIA's, in mmagic",
        )
        yield Check(title, (images,), own, other)


if __name__ == "__main__":
    main()
