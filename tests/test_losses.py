"""Losses and penalties against their formulas, and against finite differences in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.devices import AXIS
from jaxgan.errors import UsageError
from jaxgan.losses import (
    LOSSES,
    PENALTIES,
    HeadOutputs,
    Loss,
    LossInputs,
    auxiliary_classifier,
    data_to_data_cross_entropy,
    hinge,
    label_smoothing,
    non_saturating,
    r1,
    r2,
    relativistic,
    rotation,
    slicing,
    top_k,
)
from jaxgan.losses.regularizers import latent_consistency, lecam
from jaxgan.networks.heads import Slice
from jaxgan.schedules import cosine

KEY = jax.random.key(0)
STEP = 3
WEIGHT = 0.7
NONE = "none"


def make_inputs(loss, real, fake, key=KEY, step=STEP, **others) -> LossInputs:
    return LossInputs(real, fake, key, step, **{"state": loss.init(), **others})


def d_loss(loss, critic, real, fake, key=KEY, step=STEP, **others):
    return loss.discriminator(critic, make_inputs(loss, real, fake, key, step, **others))


def g_loss(loss, critic, real, fake, key=KEY, step=STEP, **others):
    return loss.generator(critic, make_inputs(loss, real, fake, key, step, **others))


def shrink(key, images, step):
    """A transform of images for consistency regularization."""
    return 0.5 * images + step


def make_loss(loss: str, penalty: str, weight=WEIGHT) -> Loss:
    settings = {"transform": shrink} if penalty.endswith("consistency") else {}
    if penalty == "latent_consistency":
        settings = {}
    loss = LOSSES[loss]()
    return loss if penalty == NONE else PENALTIES[penalty](loss, weight, **settings)


softplus = lambda x: np.log1p(np.exp(x))
sigmoid = lambda x: 1 / (1 + np.exp(-x))
square = np.square
relu = lambda x: np.maximum(0, x)
double = lambda x: np.asarray(x, np.float64)


def average_pairs(real, fake):
    return softplus(-(real - fake.mean())).mean() + softplus(fake - real.mean()).mean()


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
        lambda real, fake: (relu(1 - real) + relu(1 + fake)).mean(),
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
    "relativistic_average": (average_pairs, lambda real, fake: average_pairs(fake, real)),
}
AT_ZERO = {
    "minimax": (2 * np.log(2), -np.log(2)),
    "non_saturating": (2 * np.log(2), np.log(2)),
    "least_squares": (0.5, 0.5),
    "hinge": (2, 0),
    "wasserstein": (0, 0),
    "relativistic": (np.log(2), np.log(2)),
    "relativistic_average": (2 * np.log(2), 2 * np.log(2)),
}


def all_ones(key, images):
    return images.sum(axis=-1)


@pytest.mark.parametrize("name", LOSSES)
def test_value_at_zero_logits(name):
    real = fake = jnp.zeros((4, 3))
    loss = LOSSES[name]()
    value, logits = d_loss(loss, all_ones, real, fake)
    g_value = g_loss(loss, all_ones, real, fake)
    np.testing.assert_allclose((value, g_value), AT_ZERO[name], rtol=1e-6)
    np.testing.assert_array_equal(logits, np.zeros((2, 4)))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_their_formulas(name):
    real, fake = 2 * jax.random.normal(KEY, (2, 5, 1))
    loss = LOSSES[name]()
    value, (real_logits, fake_logits) = d_loss(loss, all_ones, real, fake)
    g_value = g_loss(loss, all_ones, real, fake)
    exact = [double(x)[:, 0] for x in (real, fake)]
    expected = [formula(*exact) for formula in FORMULAS[name]]
    np.testing.assert_allclose((value, g_value), expected, rtol=1e-5)
    np.testing.assert_array_equal(real_logits, real[:, 0])
    np.testing.assert_array_equal(fake_logits, fake[:, 0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_no_overflow_at_extreme_logits(name, logit):
    loss, images = LOSSES[name](), jnp.full((2, 1), logit)
    d_value = d_loss(loss, all_ones, images, -images)[0]
    g_value, g_grad = jax.value_and_grad(lambda x: g_loss(loss, all_ones, jnp.ones((2, 1)), x))(
        images
    )
    assert np.isfinite([d_value, g_value]).all()
    assert np.isfinite(g_grad).all()


def test_only_minimax_saturates_for_confident_discriminators():
    sure = jnp.full((1, 1), -20.0)
    grad = {
        name: jax.grad(lambda x, name=name: g_loss(LOSSES[name](), all_ones, x, x))(sure).item()
        for name in ("minimax", "non_saturating")
    }
    np.testing.assert_allclose(grad["non_saturating"], -1, rtol=1e-6)
    assert -1e-8 < grad["minimax"] < 0


SLOPE = np.array([0.3, -1.2, 0.5])
ESTIMATES = ("approximate_r1", "approximate_r2")
EXACT = [name for name in PENALTIES if name not in ESTIMATES]


def penalties_by_formula(logits, squared, real, fake, near) -> dict[str, float]:
    """Returns the penalties, with a weight of one, of a critic whose gradient is constant.

    logits: a function of images. squared: the squared norm of its gradient.
    """
    norm = np.sqrt(squared)
    real_logits, fake_logits = logits(real), logits(fake)
    moved = lambda images: logits(shrink(None, images, STEP))
    # The averages start at zero, and have a decay of 0.99.
    real_average, fake_average = 0.01 * real_logits.mean(), 0.01 * fake_logits.mean()
    above, below = relu(real_logits - fake_average), relu(real_average - fake_logits)
    return {
        "r1": squared / 2,
        "r2": squared / 2,
        "gradient_penalty": (norm - 1) ** 2,
        "one_sided_gradient_penalty": relu(norm - 1) ** 2,
        "zero_centered_gradient_penalty": squared,
        "dragan": (norm - 1) ** 2,
        "consistency": square(real_logits - moved(real)).mean(),
        "fake_consistency": square(fake_logits - moved(fake)).mean(),
        "latent_consistency": square(fake_logits - logits(near)).mean(),
        "lecam": square(above).mean() + square(below).mean(),
        "logit_centering": square(real_logits + fake_logits).mean(),
    }


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("penalty", EXACT)
def test_penalties_of_a_linear_critic(penalty, scale):
    """Its gradient is the same everywhere, so every penalty has a closed form.

    The norm of the gradient is 0.67 or 1.33.
    """
    real, fake, near = jax.random.normal(KEY, (3, 6, 3))
    slope = scale * SLOPE
    critic = lambda key, images: images @ slope.astype(np.float32)
    exact = (double(images) for images in (real, fake, near))
    found = penalties_by_formula(lambda images: images @ slope, (slope**2).sum(), *exact)
    for loss in LOSSES:
        plain, with_penalty = make_loss(loss, NONE), make_loss(loss, penalty)
        before, logits = d_loss(plain, critic, real, fake)
        after, same = d_loss(with_penalty, critic, real, fake, neighbors=near)
        np.testing.assert_allclose(
            after - before, WEIGHT * found[penalty], rtol=1e-4, atol=1e-6, err_msg=loss
        )
        np.testing.assert_array_equal(same, logits)
        if penalty != "latent_consistency":
            assert with_penalty.generator is plain.generator or np.array_equal(
                g_loss(with_penalty, critic, real, fake), g_loss(plain, critic, real, fake)
            )


def test_points_where_penalties_are_evaluated():
    """The gradient of x^2 / 2 is x, so it shows at which points it was taken."""
    real, fake = jnp.full((500, 1), 2.0), jnp.full((500, 1), 6.0)
    critic = lambda key, images: jnp.square(images).sum(axis=-1) / 2
    nothing = Loss(lambda critic, inputs: (0.0, (inputs.real[:, 0], inputs.fake[:, 0])), None)
    value = lambda name, real=real: d_loss(PENALTIES[name](nothing, 1.0), critic, real, fake)[0]
    assert value("r1") == 2.0**2 / 2
    assert value("r2") == 6.0**2 / 2
    # Uniform between 2 and 6: the mean of (x - 1)^2 is 31 / 3, and that of x^2 is 52 / 3.
    np.testing.assert_allclose(value("gradient_penalty"), 31 / 3, rtol=0.1)
    np.testing.assert_allclose(value("one_sided_gradient_penalty"), 31 / 3, rtol=0.1)
    np.testing.assert_allclose(value("zero_centered_gradient_penalty"), 52 / 3, rtol=0.1)
    # With a deviation of 1, real images move by half a product of uniform numbers, 1/8 on average.
    spread = jnp.linspace(-1.0, 1.0, 500)[:, None] * np.sqrt(3) + 10
    found = value("dragan", spread) - jnp.square(spread - 1).mean()
    np.testing.assert_allclose(found, 2 * 9 / 8 + 1 / 36, rtol=0.15)


def test_penalties_compose_and_follow_schedules():
    real, fake, near = jax.random.normal(KEY, (3, 6, 3))
    critic = lambda key, images: images @ SLOPE.astype(np.float32)
    schedule = cosine(1.0, 0.1, 10)
    loss = r2(r1(relativistic(), schedule), 0.5)
    base, _ = d_loss(relativistic(), critic, real, fake, step=0)
    for step, gamma in ((0, 1.0), (5, 0.55), (10, 0.1), (99, 0.1)):
        value, _ = d_loss(loss, critic, real, fake, step=step)
        expected = (gamma + 0.5) / 2 * (SLOPE**2).sum()
        np.testing.assert_allclose(value - base, expected, rtol=1e-4)
    for name in PENALTIES:
        value = lambda weight, name=name: d_loss(
            make_loss("relativistic", name, weight), critic, real, fake, step=5, neighbors=near
        )
        np.testing.assert_allclose(value(schedule)[0], value(0.55)[0], rtol=1e-5, err_msg=name)


def mlp_critic(params, images):
    hidden = jnp.tanh(images @ params["w"] + params["b"])
    return (hidden * params["v"]).sum(axis=-1)


@pytest.mark.parametrize("name", ESTIMATES)
def test_approximate_penalties_estimate_squared_gradient_norms(name):
    rng = np.random.default_rng(3)
    params = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4), "v": rng.normal(size=4)}
    images, others = rng.normal(size=(2, 4, 3))
    hidden = np.tanh(images @ params["w"] + params["b"])
    grads = ((1 - hidden**2) * params["v"]) @ params["w"].T
    repeated = jnp.tile(images.astype(np.float32), (50_000, 1))
    others = jnp.tile(others.astype(np.float32), (50_000, 1))
    real, fake = (repeated, others) if name == "approximate_r1" else (others, repeated)
    single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    curved = lambda key, images: mlp_critic(single, images)
    linear = lambda key, images: images @ SLOPE.astype(np.float32)
    for critic, squared in ((curved, (grads**2).sum(axis=1).mean()), (linear, (SLOPE**2).sum())):
        before = d_loss(make_loss("hinge", NONE), critic, real, fake)[0]
        after = d_loss(make_loss("hinge", name), critic, real, fake)[0]
        np.testing.assert_allclose(after - before, WEIGHT / 2 * squared, rtol=0.02)


@pytest.mark.parametrize("name", ESTIMATES)
def test_approximate_penalties_need_no_second_derivatives(name):
    to_host = lambda x: jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    double_it = jax.custom_vjp(lambda x: 2 * x)
    double_it.defvjp(lambda x: (2 * x, None), lambda _, grad: (2 * to_host(grad),))
    real, fake = jax.random.normal(KEY, (2, 4, 3))

    def slope(penalty):
        critic = lambda scale: lambda key, images: scale * double_it(images.sum(axis=-1))
        value = lambda scale: d_loss(make_loss("hinge", penalty), critic(scale), real, fake)[0]
        return jax.grad(value)(0.5)

    assert np.isfinite(slope(name))
    with pytest.raises(ValueError, match="callback"):
        slope(name.removeprefix("approximate_"))


SHAPES = {"w": (4, 5), "b": (5,), "v": (5,), "u": (5,), "c": (5, 3), "e": (5, 2), "r": (5, 4)}
SHAPES["p"] = (3, 2)


def make_params(rng):
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def head_critic(params, labels):
    """Returns a critic with all heads, of images `[n, 2, 2, 1]`."""

    def critic(key, images):
        hidden = jnp.tanh(images.reshape(len(images), -1) @ params["w"] + params["b"])
        logits, directions, classes, embeddings, rotations = (hidden @ params[k] for k in "vucer")
        return HeadOutputs(logits, directions, classes, embeddings, params["p"][labels], rotations)

    return critic


ADDITIONS = {
    "auxiliary_classifier": lambda loss: auxiliary_classifier(loss, 0.3),
    "data_to_data_cross_entropy": lambda loss: data_to_data_cross_entropy(loss, 0.4),
    "rotation": lambda loss: rotation(loss, 0.5, 0.2),
    "slicing": slicing,
    "label_smoothing": lambda loss: label_smoothing(loss, 0.1),
    "top_k": lambda loss: top_k(loss, 0.5),
    **{
        name: partial(penalty, weight=WEIGHT, transform=shrink)
        for name, penalty in PENALTIES.items()
        if name in ("consistency", "fake_consistency")
    },
    **{
        name: lambda loss, penalty=penalty: penalty(loss, WEIGHT)
        for name, penalty in PENALTIES.items()
        if name not in ("consistency", "fake_consistency")
    },
    NONE: lambda loss: loss,
}
"""Everything that can be added to a loss, with some settings."""
CALLS = {
    **dict.fromkeys(("label_smoothing", "top_k", "slicing", "auxiliary_classifier"), 2),
    **dict.fromkeys(("data_to_data_cross_entropy", "lecam", "logit_centering"), 2),
    NONE: 2,
}
"""Forward passes of the discriminator's loss; one more for the others."""


def bases_of(addition: str) -> list[str]:
    """Returns the losses with which to test an addition."""
    if addition == "label_smoothing":
        return ["minimax", "non_saturating"]
    return list(LOSSES) if addition == NONE else ["relativistic_average"]


def make_images(rng, count=8):
    """Returns real and generated images, neighbors, and labels."""
    images = (jnp.asarray(rng.normal(size=(count, 2, 2, 1))) for _ in range(3))
    return *images, jnp.asarray(rng.integers(3, size=count))


@pytest.mark.parametrize("addition", ADDITIONS)
def test_losses_compose_and_share_forward_passes(addition):
    """The discriminator's loss is the sum of its parts, in whatever order they are added.

    Penalties on gradients, if they are added last, share the forward passes of everything else.
    """
    passes = []
    real, fake, near, labels = make_images(np.random.default_rng(4))
    heads = head_critic(make_params(np.random.default_rng(5)), labels)

    def critic(key, images):
        passes.append(images)
        return heads(key, images)

    base = LOSSES[bases_of(addition)[-1]]()
    add, penalize = ADDITIONS[addition], lambda loss: r2(r1(loss, 1.0), 0.5)
    value = lambda loss: d_loss(loss, critic, real, fake, neighbors=near, labels=labels)[0]
    plain, penalized = value(base), value(penalize(base))
    if addition in ("gradient_penalty", "dragan", *ESTIMATES) or addition.endswith("_penalty"):
        added = None  # Random numbers depend on the order.
    else:
        added = value(add(base)) - plain
    for composed in (add(penalize(base)), penalize(add(base))):
        passes.clear()
        found = value(composed)
        if added is not None:
            np.testing.assert_allclose(found, penalized + added, rtol=1e-5)
        assert composed.penalizes_gradients
    assert len(passes) == CALLS.get(addition, 3)


# The gradients of these are not those of their values: see their own tests.
OF_OTHER_VALUES = ("slicing", "top_k", "lecam")


@pytest.mark.parametrize("addition", [name for name in ADDITIONS if name not in OF_OTHER_VALUES])
def test_gradients_match_finite_differences(addition):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        params = make_params(rng)
        real, fake, near, labels = make_images(rng)
        losses = [ADDITIONS[addition](LOSSES[name]()) for name in bases_of(addition)]
        weights = rng.normal(size=(len(losses), 2))

        @jax.jit
        @jax.value_and_grad
        def run(at):
            params, fake = at
            arguments = head_critic(params, labels), real, fake
            total = 0.0
            for loss, (d_weight, g_weight) in zip(losses, weights, strict=True):
                others = {"neighbors": near, "labels": labels}
                total += d_weight * d_loss(loss, *arguments, **others)[0]
                total += g_weight * g_loss(loss, *arguments, **others)
            return total

        at = params, fake
        direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), at)
        moved = lambda h: jax.tree.map(lambda x, d: x + h * d, at, direction)
        differences = (run(moved(1e-5))[0] - run(moved(-1e-5))[0]) / 2e-5
        slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, run(at)[1], direction)))
        np.testing.assert_allclose(slope, differences, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("addition", ADDITIONS)
def test_loss_is_the_mean_over_devices(addition):
    """The mean over devices, each with its own rows, is the loss of the full batch.

    So are the gradients with respect to images: those of the sum over devices, divided by their
    number.
    """
    rng = np.random.default_rng(2)
    params, images = make_params(rng), make_images(rng)
    losses = [ADDITIONS[addition](LOSSES[name]()) for name in bases_of(addition)]
    count = 4

    def values(real, fake, near, labels):
        critic = head_critic(params, labels)
        others = {"neighbors": near, "labels": labels}
        return jnp.stack(
            [d_loss(loss, critic, real, fake, **others)[0] for loss in losses]
            + [g_loss(loss, critic, real, fake, **others) for loss in losses]
        )

    def values_and_gradients(real, fake, near, labels):
        value, pullback = jax.vjp(partial(values, near=near, labels=labels), real, fake)
        return value, pullback(jnp.arange(1.0, 1 + len(value)))

    split = lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)
    joined = lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])
    expected, whole_grads = jax.jit(values_and_gradients)(*images)
    mapped = jax.jit(jax.vmap(values_and_gradients, axis_name=AXIS))
    found, grads = mapped(*map(split, images))
    np.testing.assert_allclose(found.mean(axis=0), expected, rtol=1e-5, atol=1e-6)
    for grad, whole in zip(grads, whole_grads, strict=True):
        np.testing.assert_allclose(joined(grad) / count, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("penalty", EXACT)
def test_penalties_treat_a_pack_as_one_input(penalty):
    """The norm of a pack's gradient is over all its images."""
    real, fake, near = jax.random.normal(KEY, (3, 6, 3))
    packed = lambda key, images: (images @ SLOPE.astype(np.float32)).reshape(2, 3).sum(axis=0)
    plain, with_penalty = make_loss("wasserstein", NONE), make_loss("wasserstein", penalty)
    before, _ = d_loss(plain, packed, real, fake)
    after, _ = d_loss(with_penalty, packed, real, fake, neighbors=near)
    logits = lambda images: (double(images) @ SLOPE).reshape(2, 3).sum(axis=0)
    expected = penalties_by_formula(logits, 2 * (SLOPE**2).sum(), real, fake, near)
    np.testing.assert_allclose(after - before, WEIGHT * expected[penalty], rtol=1e-4)


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_gradient_penalty_uses_one_interpolation_weight_per_pack(pack):
    """All images of a pack share the weight that interpolates between real and generated."""
    real, fake = jnp.zeros((8, 3)), jnp.ones((8, 3))
    places = []

    def critic(key, images):
        jax.debug.callback(lambda x: places.append(np.asarray(x)), images)
        return images.sum(axis=-1).reshape(pack, -1).sum(axis=0)

    d_loss(make_loss("wasserstein", "gradient_penalty"), critic, real, fake)
    jax.effects_barrier()
    (between,) = (x for x in places if x.min() > 0 and x.max() < 1)
    of_packs = between.reshape(pack, 8 // pack, 3)
    assert (of_packs == of_packs[:1, :, :1]).all()
    assert len(np.unique(of_packs)) == 8 // pack


@pytest.mark.parametrize("name", LOSSES)
def test_summaries_of_discriminator_outputs(name):
    real, fake = np.array([3.0, -1.0, 0.5, 2.0]), np.array([-2.0, 1.0, -0.5, -3.0])
    expected = {
        "minimax": (sigmoid(real).mean(), sigmoid(fake).mean()),
        "non_saturating": (sigmoid(real).mean(), sigmoid(fake).mean()),
        "relativistic": (0.75, 0.25),
        "relativistic_average": (0.75, 0.25),
    }.get(name, (real.mean(), fake.mean()))
    outputs = LOSSES[name]().outputs
    np.testing.assert_allclose(outputs.summary(jnp.array(real), jnp.array(fake)), expected, 1e-6)
    assert (outputs.limits is None) == (name in ("least_squares", "hinge", "wasserstein"))


NORM_PENALTIES = [name for name in PENALTIES if name == "dragan" or name.endswith("_penalty")]


@pytest.mark.parametrize("penalty", NORM_PENALTIES)
def test_gradients_of_a_constant_critic_are_finite(penalty):
    real, fake = jnp.ones((4, 3)), jnp.zeros((4, 3))

    def value(scale):
        critic = lambda key, images: scale * images.sum(axis=-1)
        return d_loss(make_loss("wasserstein", penalty), critic, real, fake)[0]

    assert np.isfinite(jax.grad(value)(0.0))


def test_latent_consistency_keeps_images_of_near_latents_apart():
    real, fake, near = jax.random.normal(KEY, (3, 5, 3))
    plain = non_saturating()
    loss = latent_consistency(plain, WEIGHT, generator_weight=0.3, latent_noise=0.05)
    assert (loss.latent_noise, plain.latent_noise) == (0.05, 0)
    found = g_loss(loss, all_ones, real, fake, neighbors=near)
    expected = softplus(-double(fake).sum(axis=1)).mean()
    expected -= 0.3 * square(double(fake) - double(near)).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("start", [0, 3])
def test_lecam_follows_averages_of_the_logits(start):
    """The averages are those of a loop, for two regularizers around another penalty."""
    inner_start = 2
    inner = r1(lecam(non_saturating(), 0.3, start=inner_start), 0.5)
    loss = lecam(inner, WEIGHT, start=start)
    state, averages = loss.init(), {"inner": np.zeros(2), "outer": np.zeros(2)}
    rng = np.random.default_rng(6)
    for step in range(6):
        real, fake = rng.normal(size=(2, 4, 1)) + np.array([0.5, -0.2])[:, None, None]
        inputs = jnp.asarray(real, jnp.float32), jnp.asarray(fake, jnp.float32)
        value, logits = d_loss(loss, all_ones, *inputs, step=step, state=state)
        expected = FORMULAS["non_saturating"][0](real, fake) + 0.5 / 2
        for name, weight, own_start in (
            ("inner", 0.3, inner_start),
            ("outer", WEIGHT, start),
        ):
            decay = 0.0 if step < own_start or step == 0 else 0.99
            means = np.array([real.mean(), fake.mean()])
            averages[name] = decay * averages[name] + (1 - decay) * means
            if step >= own_start:
                real_average, fake_average = averages[name]
                expected += weight * square(relu(real - fake_average)).mean()
                expected += weight * square(relu(real_average - fake)).mean()
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        g_value = g_loss(loss, all_ones, *inputs, step=step, state=state)
        np.testing.assert_allclose(g_value, softplus(-fake).mean(), rtol=1e-5)
        state = loss.update(state, logits, step)
        np.testing.assert_allclose(state[1], averages["outer"], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(state[0][1], averages["inner"], rtol=1e-5, atol=1e-7)
        assert jax.tree.structure(state) == jax.tree.structure(loss.init())


def test_lecam_adds_nothing_before_its_start():
    real, fake = jax.random.normal(KEY, (2, 5, 1))
    loss, state = lecam(hinge(), WEIGHT, start=4), ((), jnp.array([3.0, -2.0]))
    value = lambda loss, step: d_loss(loss, all_ones, real, fake, step=step, state=state)[0]
    np.testing.assert_allclose(value(loss, 3), value(hinge(), 3), rtol=1e-6)
    assert value(loss, 4) > value(hinge(), 4) + 1


def test_lecam_treats_averages_as_constants():
    real, fake = jax.random.normal(KEY, (2, 5, 1))
    nothing = Loss(lambda critic, inputs: (0.0, (inputs.real[:, 0], inputs.fake[:, 0])), None)
    state = ((), jnp.array([0.4, -0.3]))
    value = lambda real, fake: d_loss(
        lecam(nothing, WEIGHT), all_ones, real, fake, step=0, state=state
    )[0]
    grads = jax.grad(value, argnums=(0, 1))(real, fake)
    real, fake = double(real), double(fake)
    expected = relu(real - fake.mean()), -relu(real.mean() - fake)
    np.testing.assert_allclose(grads, 2 / 5 * WEIGHT * np.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_label_smoothing_is_a_cross_entropy_with_another_target(name):
    real, fake = 2 * jax.random.normal(KEY, (2, 5, 1))
    loss = label_smoothing(LOSSES[name](), 0.1)
    value, _ = d_loss(loss, all_ones, real, fake)
    p, q = sigmoid(double(real)), sigmoid(double(fake))
    expected = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean() - np.log(1 - q).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert loss.generator is LOSSES[name]().generator or np.array_equal(
        g_loss(loss, all_ones, real, fake), g_loss(LOSSES[name](), all_ones, real, fake)
    )


@pytest.mark.parametrize("name", [each for each in LOSSES if not each.endswith(("max", "ating"))])
def test_label_smoothing_needs_a_cross_entropy(name):
    with pytest.raises(UsageError, match="--label-smoothing needs --loss non_saturating"):
        label_smoothing(LOSSES[name](), 0.1)


@pytest.mark.parametrize(
    ("share", "step", "kept"),
    [(0.5, 0, 4), (1.0, 0, 8), (0.01, 0, 1), (lambda step: 1 - step / 10, 5, 4)],
)
@pytest.mark.parametrize("name", ["non_saturating", "relativistic"])
def test_top_k_learns_from_the_best_images(name, share, step, kept):
    """The gradient is that of the mean over the best images, and the value is unchanged."""
    real, fake = 2 * jax.random.normal(KEY, (2, 8, 1))
    plain, loss = LOSSES[name](), top_k(LOSSES[name](), share)
    value, grad = jax.value_and_grad(lambda x: g_loss(loss, all_ones, real, x, step=step))(fake)
    np.testing.assert_allclose(value, g_loss(plain, all_ones, real, fake), rtol=1e-6)
    real, fake = double(real)[:, 0], double(fake)[:, 0]
    best = np.argsort(fake)[-kept:]
    expected = np.zeros(8)
    expected[best] = -sigmoid(-fake[best] if name == "non_saturating" else (real - fake)[best])
    np.testing.assert_allclose(grad[:, 0], expected / kept, rtol=1e-5, atol=1e-7)
    images = jnp.float32(real[:, None]), jnp.float32(fake[:, None])
    same = (d_loss(each, all_ones, *images)[0] for each in (loss, plain))
    np.testing.assert_array_equal(*same)


def with_heads(**heads):
    """Returns a critic whose heads are fixed slices of the images, and zero logits.

    heads: their first and last columns.
    """

    def critic(key, images):
        found = {name: images[:, slice(*columns)] for name, columns in heads.items()}
        return HeadOutputs(jnp.zeros(len(images)), **found)

    return critic


def cross_entropies(logits, labels):
    logits = double(logits)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def test_auxiliary_classifier_adds_cross_entropies():
    real, fake = jax.random.normal(KEY, (2, 6, 3))
    labels = np.array([0, 2, 1, 1, 0, 2])
    critic = with_heads(classes=(0, 3))
    loss = auxiliary_classifier(non_saturating(), WEIGHT)
    of_real, of_fake = (cross_entropies(x, labels).mean() for x in (real, fake))
    found = d_loss(loss, critic, real, fake, labels=labels)[0] - 2 * np.log(2)
    np.testing.assert_allclose(found, WEIGHT * (of_real + of_fake), rtol=1e-5)
    found = g_loss(loss, critic, real, fake, labels=labels) - np.log(2)
    np.testing.assert_allclose(found, WEIGHT * of_fake, rtol=1e-5)


def data_to_data_by_loops(embeddings, proxies, labels, margin=0.98, temperature=0.5):
    """ReACGAN's equation 10, term by term."""
    cos = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    total = 0.0
    for i, (own, proxy) in enumerate(zip(embeddings, proxies, strict=True)):
        attraction = np.exp(min(cos(own, proxy) - margin, 0) / temperature)
        repulsion = sum(
            np.exp(max(cos(own, embeddings[j]) + margin - 1, 0) / temperature)
            for j in range(len(labels))
            if labels[j] != labels[i]
        )
        total -= np.log(attraction / (attraction + repulsion))
    return total / len(labels)


@pytest.mark.parametrize("labels", [[0, 2, 1, 1, 0, 2], [1] * 6, [0, 1, 2, 3, 4, 5]])
def test_data_to_data_cross_entropy_matches_the_paper(labels):
    labels = np.array(labels)
    real, fake = jax.random.normal(KEY, (2, 6, 6))
    critic = with_heads(embeddings=(0, 3), proxies=(3, 6))
    loss = data_to_data_cross_entropy(non_saturating(), WEIGHT)
    of_real, of_fake = (
        data_to_data_by_loops(double(x)[:, :3], double(x)[:, 3:], labels) for x in (real, fake)
    )
    found = d_loss(loss, critic, real, fake, labels=labels)[0] - 2 * np.log(2)
    np.testing.assert_allclose(found, WEIGHT * of_real, rtol=1e-5, atol=1e-6)
    found = g_loss(loss, critic, real, fake, labels=labels) - np.log(2)
    np.testing.assert_allclose(found, WEIGHT * of_fake, rtol=1e-5, atol=1e-6)


def test_data_to_data_cross_entropy_has_a_finite_gradient_at_zero():
    images = jnp.zeros((4, 6))
    critic = with_heads(embeddings=(0, 3), proxies=(3, 6))
    loss = data_to_data_cross_entropy(non_saturating(), WEIGHT)
    grad = jax.grad(lambda x: g_loss(loss, critic, x, x, labels=jnp.arange(4)))(images)
    assert np.isfinite(grad).all()


def test_rotation_shows_a_quarter_of_the_batch_each_way():
    real, fake = jax.random.normal(KEY, (2, 8, 3, 3, 1))
    seen = []

    def critic(key, images):
        seen.append(np.asarray(images))
        return HeadOutputs(jnp.zeros(len(images)), rotations=images.reshape(len(images), -1)[:, :4])

    turns = np.repeat(np.arange(4), 2)
    turned = lambda x: np.stack([np.rot90(x[i], turn) for i, turn in enumerate(turns)])
    costs = [
        cross_entropies(turned(np.asarray(x)).reshape(8, -1)[:, :4], turns).mean()
        for x in (real, fake)
    ]
    loss = rotation(non_saturating(), 0.5, 0.2)
    found = d_loss(loss, critic, real, fake)[0] - 2 * np.log(2)
    np.testing.assert_allclose(found, 0.5 * costs[0], rtol=1e-5)
    assert any(np.array_equal(images, turned(np.asarray(real))) for images in seen)
    found = g_loss(loss, critic, real, fake) - np.log(2)
    np.testing.assert_allclose(found, 0.2 * costs[1], rtol=1e-5)
    assert any(np.array_equal(images, turned(np.asarray(fake))) for images in seen)


def test_rotation_costs_nothing_if_the_critic_recognizes_it():
    """A marked corner goes to the bottom left, bottom right and top right."""
    images = jnp.zeros((8, 2, 2, 1)).at[:, 0, 0].set(1.0)

    def critic(key, images):
        corners = images[:, [0, 1, 1, 0], [0, 0, 1, 1], 0]
        return HeadOutputs(jnp.zeros(len(images)), rotations=50 * corners)

    loss = rotation(non_saturating(), 0.5, 0.2)
    np.testing.assert_allclose(d_loss(loss, critic, images, images)[0], 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(g_loss(loss, critic, images, images), np.log(2), rtol=1e-6)


@pytest.mark.parametrize("conditional", [False, True])
def test_slicing_trains_the_direction_with_the_wasserstein_loss(conditional):
    """The hinge loss trains the features and the norm of the weights, and nothing else."""
    real, fake = jax.random.normal(KEY, (2, 6, 4))
    labels = jnp.array([0, 2, 1, 1, 0, 2]) if conditional else None
    layer = Slice(3 if conditional else None)
    variables = layer.init(jax.random.key(1), real, labels)

    def value(params, real, fake):
        critic = lambda key, x: HeadOutputs(*layer.apply({"params": params}, x, labels))
        return d_loss(slicing(hinge()), critic, real, fake, labels=labels)[0]

    params = variables["params"]
    found, grads = jax.value_and_grad(value, argnums=(0, 1, 2))(params, real, fake)
    weights = np.broadcast_to(double(params["kernel"]), (6, 4))
    if conditional:
        weights = weights + double(params["Embed_0"]["embedding"])[np.asarray(labels)]
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / norms
    expected, by_row = 0.0, 0.0
    for features, sign, own_grads in ((double(real), -1, grads[1]), (double(fake), 1, grads[2])):
        logits = (features * weights).sum(axis=1, keepdims=True)
        expected += relu(1 + sign * logits).mean() + sign * logits.mean()
        slopes = sign * (1 + sign * logits > 0) / 6
        np.testing.assert_allclose(own_grads, slopes * weights, rtol=1e-4, atol=1e-6)
        along = (features * directions).sum(axis=1, keepdims=True) * directions
        by_row = by_row + slopes * along + sign / 6 * (features - along)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(grads[0]["kernel"][0], by_row.sum(axis=0), rtol=1e-4, atol=1e-6)
    if conditional:
        of_classes = np.stack([by_row[np.asarray(labels) == k].sum(axis=0) for k in range(3)])
        np.testing.assert_allclose(
            grads[0]["Embed_0"]["embedding"], of_classes, rtol=1e-4, atol=1e-6
        )


def test_slicing_leaves_the_generator_with_its_loss():
    real, fake = jax.random.normal(KEY, (2, 6, 1))
    critic = lambda key, x: HeadOutputs(x[:, 0], directions=2 * x[:, 0])
    found = g_loss(slicing(hinge()), critic, real, fake)
    np.testing.assert_allclose(found, -double(fake).mean(), rtol=1e-5)


@pytest.mark.parametrize("player", ["1", "2"])
def test_approximate_penalties_compare_passes_with_the_same_augmentation(player):
    """Also beside penalties that share the forward pass, in the order of `PENALTIES`."""
    real, fake = jax.random.normal(KEY, (2, 6, 3))
    augmented = lambda key, images: images @ SLOPE.astype(np.float32) + jax.random.normal(key)
    beside = {"1": {"consistency", "r1"}, "2": {"fake_consistency", "r2"}}[player]
    loss, same = LOSSES["wasserstein"](), lambda key, images, step: images
    for name, penalty in PENALTIES.items():
        if name in beside:
            settings = {"transform": same} if "consistency" in name else {}
            loss = penalty(loss, 1e-9, **settings)
        elif name == f"approximate_r{player}":
            loss = penalty(loss, 1.0)
    value = loss.discriminator(augmented, LossInputs(real, fake, KEY, STEP))[0]
    # Another augmentation of one pass would give a square of about 1 / 0.01^2.
    assert abs(value) < 50
