"""Recipes: what they set, what they build, and their losses against NumPy."""

import dataclasses
from types import SimpleNamespace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_one_line, read_json, read_metrics, run_command, small

from jaxgan import train
from jaxgan.command import parse_arguments
from jaxgan.data import from_arrays
from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.losses import HeadOutputs, LossInputs
from jaxgan.runs import build, build_loss, build_optimizers
from jaxgan.runs.config import GROUPS, Config, RecipeName, check_config
from jaxgan.runs.published import RECIPES
from jaxgan.runs.recipes import choose_defaults, flags_of, make_config
from jaxgan.trees import leaves_by_path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rough_code")]
KEY = jax.random.key(0)
NETWORK_SETTINGS = {"width": 8, "batch_size": 8, "dataset": "digits", "image_size": None}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    return from_arrays(rng.integers(0, 256, (60, 8, 8, 1), np.uint8), rng.integers(0, 3, 60))


def test_only_mnist_sets_the_number_of_steps():
    changed = [name for name, each in RECIPES.items() if each.config.steps != Config.steps]
    assert changed == ["mnist"]
    assert make_config("mnist").steps == make_config("mnist").decay_steps


def test_names_are_those_of_the_flag():
    assert list(RECIPES) == list(get_args(RecipeName))
    assert [recipe.config.recipe for recipe in RECIPES.values()] == list(RECIPES)
    assert all(recipe.paper for recipe in RECIPES.values())
    assert dataclasses.replace(RECIPES["classic"].config, recipe=None) == Config()


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_build_their_own_networks(name, dataset):
    """At full width, without computing anything."""
    config = dataclasses.replace(RECIPES[name].config, batch_size=8)
    check_config(config)
    state = jax.eval_shape(build.build_gan(config, dataset).init, KEY)
    assert (state.loss == ()) == (name != "lecam")
    assert (state.ema is None) == (config.ema_half_life == 0)


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("r3gan_")])
def test_recipes_take_three_steps(name, dataset):
    """With an mlp in the place of networks that take long to compile."""
    config = dataclasses.replace(RECIPES[name].config, **NETWORK_SETTINGS)
    if config.network in ("resnet", "sagan", "biggan", "r3gan"):
        norm = "batch" if config.g_conditioning == "norm" else config.g_norm
        config = dataclasses.replace(config, network="mlp", g_norm=norm)
    model = build.build_gan(config, dataset)
    state, step = jax.jit(model.init)(KEY), jax.jit(model.step)
    before = state
    for t in range(3):
        state, metrics = step(
            KEY, state, dataset.batch(KEY, t, build_optimizers.images_per_step(config))
        )
        assert np.isfinite(metrics).all()
    for player in ("generator", "discriminator"):
        old, new = (leaves_by_path(getattr(each, player).params) for each in (before, state))
        assert any(not np.array_equal(old[path], new[path]) for path in old), player
    assert int(state.step) == 3


def count_parameters(config, num_classes=10) -> tuple[int, int]:
    shape = SimpleNamespace(shape=(32, 32, 3), bounded=True, num_classes=num_classes)
    networks = build.build_networks(config, shape)
    classes = num_classes if config.conditional else None
    model = gan(*networks, latent_size=config.latent_size, num_classes=classes)
    state = jax.eval_shape(model.init, KEY)
    sizes = lambda player: sum(leaf.size for leaf in jax.tree.leaves(player.params))
    return sizes(state.generator), sizes(state.discriminator)


@pytest.mark.parametrize(
    ("name", "g_count", "d_count"),
    [
        # Layer by layer, of mimicry's networks.
        ("sngan", 4_276_739, 1_053_825),
        ("wgan_gp", 4_276_739, 1_053_825),
        ("cgan", 4_304_387, 1_055_105),
        ("ssgan", 4_276_739, 1_054_341),
        ("sagan", 4_386_308, 1_075_586),
        # Huang et al. 2024, appendix D: 20.78, 21.28, 20.73 and 20.68 million.
        ("r3gan", 20_781_952, 21_280_512),
        ("r3gan_stacked_mnist", 20_732_160, 20_683_776),
    ],
)
def test_parameter_counts_are_those_of_the_references(name, g_count, d_count):
    assert count_parameters(RECIPES[name].config) == (g_count, d_count)


softplus = lambda x: np.logaddexp(0, x)
relu = lambda x: np.maximum(x, 0)
cross_entropy = lambda real, fake: (softplus(-real) + softplus(fake)).mean()
hinge = lambda real, fake: (relu(1 - real) + relu(1 + fake)).mean()
SLOPE = np.linspace(-0.6, 0.9, 16)
NORM = np.linalg.norm(SLOPE)
AVERAGES = np.zeros(2)
BASES = {
    "lsgan": (
        lambda real, fake: ((real - 1) ** 2 + fake**2).mean() / 2,
        lambda real, fake: ((fake - 1) ** 2).mean() / 2,
    ),
    "wgan": (lambda real, fake: (fake - real).mean(), lambda real, fake: -fake.mean()),
    "wgan_gp": (
        lambda real, fake: (fake - real).mean() + 10 * (NORM - 1) ** 2,
        lambda real, fake: -fake.mean(),
    ),
    "dragan": (
        lambda real, fake: cross_entropy(real, fake) + 10 * (NORM - 1) ** 2,
        lambda real, fake: softplus(-fake).mean(),
    ),
    "ragan": (
        lambda real, fake: cross_entropy(real - fake.mean(), fake - real.mean()),
        lambda real, fake: cross_entropy(fake - real.mean(), real - fake.mean()),
    ),
    "r3gan": (
        lambda real, fake: softplus(fake - real).mean() + 2 * 0.05 / 2 * NORM**2,
        lambda real, fake: softplus(real - fake).mean(),
    ),
    "r3gan_stacked_mnist": (
        lambda real, fake: softplus(fake - real).mean() + 2 * 1.0 / 2 * NORM**2,
        lambda real, fake: softplus(real - fake).mean(),
    ),
    "mnist_mlp": (
        lambda real, fake: softplus(fake - real).mean() + 2 * 0.05 / 2 * NORM**2,
        lambda real, fake: softplus(real - fake).mean(),
    ),
    **dict.fromkeys(
        ("classic", "dcgan", "acgan", "stylegan2", "stylegan2_ada"),
        (cross_entropy, lambda real, fake: softplus(-fake).mean()),
    ),
    **dict.fromkeys(
        (
            "sngan",
            "cgan",
            "sagan",
            "biggan",
            "reacgan",
            "ssgan",
            "crgan",
            "icrgan",
            "lecam",
            "diffaugment",
            "san",
            "mnist",
        ),
        (hinge, lambda real, fake: -fake.mean()),
    ),
}
"""The losses of both players, of a linear critic."""


def normalized(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def classify(logits, labels):
    """Returns the mean cross-entropy of logits."""
    shifted = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -shifted[np.arange(len(labels)), labels].mean()


def data_to_data(found, labels):
    """ReACGAN, Kang et al. 2021, image by image."""
    e, p, m, t = normalized(found.embeddings), normalized(found.proxies), 0.98, 0.5
    costs = []
    for i, label in enumerate(labels):
        own = np.exp(min(e[i] @ p[i] - m, 0) / t)
        others = sum(
            np.exp(max(e[i] @ e[j] + m - 1, 0) / t) for j in range(len(e)) if labels[j] != label
        )
        costs.append(-np.log(own / (own + others)))
    return np.mean(costs)


class Recorder:
    """A linear critic with several heads, which records its calls."""

    def __init__(self, heads: bool):
        self.heads, self.calls = heads, []

    def __call__(self, key, images):
        flat = images.reshape(len(images), -1)
        logits = flat @ jnp.asarray(SLOPE, jnp.float32)
        outputs = logits
        if self.heads:
            outputs = HeadOutputs(
                logits=logits,
                directions=3 * logits,
                classes=flat[:, :3],
                embeddings=flat[:, :5],
                proxies=flat[:, 5:10],
                rotations=flat[:, 3:7],
            )
        if not isinstance(images, jax.core.Tracer):
            to_numpy = lambda leaf: np.asarray(leaf, np.float64)
            self.calls.append((images, jax.tree.map(to_numpy, outputs)))
        return outputs

    def of(self, images):
        """Returns the outputs for images, which are recognized by identity."""
        return next(outputs for seen, outputs in self.calls if seen is images)

    def others(self, *known):
        """Returns the outputs of all calls with other images."""
        return [outputs for seen, outputs in self.calls if not any(seen is each for each in known)]


@pytest.mark.parametrize("name", RECIPES)
def test_losses_of_recipes_match_numpy(name):
    config = dataclasses.replace(RECIPES[name].config, lecam_start=0)
    loss = build_loss.build_loss(config, config)
    heads = name in ("acgan", "reacgan", "ssgan", "san", "mnist")
    real, fake, near = jax.random.normal(KEY, (3, 8, 4, 4, 1))
    labels = jnp.array([0, 0, 0, 1, 1, 2, 2, 2])
    inputs = LossInputs(real, fake, KEY, 0, labels, near, loss.init())
    d_critic, g_critic = Recorder(heads), Recorder(heads)
    d_value, logits = loss.discriminator(d_critic, inputs)
    g_value = loss.generator(g_critic, inputs)
    flat = lambda images: np.asarray(images, np.float64).reshape(8, -1)
    exact = [flat(images) @ SLOPE for images in (real, fake)]
    np.testing.assert_allclose(logits, exact, rtol=1e-4, atol=1e-5)
    d_expected, g_expected = (formula(*exact) for formula in BASES[name])
    square = lambda a, b: ((a - b) ** 2).mean()
    if name in ("crgan", "icrgan"):
        changed = d_critic.others(real, fake, near)
        d_expected += 10 * square(changed[-1], exact[0])
        assert square(changed[-1], exact[0]) > 0.01
    if name == "icrgan":
        d_expected += 10 * square(changed[0], exact[1]) + 20 * square(flat(near) @ SLOPE, exact[1])
        g_expected -= 0.5 * square(flat(fake), flat(near))
    if name == "lecam":  # In the first step, the averages are those of the batch.
        d_expected += 0.3 * (relu(exact[0] - exact[1].mean()) ** 2).mean()
        d_expected += 0.3 * (relu(exact[0].mean() - exact[1]) ** 2).mean()
    if name == "acgan":
        for images in (real, fake):
            d_expected += classify(d_critic.of(images).classes, labels)
        g_expected += classify(g_critic.of(fake).classes, labels)
    if name == "reacgan":
        d_expected += 0.5 * data_to_data(d_critic.of(real), labels)
        g_expected += 0.5 * data_to_data(g_critic.of(fake), labels)
    if name == "ssgan":
        turns = np.arange(8) // 2
        for critic, images, weight in ((d_critic, real, 1.0), (g_critic, fake, 0.2)):
            rotated = next(x for x, _ in critic.calls if x is not real and x is not fake)
            for turn, before, after in zip(turns, images, rotated, strict=True):
                np.testing.assert_array_equal(after, jnp.rot90(before, turn))
            cost = weight * classify(critic.of(rotated).rotations, turns)
            if critic is d_critic:
                d_expected += cost
            else:
                g_expected += cost
    if name in ("san", "mnist"):
        d_expected += 3 * (exact[1].mean() - exact[0].mean())
    np.testing.assert_allclose(d_value, d_expected, rtol=1e-4)
    np.testing.assert_allclose(g_value, g_expected, rtol=1e-4, atol=1e-5)


def parse(monkeypatch, line: str) -> Config:
    monkeypatch.setattr("sys.argv", ["train", *line.split()])
    return parse_arguments(Config, "train", GROUPS, choose_defaults)


def test_flags_override_a_recipe(monkeypatch):
    line = "--learning-rate 0.001 --recipe wgan --no-fresh-generator-batch"
    found = parse(monkeypatch, line)
    changed = {"learning_rate": 0.001, "fresh_generator_batch": False}
    assert found == dataclasses.replace(RECIPES["wgan"].config, **changed)
    assert found == make_config("wgan", **changed)
    assert parse(monkeypatch, "--recipe=lsgan --recipe mnist") == RECIPES["mnist"].config
    with pytest.raises(UsageError, match="'wgann'.*'wgan'"):
        parse(monkeypatch, "--recipe wgann")
    with pytest.raises(UsageError, match="unknown recipe 'wgann'; known: classic"):
        make_config("wgann")


@pytest.mark.parametrize("name", RECIPES)
def test_flags_of_a_recipe_say_what_it_sets(monkeypatch, name):
    config = RECIPES[name].config
    found = parse(monkeypatch, flags_of(config))
    assert dataclasses.replace(found, recipe=name) == config


def test_recipes_are_listed(monkeypatch, capsys):
    assert run_command(monkeypatch, ["--recipes"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(RECIPES)
    assert max(map(len, lines)) <= 100
    assert "--gradient-penalty 10" in printed


def test_config_holds_the_recipe_and_the_settings(tmp_path, monkeypatch, capsys):
    """The settings decide the run: another name does not make it another run."""
    out = tmp_path / "run"
    flags = "--dataset digits --batch-size 8 --width 8 --steps 20 --network mlp"
    assert run_command(monkeypatch, [*flags.split(), "--recipe", "lsgan", "--out", str(out)]) == 0
    about = read_json(out / "config.json")["config"]
    assert about["recipe"] == "lsgan"
    assert (about["loss"], about["ema_half_life"], about["network"]) == ("least_squares", 0, "mlp")
    same = small(out, latent_size=100, width=8, loss="least_squares", ema_half_life=0.0, steps=30)
    train.main(dataclasses.replace(same, steps_per_call=None))
    assert read_metrics(out)[-1]["step"] == 30
    capsys.readouterr()
    assert run_command(monkeypatch, [*flags.split(), "--recipe", "ragan", "--out", str(out)]) == 2
    assert_one_line(capsys.readouterr().err, "loss is least_squares there")
