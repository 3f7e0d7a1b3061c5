"""The training step against an independent implementation in NumPy, in float64."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import gan as core
from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.losses import LOSSES, PENALTIES
from jaxgan.networks.mlp import Discriminator, Generator, mlp
from jaxgan.optimizers import adam
from jaxgan.trees import leaves_by_path, non_finite_leaves

KEY = jax.random.key(7)
SHAPE = (2, 3, 1)
SIZES = {"generator": [4, 5, 6, 6], "discriminator": [6, 7, 5, 1]}


def tiny_gan(**settings):
    generator = Generator(SHAPE, features=(5, 6))
    return gan(generator, Discriminator(features=(7, 5)), latent_size=4, **settings)


def forward(layers, x, slope, output):
    """Returns the output and what the backward pass needs."""
    inputs, pre = [], []
    for i, (weights, bias) in enumerate(layers):
        inputs.append(x)
        x = x @ weights + bias
        pre.append(x)
        if i < len(layers) - 1:
            x = np.where(x > 0, x, slope * x)
    return output(x), (inputs, pre)


def backward(layers, tape, grad, slope):
    """Returns the gradients of each layer's weights and bias, and of the input."""
    inputs, pre = tape
    grads = []
    for i in reversed(range(len(layers))):
        if i < len(layers) - 1:
            grad = grad * np.where(pre[i] > 0, 1, slope)
        grads.append((inputs[i].T @ grad, grad.sum(0)))
        grad = grad @ layers[i][0].T
    return grads[::-1], grad


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, layers, rate=2e-4, b1=0.5, b2=0.999):
        self.rate, self.b1, self.b2, self.t = rate, b1, b2, 0
        self.m = [[np.zeros_like(p) for p in layer] for layer in layers]
        self.v = [[np.zeros_like(p) for p in layer] for layer in layers]

    def update(self, layers, grads):
        self.t += 1
        new = []
        for layer, grad, m, v in zip(layers, grads, self.m, self.v, strict=True):
            new.append([])
            for j in range(2):
                m[j] = self.b1 * m[j] + (1 - self.b1) * grad[j]
                v[j] = self.b2 * v[j] + (1 - self.b2) * grad[j] ** 2
                m_hat, v_hat = m[j] / (1 - self.b1**self.t), v[j] / (1 - self.b2**self.t)
                new[-1].append(layer[j] - self.rate * m_hat / (np.sqrt(v_hat) + 1e-8))
        return new


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def identity(x):
    return x


def norm(grads):
    return np.sqrt(sum((part**2).sum() for layer in grads for part in layer))


def layers_of(params):
    return [
        [np.asarray(params[f"Dense_{i}"][name], np.float64) for name in ("kernel", "bias")]
        for i in range(len(params))
    ]


def discriminator_update(layers, optimiser, real, fake):
    n = len(real)
    real_logits, real_tape = forward(layers, real, 0.2, identity)
    fake_logits, fake_tape = forward(layers, fake, 0.2, identity)
    loss = -np.log(sigmoid(real_logits)).mean() - np.log(1 - sigmoid(fake_logits)).mean()
    real_grads, _ = backward(layers, real_tape, (sigmoid(real_logits) - 1) / n, 0.2)
    fake_grads, _ = backward(layers, fake_tape, sigmoid(fake_logits) / n, 0.2)
    grads = [
        [a + b for a, b in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(real_grads, fake_grads, strict=True)
    ]
    means = sigmoid(real_logits).mean(), sigmoid(fake_logits).mean()
    return optimiser.update(layers, grads), loss, means, norm(grads)


@pytest.fixture
def drawn_latents(monkeypatch):
    """The latents that the step draws, in order."""
    seen, normal = [], jax.random.normal

    def recorded(key, shape):
        latents = normal(key, shape)
        jax.debug.callback(lambda z: seen.append(np.asarray(z, np.float64)), latents, ordered=True)
        return latents

    monkeypatch.setattr(core.jax.random, "normal", recorded)
    return seen


@pytest.mark.parametrize("loss", ["non_saturating", "minimax"])
@pytest.mark.parametrize("d_steps", [1, 3])
def test_steps_match_numpy(loss, d_steps, drawn_latents):
    model = tiny_gan(loss=LOSSES[loss](), d_steps=d_steps, ema_decay=0.9)
    state = model.init(KEY)
    g, d = layers_of(state.generator.params), layers_of(state.discriminator.params)
    assert [len(g[0][0])] + [len(bias) for _, bias in g] == SIZES["generator"]
    assert [len(d[0][0])] + [len(bias) for _, bias in d] == SIZES["discriminator"]
    ema = [[part.copy() for part in layer] for layer in g]
    g_adam, d_adam = Adam(g), Adam(d)
    step, n = jax.jit(model.step), 4

    for t in range(3):
        batch = jax.random.uniform(jax.random.key(t), (d_steps * n, *SHAPE), minval=-1, maxval=1)
        drawn_latents.clear()
        state, metrics = step(KEY, state, batch)
        jax.effects_barrier()
        assert len(drawn_latents) == d_steps
        reals = np.asarray(batch, np.float64).reshape(d_steps, n, -1)
        for real, latents in zip(reals, drawn_latents, strict=True):
            fake, tape = forward(g, latents, 0.0, np.tanh)
            d_logits = [forward(d, images, 0.2, identity)[0] for images in (real, fake)]
            d, d_loss, (d_real, d_fake), d_norm = discriminator_update(d, d_adam, real, fake)
        logits, d_tape = forward(d, fake, 0.2, identity)
        if loss == "non_saturating":
            g_loss, slope = -np.log(sigmoid(logits)).mean(), (sigmoid(logits) - 1) / n
        else:
            g_loss, slope = np.log(1 - sigmoid(logits)).mean(), -sigmoid(logits) / n
        _, fake_grad = backward(d, d_tape, slope, 0.2)
        g_grads, _ = backward(g, tape, fake_grad * (1 - fake**2), 0.0)
        g = g_adam.update(g, g_grads)
        ema = [
            [0.9 * a + 0.1 * b for a, b in zip(old, new, strict=True)]
            for old, new in zip(ema, g, strict=True)
        ]
        shares = [(each > 0).mean() for each in d_logits]
        expected = (d_loss, g_loss, d_real, d_fake, d_norm, norm(g_grads), *shares)
        np.testing.assert_allclose(metrics, expected, rtol=2e-5)

    for ours, theirs in (
        (state.generator.params, g),
        (state.discriminator.params, d),
        (state.ema, ema),
    ):
        for layer, reference in zip(layers_of(ours), theirs, strict=True):
            for part, expected in zip(layer, reference, strict=True):
                np.testing.assert_allclose(part, expected, rtol=2e-5, atol=2e-7)
    assert int(state.step) == 3


def test_layers_of_the_default_networks():
    generator, discriminator = mlp((28, 28, 1))
    state = gan(generator, discriminator).init(KEY)
    kernels = lambda player: [layer["kernel"].shape for layer in player.params.values()]
    assert kernels(state.generator) == [(100, 256), (256, 512), (512, 784)]
    assert kernels(state.discriminator) == [(784, 512), (512, 256), (256, 1)]
    x = jnp.linspace(-1, 1, 784).reshape(1, 28, 28, 1)
    hidden = np.asarray(x).reshape(1, -1) @ state.discriminator.params["Dense_0"]["kernel"]
    bound = discriminator.bind({"params": state.discriminator.params})
    np.testing.assert_allclose(bound(x), _logits(state.discriminator.params, hidden), rtol=1e-4)
    images = gan(generator, discriminator).sample(KEY, state, 5)
    assert images.shape == (5, 28, 28, 1)
    assert np.abs(images).max() <= 1


def _logits(params, x):
    for name in ("Dense_1", "Dense_2"):
        x = np.where(x > 0, x, 0.2 * x) @ params[name]["kernel"]
    return x[:, 0]


def test_default_adam_matches_numpy():
    tx, ours = adam(), {"w": jnp.array([1.0, -2.0])}
    state = tx.init(ours)
    reference = [[np.array([1.0, -2.0]), np.zeros(1)]]
    optimiser = Adam([[np.zeros(2), np.zeros(1)]])
    for grad in ([0.3, -4.0], [1.0, 2.0], [-5.0, 0.1]):
        updates, state = tx.update({"w": jnp.array(grad)}, state)
        ours = jax.tree.map(jnp.add, ours, updates)
        reference = optimiser.update(reference, [[np.array(grad), np.zeros(1)]])
    np.testing.assert_allclose(ours["w"], reference[0][0], rtol=1e-6)


def test_samples_depend_only_on_the_average_and_the_key():
    averaging, plain = tiny_gan(ema_decay=0.5), tiny_gan(ema_decay=0)
    state = averaging.init(KEY)
    other = state._replace(ema=jax.tree.map(lambda x: x + 1, state.ema))
    assert not np.array_equal(averaging.sample(KEY, state, 3), averaging.sample(KEY, other, 3))
    np.testing.assert_array_equal(averaging.sample(KEY, state, 3), averaging.sample(KEY, state, 3))
    assert plain.init(KEY).ema is None
    np.testing.assert_array_equal(
        plain.sample(KEY, plain.init(KEY), 3), averaging.sample(KEY, state, 3)
    )


def test_every_step_draws_new_latents(drawn_latents):
    model = tiny_gan()
    state = model.init(KEY)
    for _ in range(2):
        state, _ = jax.jit(model.step)(KEY, state, jnp.zeros((4, *SHAPE)))
    jax.effects_barrier()
    assert not np.array_equal(drawn_latents[0], drawn_latents[1])


class NormedGenerator(nn.Module):
    @nn.compact
    def __call__(self, latents, train=False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(6)(latents))
        return x.reshape(-1, *SHAPE)


class NormedDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(len(images), -1)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
        return nn.Dense(1)(x)[:, 0]


def test_networks_compute_in_bfloat16():
    real = jax.random.uniform(KEY, (8, *SHAPE))
    exact, low = (tiny_gan(dtype=dtype) for dtype in (None, jnp.bfloat16))
    state = exact.init(KEY)
    for model, rounded in ((exact, False), (low, True)):
        program = jax.jit(model.step).lower(KEY, state, real).as_text()
        assert "dot_general" in program
        assert ("xbf16>" in program) == rounded
    (_, expected), (new, found) = (jax.jit(m.step)(KEY, state, real) for m in (exact, low))
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=0.05)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(new)}
    assert dtypes == {jnp.dtype("float32"), jnp.dtype("int32")}


def test_only_the_generator_updates_running_statistics(drawn_latents):
    model = gan(NormedGenerator(), NormedDiscriminator(), latent_size=4, ema_decay=0)
    state = model.init(KEY)
    real = jax.random.uniform(jax.random.key(1), (8, *SHAPE)) + 3
    kernel = np.asarray(state.generator.params["Dense_0"]["kernel"], np.float64)
    new, _ = jax.jit(model.step)(KEY, state, real)
    jax.effects_barrier()
    hidden = drawn_latents[0] @ kernel
    g_stats = new.generator.stats["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(g_stats["mean"], 0.5 * hidden.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(g_stats["var"], 0.5 + 0.5 * hidden.var(0), rtol=1e-4)
    # The discriminator always uses batch statistics: its running statistics do not change.
    assert new.discriminator.stats["batch_stats"]["BatchNorm_0"].keys() == {"mean", "var"}
    for path, leaf in leaves_by_path(new.discriminator.stats).items():
        np.testing.assert_array_equal(leaf, leaves_by_path(state.discriminator.stats)[path])


GRADIENT_PENALTIES = [
    name for name in PENALTIES if name.endswith(("r1", "r2", "gradient_penalty", "dragan"))
]


@pytest.mark.parametrize("penalty", GRADIENT_PENALTIES)
def test_penalties_reject_batch_norm(penalty):
    loss = PENALTIES[penalty](LOSSES["wasserstein"](), 1.0)
    model = gan(NormedGenerator(), NormedDiscriminator(), latent_size=4, loss=loss)
    with pytest.raises(UsageError, match="use a discriminator without batch norm"):
        model.init(KEY)
    gan(NormedGenerator(), Discriminator((4,)), latent_size=4, loss=loss).init(KEY)


def test_packs_are_concatenated_along_channels():
    images = jnp.arange(6).reshape(6, 1, 1, 1)
    packs = np.asarray(core.pack_images(images, 2))[:, 0, 0]
    np.testing.assert_array_equal(packs, [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(core.pack_labels(jnp.arange(6), 2), packs)
    assert core.pack_images(images, 1) is images
    # As in PacGAN, only the first layer grows, and there is one logit per pack.
    state = tiny_gan(pack=3).init(KEY)
    assert state.discriminator.params["Dense_0"]["kernel"].shape == (18, 7)
    seen = []
    loss = LOSSES["non_saturating"]()

    def watched(*args):
        value, logits = loss.discriminator(*args)
        seen.append(logits)
        return value, logits

    model = tiny_gan(pack=3, loss=loss._replace(discriminator=watched))
    jax.eval_shape(model.step, KEY, state, jnp.zeros((6, *SHAPE)))
    assert [logits.shape for logits in seen[0]] == [(2,), (2,)]


def test_generated_images_have_the_labels_of_the_real_ones():
    seen = {}

    class Spy(nn.Module):
        name_of: str = ""

        @nn.compact
        def __call__(self, inputs, labels, train=False):
            if train:
                jax.debug.callback(
                    lambda x: seen.setdefault(self.name_of, []).append(np.asarray(x)), labels
                )
            flat = inputs.reshape(len(inputs), -1)
            if self.name_of == "g":
                return nn.Dense(6)(flat).reshape(-1, *SHAPE)
            return nn.Dense(1)(flat)[:, 0]

    model = gan(Spy("g"), Spy("d"), latent_size=4, num_classes=5, d_steps=2)
    labels = jnp.array([4, 0, 3, 3, 1, 2, 2, 0])
    state = model.init(KEY)
    jax.jit(model.step)(KEY, state, (jnp.zeros((8, *SHAPE)), labels))
    jax.effects_barrier()
    # Two discriminator updates, each on four different images.
    expected = {(4, 0, 3, 3), (1, 2, 2, 0)}
    for player in ("g", "d"):
        assert {tuple(each.tolist()) for each in seen[player]} == expected
    images = model.sample(KEY, state, 7)
    assert images.shape == (7, *SHAPE)


def test_penalties_differentiate_through_augmentation():
    """The critic is the mean of its input, which is scaled by 3: a slope of 3 / 6 per pixel."""

    class Mean(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            self.param("unused", nn.initializers.zeros, ())
            return images.mean(axis=(1, 2, 3))

    loss = LOSSES["wasserstein"]()
    keys = []

    def augment(key, images, step):
        keys.append(jax.random.key_data(key).tolist())
        return 3 * images + 1

    real = jax.random.uniform(KEY, (4, *SHAPE))
    results = {}
    for name, built in (("plain", loss), ("r1", PENALTIES["r1"](loss, 2.0))):
        generator = Generator(SHAPE, features=(5,))
        model = gan(generator, Mean(), loss=built, latent_size=4, augment=augment)
        state = model.init(KEY)
        keys.clear()
        _, results[name] = model.step(KEY, state, real)
    # Real images, generated images and the generator's update have different keys.
    assert len({tuple(each) for each in keys}) == len(keys) == 3
    penalty = results["r1"].d_loss - results["plain"].d_loss
    np.testing.assert_allclose(penalty, 6 * (3 / 6) ** 2, rtol=1e-4)
    shown = 3 * np.asarray(real).mean((1, 2, 3)) + 1
    np.testing.assert_allclose(results["plain"].d_real, shown.mean(), rtol=1e-5)


def test_non_finite_leaves_are_named():
    state = tiny_gan().init(KEY)
    assert not any(non_finite_leaves(state).values())
    params = {**state.generator.params}
    params["Dense_1"] = {**params["Dense_1"], "bias": params["Dense_1"]["bias"].at[2].set(np.inf)}
    bad = state._replace(generator=state.generator._replace(params=params))
    assert [path for path, is_bad in non_finite_leaves(bad).items() if is_bad] == [
        "generator/params/Dense_1/bias"
    ]
    assert "step" in leaves_by_path(state)


class Passed(NamedTuple):
    """What the loss of a step was computed of."""

    real: np.ndarray
    fake: np.ndarray
    neighbors: np.ndarray | None


def watched_loss(seen: dict, **settings):
    """Returns a loss that records its inputs, by player, while a step is computed."""
    loss = LOSSES["relativistic"]()

    def watch(player):
        def function(critic, inputs):
            passed = Passed(inputs.real, inputs.fake, inputs.neighbors)
            record = lambda *values: seen.setdefault(player, []).append(Passed(*values))
            jax.debug.callback(record, *passed, ordered=True)
            return getattr(loss, player)(critic, inputs)

        return function

    return loss._replace(
        discriminator=watch("discriminator"), generator=watch("generator"), **settings
    )


@pytest.mark.parametrize("d_steps", [1, 2])
@pytest.mark.parametrize("fresh", [False, True])
def test_batches_of_both_players(d_steps, fresh):
    """With a fresh batch, the generator's update has the last real images and its own latents."""
    seen = {}
    model = tiny_gan(loss=watched_loss(seen), d_steps=d_steps, fresh_generator_batch=fresh)
    count = d_steps + fresh
    batch = jax.random.normal(KEY, (4 * count, *SHAPE))
    jax.jit(model.step)(KEY, model.init(KEY), batch)
    jax.effects_barrier()
    reals = np.asarray(batch).reshape(count, 4, *SHAPE)
    found = [each.real for each in seen["discriminator"]]
    np.testing.assert_array_equal(found, reals[:d_steps])
    (own,) = seen["generator"]
    np.testing.assert_array_equal(own.real, reals[-1])
    last = seen["discriminator"][-1].fake
    assert np.array_equal(own.fake, last) == (not fresh)
    if fresh:
        assert not np.allclose(own.fake, last, atol=1e-3)


def test_neighbors_are_generated_from_latents_with_noise():
    seen = {}
    model = tiny_gan(loss=watched_loss(seen, latent_noise=1e-3))
    jax.jit(model.step)(KEY, model.init(KEY), jnp.zeros((64, *SHAPE)))
    jax.effects_barrier()
    (d,), (g,) = seen["discriminator"], seen["generator"]
    np.testing.assert_array_equal(d.neighbors, g.neighbors)
    change, spread = np.std(d.neighbors - d.fake), np.std(d.fake)
    assert 1e-4 * spread < change < 1e-2 * spread


def test_state_of_the_loss_is_updated_by_every_discriminator_update():
    loss = LOSSES["non_saturating"]()._replace(
        init=lambda: jnp.zeros(2, int),
        update=lambda state, logits, step: state + jnp.array([1, step]),
    )
    model = tiny_gan(loss=loss, d_steps=3)
    state, step = model.init(KEY), jax.jit(model.step)
    for _ in range(2):
        state, _ = step(KEY, state, jnp.zeros((12, *SHAPE)))
    np.testing.assert_array_equal(state.loss, [6, 3])
