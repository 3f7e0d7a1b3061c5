"""The same exercises in PyTorch, as fast as its ordinary means allow, for `speed.py` to compare.

Data in memory, channels last, fused Adam, no average of the generator, no gradients that nobody
needs; eager or through `torch.compile`, in float32 or under bfloat16 autocast.
"""

import functools
import os
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

EXAMPLES = 2_000
LATENTS = 100
SLOPE = 0.2

cross_entropy = functional.binary_cross_entropy_with_logits


def loops(
    network: str, shape: tuple[int, ...], batch_size: int, steps: int, precision: str = "float32"
) -> dict[str, Callable[[], None]]:
    """Returns functions that train for `steps` steps and wait, eager and compiled.

    shape: of an image, `(h, w, c)`. precision: float32 or bfloat16.
    """
    torch.set_num_threads(os.cpu_count())
    torch.set_float32_matmul_precision("high")  # As JAX's default on a GPU.
    torch.backends.cudnn.benchmark = True
    arguments = (network, shape, batch_size, steps, precision)
    return {
        "pytorch eager": _exercise(*arguments, compiled=False),
        "pytorch compiled": _exercise(*arguments, compiled=True),
    }


def _exercise(network, shape, batch_size, steps, precision, compiled) -> Callable[[], None]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    height, width, channels = shape
    last = {"memory_format": torch.channels_last}
    players = [player.to(device) for player in NETWORKS[network](height, channels)]
    g, d = players if network == "mlp" else [player.to(**last) for player in players]
    g_adam, d_adam = (
        torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999), fused=True) for player in (g, d)
    )
    images = torch.rand(EXAMPLES, channels, height, width, device=device) * 2 - 1
    images = images.contiguous(**last)
    ones, zeros = (make(batch_size, 1, device=device) for make in (torch.ones, torch.zeros))

    def d_loss(real, fake):
        if network == "resnet":
            return functional.relu(1 - d(real)).mean() + functional.relu(1 + d(fake)).mean()
        if network == "r3gan":
            return _r3gan_loss(d, real, fake)
        return cross_entropy(d(real), ones) + cross_entropy(d(fake), zeros)

    def g_loss(real, fake):
        if network == "resnet":
            return -d(fake).mean()
        if network == "r3gan":
            return functional.softplus(d(real) - d(fake)).mean()
        return cross_entropy(d(fake), ones)

    forward = g
    compile = functools.partial(
        torch.compile, mode="reduce-overhead" if device == "cuda" else "default"
    )
    if compiled:
        # What is differentiated twice cannot be compiled: there only the networks are.
        if network == "r3gan":
            forward, g_loss = compile(g), compile(g_loss)
        else:
            forward, d_loss, g_loss = map(compile, (g, d_loss, g_loss))
    low = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")

    def go():
        for indices in torch.randint(EXAMPLES, (steps, batch_size), device=device):
            real = images[indices]
            torch.compiler.cudagraph_mark_step_begin()
            with low:
                # The next compiled function overwrites what a graph of CUDA returned.
                fake = forward(torch.randn(batch_size, LATENTS, device=device)).clone()
                loss = d_loss(real, fake.detach())
            d_adam.zero_grad()
            loss.backward()
            d_adam.step()
            g_adam.zero_grad()
            d.requires_grad_(False)
            with low:
                loss = g_loss(real, fake)
            loss.backward()
            d.requires_grad_(True)
            g_adam.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return go


def _r3gan_loss(d: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    real, fake = (images.detach().requires_grad_() for images in (real, fake))
    real_logits, fake_logits = d(real), d(fake)
    loss = functional.softplus(fake_logits - real_logits).mean()
    for images, logits in ((real, real_logits), (fake, fake_logits)):
        (grads,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        loss = loss + 0.5 * grads.square().sum((1, 2, 3)).mean()
    return loss


def mlp(size: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """Returns the classic exercise's pair."""
    pixels = size * size * channels
    return (
        nn.Sequential(
            *(nn.Linear(LATENTS, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU()),
            *(nn.Linear(512, pixels), nn.Tanh(), nn.Unflatten(1, (channels, size, size))),
        ),
        nn.Sequential(
            *(nn.Flatten(), nn.Linear(pixels, 512), nn.LeakyReLU(SLOPE)),
            *(nn.Linear(512, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, 1)),
        ),
    )


def dcgan(size: int, channels: int, width: int = 64) -> tuple[nn.Module, nn.Module]:
    """Returns the DCGAN of 28 x 28 pixels."""
    base, inner = size // 4, 2 * width
    generator = nn.Sequential(
        nn.Linear(LATENTS, base * base * inner, bias=False),
        *(nn.Unflatten(1, (inner, base, base)), nn.BatchNorm2d(inner), nn.ReLU()),
        nn.ConvTranspose2d(inner, width, 4, 2, 1, bias=False),
        *(nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)),
        nn.Conv2d(width, inner, 4, 2, 1, bias=False),
        *(nn.BatchNorm2d(inner), nn.LeakyReLU(SLOPE)),
        *(nn.Flatten(), nn.Linear(inner * base * base, 1)),
    )
    return generator, discriminator


def resnet(size: int, channels: int, width: int = 128) -> tuple[nn.Module, nn.Module]:
    """Returns SNGAN's pair for 32 x 32 pixels."""
    return _ResNetGenerator(size, channels, 2 * width), _ResNetDiscriminator(channels, width)


def _conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


class _GeneratorBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.convs = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.shortcut = _conv(width, width, 1)

    def forward(self, x):
        main = self.convs[0](_doubled(torch.relu(self.norms[0](x))))
        main = self.convs[1](torch.relu(self.norms[1](main)))
        return main + _doubled(self.shortcut(x))


class _ResNetGenerator(nn.Module):
    def __init__(self, size: int, channels: int, width: int):
        super().__init__()
        count = (size // 4).bit_length() - 1
        self.base = (width, size >> count, size >> count)
        self.stem = nn.Linear(LATENTS, self.base[0] * self.base[1] * self.base[2])
        self.blocks = nn.Sequential(*(_GeneratorBlock(width) for _ in range(count)))
        self.norm, self.last = nn.BatchNorm2d(width), _conv(width, channels)

    def forward(self, latents):
        x = self.stem(latents).unflatten(1, self.base)
        x = self.blocks(x.contiguous(memory_format=torch.channels_last))
        return torch.tanh(self.last(torch.relu(self.norm(x))))


class _DiscriminatorBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool = False):
        super().__init__()
        self.halve, self.first = halve, first
        self.convs = nn.ModuleList(
            spectral_norm(_conv(channels, outputs)) for channels in (inputs, outputs)
        )
        self.shortcut = spectral_norm(_conv(inputs, outputs, 1)) if halve else nn.Identity()

    def forward(self, x):
        downsample = (lambda x: functional.avg_pool2d(x, 2)) if self.halve else (lambda x: x)
        main = self.convs[0](x if self.first else torch.relu(x))
        main = downsample(self.convs[1](torch.relu(main)))
        return main + self.shortcut(downsample(x))


class _ResNetDiscriminator(nn.Module):
    def __init__(self, channels: int, width: int):
        super().__init__()
        self.blocks = nn.Sequential(
            _DiscriminatorBlock(channels, width, True, first=True),
            _DiscriminatorBlock(width, width, True),
            _DiscriminatorBlock(width, width, False),
            _DiscriminatorBlock(width, width, False),
        )
        self.head = spectral_norm(nn.Linear(width, 1))

    def forward(self, images):
        return self.head(torch.relu(self.blocks(images)).sum((2, 3)))


def r3gan(size: int, channels: int, width: int = 256) -> tuple[nn.Module, nn.Module]:
    """Returns R3GAN's pair; its resampling is PyTorch's bilinear one, of the same cost."""
    count = (size // 4).bit_length() - 1
    base = size >> count
    stage = lambda: (_R3Block(width), _R3Block(width))
    down, up = (nn.Upsample(scale_factor=by, mode="bilinear") for by in (0.5, 2))
    generator = nn.Sequential(
        *(nn.Linear(LATENTS, width * base * base), nn.Unflatten(1, (width, base, base))),
        *(*stage(), *(layer for _ in range(count) for layer in (up, *stage()))),
        nn.Conv2d(width, channels, 1),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(channels, width, 1), *stage()),
        *(layer for _ in range(count) for layer in (down, *stage())),
        *(nn.Conv2d(width, width, base, groups=width), nn.Flatten(), nn.Linear(width, 1)),
    )
    return generator, discriminator


class _R3Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(width, 2 * width, 1), nn.LeakyReLU(SLOPE)),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width // 16),
            *(nn.LeakyReLU(SLOPE), nn.Conv2d(2 * width, width, 1, bias=False)),
        )
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, x):
        return x + self.layers(x)


NETWORKS = {"mlp": mlp, "dcgan": dcgan, "resnet": resnet, "r3gan": r3gan}
