"""Losses and penalties against their formulas, and against finite differences in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.devices import AXIS
from jaxgan.losses import LOSSES, PENALTIES, Loss, non_saturating, r1, r2, relativistic
from jaxgan.schedules import cosine

KEY = jax.random.key(0)
STEP = 3

softplus = lambda x: np.log1p(np.exp(x))
square = np.square
FORMULAS = {
    "minimax": (
        lambda real, fake: (softplus(-real) + softplus(fake)).mean(),
        lambda real, fake: -softplus(fake).mean(),
    ),
    "non_saturating": (
        lambda real, fake: (softplus(-real) + softplus(fake)).mean(),
        lambda real, fake: softplus(-fake).mean(),
    ),
    "least_squares": (
        lambda real, fake: (square(real - 1) + square(fake)).mean() / 2,
        lambda real, fake: square(fake - 1).mean() / 2,
    ),
    "hinge": (
        lambda real, fake: (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)).mean(),
        lambda real, fake: -fake.mean(),
    ),
    "wasserstein": (
        lambda real, fake: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
    ),
    "relativistic": (
        lambda real, fake: softplus(-(real - fake)).mean(),
        lambda real, fake: softplus(-(fake - real)).mean(),
    ),
}
AT_ZERO = {
    "minimax": (2 * np.log(2), -np.log(2)),
    "non_saturating": (2 * np.log(2), np.log(2)),
    "least_squares": (0.5, 0.5),
    "hinge": (2, 0),
    "wasserstein": (0, 0),
    "relativistic": (np.log(2), np.log(2)),
}
NONE = "none"


def all_ones(key, images):
    return images.sum(axis=-1)


def make_loss(loss: str, penalty: str, weight=0.7) -> Loss:
    loss = LOSSES[loss]()
    return loss if penalty == NONE else PENALTIES[penalty](loss, weight)


@pytest.mark.parametrize("name", LOSSES)
def test_value_at_zero_logits(name):
    real = fake = jnp.zeros((4, 3))
    loss = LOSSES[name]()
    value, logits = loss.discriminator(all_ones, real, fake, KEY, STEP)
    g_value = loss.generator(all_ones, real, fake, KEY, STEP)
    np.testing.assert_allclose((value, g_value), AT_ZERO[name], rtol=1e-6)
    np.testing.assert_array_equal(logits, np.zeros((2, 4)))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_their_formulas(name):
    real, fake = 2 * jax.random.normal(KEY, (2, 5, 1))
    loss = LOSSES[name]()
    value, (real_logits, fake_logits) = loss.discriminator(all_ones, real, fake, KEY, STEP)
    g_value = loss.generator(all_ones, real, fake, KEY, STEP)
    exact = [np.asarray(x, np.float64)[:, 0] for x in (real, fake)]
    expected = [formula(*exact) for formula in FORMULAS[name]]
    np.testing.assert_allclose((value, g_value), expected, rtol=1e-5)
    np.testing.assert_array_equal(real_logits, real[:, 0])
    np.testing.assert_array_equal(fake_logits, fake[:, 0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_no_overflow_at_extreme_logits(name, logit):
    loss, images = LOSSES[name](), jnp.full((2, 1), logit)
    d_value = loss.discriminator(all_ones, images, -images, KEY, STEP)[0]
    g_value, g_grad = jax.value_and_grad(
        lambda x: loss.generator(all_ones, jnp.ones((2, 1)), x, KEY, STEP)
    )(images)
    assert np.isfinite([d_value, g_value]).all()
    assert np.isfinite(g_grad).all()


def test_only_minimax_saturates_for_confident_discriminators():
    sure = jnp.full((1, 1), -20.0)
    grad = {
        name: jax.grad(lambda x, name=name: LOSSES[name]().generator(all_ones, x, x, KEY, STEP))(
            sure
        ).item()
        for name in ("minimax", "non_saturating")
    }
    np.testing.assert_allclose(grad["non_saturating"], -1, rtol=1e-6)
    assert -1e-8 < grad["minimax"] < 0


SLOPE = np.array([0.3, -1.2, 0.5])
LINEAR = {
    "r1": 0.7 / 2 * (SLOPE**2).sum(),
    "r2": 0.7 / 2 * (SLOPE**2).sum(),
    "gradient_penalty": 0.7 * (np.linalg.norm(SLOPE) - 1) ** 2,
    "dragan": 0.7 * (np.linalg.norm(SLOPE) - 1) ** 2,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_of_a_linear_critic(loss, penalty):
    """Its gradient is the same everywhere, so every penalty has a closed form."""
    real, fake = jax.random.normal(KEY, (2, 6, 3))
    critic = lambda key, images: images @ SLOPE.astype(np.float32)
    plain, with_penalty = make_loss(loss, NONE), make_loss(loss, penalty)
    before, logits = plain.discriminator(critic, real, fake, KEY, STEP)
    after, same = with_penalty.discriminator(critic, real, fake, KEY, STEP)
    np.testing.assert_allclose(after - before, LINEAR[penalty], rtol=1e-4)
    np.testing.assert_array_equal(same, logits)
    assert with_penalty.generator is plain.generator or np.array_equal(
        with_penalty.generator(critic, real, fake, KEY, STEP),
        plain.generator(critic, real, fake, KEY, STEP),
    )


def test_points_where_penalties_are_evaluated():
    """The gradient of x^2 / 2 is x, so it shows at which points it was taken."""
    real, fake = jnp.full((500, 1), 2.0), jnp.full((500, 1), 6.0)
    critic = lambda key, images: jnp.square(images).sum(axis=-1) / 2
    nothing = Loss(lambda critic, real, fake, *_: (0.0, (real[:, 0], fake[:, 0])), None)
    value = lambda penalty, *args: penalty(nothing, 1.0).discriminator(critic, *args)[0]
    assert value(PENALTIES["r1"], real, fake, KEY, STEP) == 2.0**2 / 2
    assert value(PENALTIES["r2"], real, fake, KEY, STEP) == 6.0**2 / 2
    # Uniform between 2 and 6: the mean of (x - 1)^2 is 31 / 3.
    found = value(PENALTIES["gradient_penalty"], real, fake, KEY, STEP)
    np.testing.assert_allclose(found, 31 / 3, rtol=0.1)
    # With a deviation of 1, real images move by half a product of uniform numbers, 1/8 on average.
    spread = jnp.linspace(-1.0, 1.0, 500)[:, None] * np.sqrt(3) + 10
    found = value(PENALTIES["dragan"], spread, fake, KEY, STEP) - jnp.square(spread - 1).mean()
    np.testing.assert_allclose(found, 2 * 9 / 8 + 1 / 36, rtol=0.15)


def test_penalties_compose_and_follow_schedules():
    real, fake = jax.random.normal(KEY, (2, 6, 3))
    critic = lambda key, images: images @ SLOPE.astype(np.float32)
    schedule = cosine(1.0, 0.1, 10)
    loss = r2(r1(relativistic(), schedule), 0.5)
    base, _ = relativistic().discriminator(critic, real, fake, KEY, 0)
    for step, gamma in ((0, 1.0), (5, 0.55), (10, 0.1), (99, 0.1)):
        value, _ = loss.discriminator(critic, real, fake, KEY, step)
        expected = (gamma + 0.5) / 2 * (SLOPE**2).sum()
        np.testing.assert_allclose(value - base, expected, rtol=1e-4)


def test_loss_and_penalties_share_forward_passes():
    passes = []

    def critic(key, images):
        passes.append(images)
        return all_ones(key, images)

    real, fake = jnp.ones((2, 3)), jnp.zeros((2, 3))
    r2(r1(non_saturating(), 1.0), 1.0).discriminator(critic, real, fake, KEY, STEP)
    assert len(passes) == 2


def mlp_critic(params, images):
    hidden = jnp.tanh(images @ params["w"] + params["b"])
    return (hidden * params["v"]).sum(axis=-1)


@pytest.mark.parametrize("penalty", [NONE, *PENALTIES])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_match_finite_differences(loss, penalty):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        shapes = {"w": (3, 4), "b": (4,), "v": (4,)}
        params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
        real, fake = (jnp.asarray(rng.normal(size=(5, 3))) for _ in range(2))
        built = make_loss(loss, penalty)

        @jax.jit
        def d_value(params):
            critic = lambda key, images: mlp_critic(params, images)
            return built.discriminator(critic, real, fake, KEY, STEP)[0]

        @jax.jit
        def g_value(fake):
            critic = lambda key, images: mlp_critic(params, images)
            return built.generator(critic, real, fake, KEY, STEP)

        for function, at in ((d_value, params), (g_value, fake)):
            direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), at)
            moved = lambda h, at=at, way=direction: jax.tree.map(lambda x, d: x + h * d, at, way)
            differences = (function(moved(1e-5)) - function(moved(-1e-5))) / 2e-5
            grads = jax.grad(function)(at)
            slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grads, direction)))
            np.testing.assert_allclose(slope, differences, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("penalty", [NONE, *PENALTIES])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_the_mean_over_devices(loss, penalty):
    """The mean over devices, each with its own rows, is the loss of the full batch."""
    rng = np.random.default_rng(2)
    real, fake = (jnp.asarray(rng.normal(size=(8, 3)), jnp.float32) for _ in range(2))
    critic = lambda key, images: jnp.tanh(images).sum(axis=-1)
    built = make_loss(loss, penalty)
    value = lambda real, fake: built.discriminator(critic, real, fake, KEY, STEP)[0]
    split = lambda x: x.reshape(-1, 4, 3).swapaxes(0, 1)
    found = jax.vmap(value, axis_name=AXIS)(split(real), split(fake))
    np.testing.assert_allclose(found.mean(), value(real, fake), rtol=1e-5)
    g_value = lambda real, fake: built.generator(critic, real, fake, KEY, STEP)
    found = jax.vmap(g_value, axis_name=AXIS)(split(real), split(fake))
    np.testing.assert_allclose(found.mean(), g_value(real, fake), rtol=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_treat_a_pack_as_one_input(penalty):
    """The norm of a pack's gradient is over all its images."""
    real, fake = jax.random.normal(KEY, (2, 6, 3))
    packed = lambda key, images: (images @ SLOPE.astype(np.float32)).reshape(2, 3).sum(axis=0)
    plain, with_penalty = make_loss("wasserstein", NONE), make_loss("wasserstein", penalty)
    before, _ = plain.discriminator(packed, real, fake, KEY, STEP)
    after, _ = with_penalty.discriminator(packed, real, fake, KEY, STEP)
    twice = 2 * (SLOPE**2).sum()
    expected = 0.7 * (twice / 2 if penalty in ("r1", "r2") else (np.sqrt(twice) - 1) ** 2)
    np.testing.assert_allclose(after - before, expected, rtol=1e-4)


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_gradient_penalty_uses_one_interpolation_weight_per_pack(pack):
    """All images of a pack share the weight that interpolates between real and generated."""
    real, fake = jnp.zeros((8, 3)), jnp.ones((8, 3))
    places = []

    def critic(key, images):
        jax.debug.callback(lambda x: places.append(np.asarray(x)), images)
        return images.sum(axis=-1).reshape(pack, -1).sum(axis=0)

    make_loss("wasserstein", "gradient_penalty").discriminator(critic, real, fake, KEY, STEP)
    jax.effects_barrier()
    (between,) = (x for x in places if x.min() > 0 and x.max() < 1)
    of_packs = between.reshape(pack, 8 // pack, 3)
    assert (of_packs == of_packs[:1, :, :1]).all()
    assert len(np.unique(of_packs)) == 8 // pack


@pytest.mark.parametrize("name", LOSSES)
def test_summaries_of_discriminator_outputs(name):
    real, fake = np.array([3.0, -1.0, 0.5, 2.0]), np.array([-2.0, 1.0, -0.5, -3.0])
    sigmoid = lambda x: (1 / (1 + np.exp(-x))).mean()
    expected = {
        "minimax": (sigmoid(real), sigmoid(fake)),
        "non_saturating": (sigmoid(real), sigmoid(fake)),
        "relativistic": (0.75, 0.25),
    }.get(name, (real.mean(), fake.mean()))
    outputs = LOSSES[name]().outputs
    np.testing.assert_allclose(outputs.summary(jnp.array(real), jnp.array(fake)), expected, 1e-6)
    assert (outputs.limits is None) == (name in ("least_squares", "hinge", "wasserstein"))


@pytest.mark.parametrize("penalty", ["gradient_penalty", "dragan"])
def test_gradients_of_a_constant_critic_are_finite(penalty):
    real, fake = jnp.ones((4, 3)), jnp.zeros((4, 3))

    def value(scale):
        critic = lambda key, images: scale * images.sum(axis=-1)
        return make_loss("wasserstein", penalty).discriminator(critic, real, fake, KEY, STEP)[0]

    assert np.isfinite(jax.grad(value)(0.0))
