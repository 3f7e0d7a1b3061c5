from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.checkpoint import sha256
from jaxgan.data.arrays import Images
from jaxgan.gan import gan
from jaxgan.loops import LENGTHS, Layout, Plan, calls, default_steps_per_call
from jaxgan.networks.mlp import Discriminator, Generator

KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), np.uint8)
    return Images(jnp.asarray(images), "test", "")


@pytest.fixture(scope="module")
def model():
    return gan(Generator((4, 4, 1), (8,)), Discriminator((8,)), latent_size=3)


def run(model, dataset, state=None, stopping=lambda: False, **plan):
    state = model.init(KEY) if state is None else state
    plan = Plan(
        **{"begin": int(state.step), "steps": 60, "steps_per_call": 20, "sample_every": 30, "checkpoint_every": 40, **plan}
    )
    sample = jax.jit(partial(model.sample, num_samples=9))
    return list(calls(model, Layout(), KEY, state, dataset, 8, sample, plan, stopping))


@given(st.integers(1, 500), *[st.integers(1, 100)] * 3)
def test_calls_cover_the_run_and_stop_where_something_is_due(steps, per_call, sample, checkpoint):
    plan, done, lengths = Plan(0, steps, per_call, sample, checkpoint), 0, set()
    while done < steps:
        end = plan.end_of_call(done)
        assert done < end <= min(steps, done + per_call)
        assert not any(done < due < end for due in range(0, steps, sample))
        assert not any(done < due < end for due in range(0, steps, checkpoint))
        lengths.add(end - done)
        done = end
    assert done == steps


@pytest.mark.parametrize("steps_per_call", [1, 7, 60])
def test_the_steps_per_call_do_not_change_the_state(model, dataset, steps_per_call):
    expected = run(model, dataset)
    found = run(model, dataset, steps_per_call=steps_per_call)
    assert sha256(found[-1].snapshot[0]) == sha256(expected[-1].snapshot[0])
    for name in expected[0].metrics._fields:
        joined = [
            np.concatenate([getattr(c.metrics, name) for c in cs]) for cs in (found, expected)
        ]
        np.testing.assert_array_equal(*joined)


def test_a_run_continues_exactly_from_any_state(model, dataset):
    expected = run(model, dataset)
    first = run(model, dataset, steps=33)
    rest = run(model, dataset, state=first[-1].snapshot[0])
    assert rest[0].first == 34
    assert sha256(rest[-1].snapshot[0]) == sha256(expected[-1].snapshot[0])


def test_pictures_and_snapshots_come_when_they_are_due(model, dataset):
    found = run(model, dataset)
    assert [call.last for call in found if call.images is not None] == [30, 60]
    assert [call.last for call in found if call.snapshot is not None] == [40, 60]
    state = found[-1].snapshot[0]
    assert int(state.step) == 60
    np.testing.assert_allclose(found[-1].images, model.sample(KEY, state, 9), atol=1e-6)


def test_snapshots_are_copies(model, dataset):
    """A state on its way to the disk must not be what the next call overwrites."""
    digests = []
    for call in run(model, dataset, steps=80):
        if call.snapshot is not None:
            digests.append((call.last, sha256(call.snapshot[0])))
    alone = [(last, sha256(run(model, dataset, steps=last)[-1].snapshot[0])) for last in (40, 80)]
    assert digests == alone


def test_stopping_ends_with_the_call_under_way(model, dataset):
    asked = []

    def stopping():
        asked.append(None)
        return len(asked) > 2

    found = run(model, dataset, stopping=stopping)
    assert [call.last for call in found] == [20, 30]
    state = found[-1].snapshot[0]
    assert int(state.step) == 30
    rest = run(model, dataset, state=state)
    assert sha256(rest[-1].snapshot[0]) == sha256(run(model, dataset)[-1].snapshot[0])


def test_the_step_is_traced_once_per_length_of_call(model, dataset):
    traces = []

    def step(key, state, batch):
        traces.append(None)
        return model.step(key, state, batch)

    run(model._replace(step=step), dataset, steps=200, sample_every=100, checkpoint_every=100)
    assert len(traces) == 1


def test_default_length_of_a_call_falls_with_the_cost_of_a_step(dataset):
    def default(width, batch_size):
        model = gan(Generator((4, 4, 1), (width,)), Discriminator((width,)))
        state = model.init(KEY)
        return default_steps_per_call(model, Layout(), KEY, state, dataset, batch_size)

    small, large = default(8, 8), default(8192, 50)
    assert small == max(LENGTHS)
    assert large in LENGTHS
    assert large < small
