import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.data.arrays import Images
from jaxgan.errors import UsageError
from jaxgan.gan import GANState, gan
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.parallel import layout as layouts
from jaxgan.parallel import transforms
from jaxgan.parallel.chunks import (
    LENGTHS,
    Plan,
    default_steps_per_chunk,
    make_program,
    steps_taken,
    train_chunks,
)
from jaxgan.parallel.layout import Layout, make_keys, make_layout
from jaxgan.parallel.operations import count_operations
from jaxgan.parallel.transforms import freeze_where_diverged, over_members, scan_steps
from jaxgan.trees import leaves_by_path, tree_sha256

KEY = jax.random.key(1)
ALONE = Layout()


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), np.uint8)
    return Images(jnp.asarray(images), "test", "")


@pytest.fixture(scope="module")
def model():
    return gan(Generator((4, 4, 1), (8,)), Discriminator((8,)), latent_size=3)


def run(model, dataset, state=None, should_stop=lambda: False, where=ALONE, **plan):
    key = KEY if where.members is None else make_keys(5, where)
    state = jax.jit(where.map_members(model.init))(key) if state is None else state
    defaults = {"steps": 60, "steps_per_chunk": 20, "sample_every": 30, "checkpoint_every": 40}
    plan = Plan(**{"begin": steps_taken(state), **defaults, **plan})
    program = make_program(model, where, images_per_step=8, num_samples=9)
    return list(train_chunks(program, where.place(key, state, dataset), plan, should_stop))


@given(st.integers(1, 500), *[st.integers(1, 100)] * 3)
def test_chunks_cover_the_run_and_end_at_due_steps(steps, per_call, sample, checkpoint):
    plan, done, lengths = Plan(0, steps, per_call, sample, checkpoint), 0, set()
    while done < steps:
        end = plan.end_of_chunk(done)
        assert done < end <= min(steps, done + per_call)
        assert not any(done < due < end for due in range(0, steps, sample))
        assert not any(done < due < end for due in range(0, steps, checkpoint))
        lengths.add(end - done)
        done = end
    assert done == steps


@pytest.mark.parametrize("steps_per_chunk", [1, 8, 60])
def test_steps_per_chunk_do_not_change_the_state(model, dataset, steps_per_chunk):
    plan = {"sample_every": 60, "checkpoint_every": 60}
    expected = run(model, dataset, **plan)
    found = run(model, dataset, steps_per_chunk=steps_per_chunk, **plan)
    assert tree_sha256(found[-1].snapshot.state) == tree_sha256(expected[-1].snapshot.state)
    for name in expected[0].metrics._fields:
        joined = [
            np.concatenate([getattr(c.metrics, name) for c in cs]) for cs in (found, expected)
        ]
        np.testing.assert_array_equal(*joined)


def test_resumed_run_is_identical(model, dataset):
    expected = run(model, dataset)
    first = run(model, dataset, steps=33)
    rest = run(model, dataset, state=first[-1].snapshot.state)
    assert rest[0].first == 34
    assert tree_sha256(rest[-1].snapshot.state) == tree_sha256(expected[-1].snapshot.state)


def test_images_and_snapshots_are_made_at_due_steps(model, dataset):
    found = run(model, dataset)
    assert [chunk.last for chunk in found if chunk.images is not None] == [30, 60]
    assert [chunk.last for chunk in found if chunk.snapshot is not None] == [40, 60]
    state = found[-1].snapshot.state
    assert int(state.step) == 60
    np.testing.assert_allclose(found[-1].images, model.sample(KEY, state, 9), atol=1e-6)


def test_snapshots_are_copies(model, dataset):
    """The next chunk must not overwrite a state that is still being saved."""
    digests = []
    for chunk in run(model, dataset, steps=80):
        if chunk.snapshot is not None:
            digests.append((chunk.last, tree_sha256(chunk.snapshot.state)))
    alone = [
        (last, tree_sha256(run(model, dataset, steps=last)[-1].snapshot.state)) for last in (40, 80)
    ]
    assert digests == alone


def test_stopping_finishes_the_current_chunk(model, dataset):
    asked = []

    def stopping():
        asked.append(None)
        return len(asked) > 2

    found = run(model, dataset, should_stop=stopping)
    assert [chunk.last for chunk in found] == [20, 30]
    state = found[-1].snapshot.state
    assert int(state.step) == 30
    rest = run(model, dataset, state=state)
    assert tree_sha256(rest[-1].snapshot.state) == tree_sha256(
        run(model, dataset)[-1].snapshot.state
    )


LAYOUTS = {
    "one device": ALONE,
    "four devices": Layout(None, tuple(jax.devices()[:4])),
    "four seeds": Layout(4),
    "four seeds on two devices": Layout(4, tuple(jax.devices()[:2])),
}


@pytest.mark.parametrize("where", LAYOUTS.values(), ids=LAYOUTS)
def test_step_is_traced_once_per_chunk_length(model, dataset, where):
    traces = []

    def step(key, state, batch):
        traces.append(None)
        return model.step(key, state, batch)

    plan = {"steps": 200, "sample_every": 100, "checkpoint_every": 100}
    run(model._replace(step=step), dataset, where=where, **plan)
    assert len(traces) == 1


def test_one_of_several_seeds_equals_that_seed_alone(model, dataset):
    where = Layout(4)
    seeds = make_keys(2**32 - 4, where)
    states = jax.jit(jax.vmap(model.init))(seeds)
    train = scan_steps(model, 8, 3)
    found = jax.jit(over_members(train))(seeds, states, dataset)
    for k in (0, 3):
        key = jax.random.key(2**32 - 4 + k)
        expected = jax.jit(train)(key, jax.jit(model.init)(key), dataset)
        assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], found), expected)


def test_seeds_on_several_devices_equal_seeds_on_one(model, dataset):
    found, expected = (
        run(model, dataset, where=where, steps=3)
        for where in (Layout(4), LAYOUTS["four seeds on two devices"])
    )
    assert_close(found[-1].snapshot.state, expected[-1].snapshot.state)
    assert found[-1].images.shape == expected[-1].images.shape == (4, 9, 4, 4, 1)
    np.testing.assert_allclose(found[-1].images, expected[-1].images, atol=1e-3)


def test_run_resumes_on_another_number_of_devices(model, dataset):
    expected = run(model, dataset, steps=6)[-1].snapshot.state
    state = None
    for steps, where in ((2, "four devices"), (4, "one device"), (6, "four devices")):
        state = run(model, dataset, state, where=LAYOUTS[where], steps=steps)[-1].snapshot.state
        state = jax.tree.map(np.asarray, state)  # As restored from a checkpoint.
    assert int(state.step) == 6
    assert_close(state, expected)


def make_diverging(model, seed: int, where: str):
    """Returns a GAN whose results for one seed are not finite from the third step on."""

    def step(key, state, batch):
        new, metrics = model.step(key, state, batch)
        bad = (jax.random.key_data(key)[1] == seed) & (new.step >= 3)
        poison = jnp.where(bad, jnp.inf, 0)
        if where == "metrics":
            return new, metrics._replace(d_loss=metrics.d_loss + poison)
        ema = jax.tree.map(lambda leaf: leaf + poison, new.ema)
        return new._replace(ema=ema), metrics

    return model._replace(step=step)


@pytest.fixture(scope="module")
def healthy(model, dataset) -> list[GANState]:
    """The states of three seeds after each of five steps."""
    made = run(model, dataset, where=Layout(3), steps=5, steps_per_chunk=1, checkpoint_every=1)
    return [chunk.snapshot.state for chunk in made]


@pytest.mark.parametrize(("where", "steps_per_chunk"), [("metrics", 1), ("state", 5)])
def test_diverged_seed_is_frozen_and_the_others_continue(
    model, dataset, healthy, where, steps_per_chunk
):
    sick = make_diverging(model, 6, where)
    last = run(sick, dataset, where=Layout(3), steps=5, steps_per_chunk=steps_per_chunk)[-1]
    np.testing.assert_array_equal(last.taken, [5, 2, 5])
    state = last.snapshot.state
    for path, leaf in leaves_by_path(state).items():
        assert np.isfinite(leaf).all()
        for k, expected in ((0, healthy[4]), (1, healthy[1]), (2, healthy[4])):
            np.testing.assert_array_equal(leaf[k], leaves_by_path(expected)[path][k], err_msg=path)


def test_freezing_does_not_change_finite_steps(model, dataset):
    state = jax.jit(model.init)(KEY)
    found, expected = (
        jax.jit(scan_steps(each, 8, 2))(KEY, state, dataset)
        for each in (freeze_where_diverged(model), model)
    )
    assert_close(found, expected)


def test_invalid_layouts_are_rejected():
    assert make_layout(None, "all", 64) == Layout(None, tuple(jax.devices()))
    assert make_layout(6, 3, 64) == Layout(6, tuple(jax.devices()[:3]))
    for arguments, words in (
        ((1, 9, 64), "--devices 9: there are 8 here"),
        ((None, 3, 64), "--batch-size 64 cannot be divided among 3 devices"),
        ((6, 4, 64), "6 members .* cannot be divided among 4 devices"),
    ):
        with pytest.raises(UsageError, match=words):
            make_layout(*arguments)


def test_default_steps_per_chunk_decrease_with_step_cost(dataset):
    def default(width, batch_size):
        model = gan(Generator((4, 4, 1), (width,)), Discriminator((width,)))
        state = model.init(KEY)
        program = make_program(model, Layout(), batch_size, num_samples=1)
        return default_steps_per_chunk(program, (KEY, state, dataset))

    small, large = default(8, 8), default(8192, 50)
    assert small == max(LENGTHS)
    assert large in LENGTHS
    assert large < small


def test_operation_count_includes_every_scan_step(dataset):
    def count(d_steps, length):
        model = gan(Generator((4, 4, 1), (64,)), Discriminator((64,)), d_steps=d_steps)
        train = scan_steps(model, 8 * d_steps, length)
        state = jax.eval_shape(model.init, KEY)
        return count_operations(jax.make_jaxpr(train)(KEY, state, dataset).jaxpr)

    two = count(1, 2)
    assert count(1, 14) == 7 * two
    assert count(5, 2) > 2.5 * two


def test_matmul_counts_two_operations_per_term():
    product = jax.make_jaxpr(lambda a, b: a @ b)(jnp.ones((3, 4)), jnp.ones((4, 5)))
    assert count_operations(product.jaxpr) == 2 * 3 * 4 * 5


def test_key_implementation_is_preserved_on_several_devices(model, dataset):
    where = Layout(2, tuple(jax.devices()[:2]))
    seeds = jax.vmap(lambda seed: jax.random.key(seed, impl="rbg"))(jnp.arange(2))
    states = jax.jit(jax.vmap(model.init))(seeds)
    placed, _, _ = where.place(seeds, states, dataset)
    assert jax.random.key_impl(placed) == jax.random.key_impl(seeds)


def test_compiler_options_apply_to_one_and_several_devices(model, dataset, monkeypatch):
    for module in (layouts, transforms):
        monkeypatch.setattr(module, "COMPILER_OPTIONS", {"cpu": {"xla_no_such_option": True}})
    for devices in (1, 2):
        layout = make_layout(None, devices, 8)
        key = make_keys(0, layout)
        arguments = layout.place(key, model.init(key), dataset)
        with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
            layout.compile_steps(model, 8, 2)(*arguments)
