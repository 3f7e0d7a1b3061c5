"""Saving and loading of generators."""

import json

import jax
import numpy as np
import pytest

from jaxgan.data import from_arrays
from jaxgan.errors import RunError, UsageError
from jaxgan.gan import gan
from jaxgan.networks import NETWORKS
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.generator_files import save_generator
from jaxgan.runs.generators import load_generator

KEY = jax.random.key(0)


@pytest.mark.parametrize("conditional", [False, True])
def test_saved_generator_samples_match_the_gan(tmp_path, conditional):
    shape = (5, 4, 1)
    num_classes = 3 if conditional else None
    networks = NETWORKS["mlp"](shape, width=8, num_classes=num_classes)
    model = gan(*networks, latent_size=7, num_classes=num_classes)
    state = model.init(KEY)
    state = state._replace(ema=jax.tree.map(lambda x: x + 0.1, state.ema))
    config = Config(network="mlp", latent_size=7, width=8, conditional=conditional)
    images = np.zeros((3, *shape), np.uint8)
    description = describe_run(config, from_arrays(images, [0, 1, 2]))
    save_generator(tmp_path / "generator", model.averaged(KEY, state), {"step": 3}, description)
    sample = load_generator(tmp_path / "generator")
    np.testing.assert_array_equal(sample(KEY, 6), model.sample(KEY, state, 6))
    if conditional:
        np.testing.assert_array_equal(sample(KEY, 6, 2), model.sample(KEY, state, 6, 2))
        for labels in (3, [0, 1, 2, -1, 0, 0]):
            with pytest.raises(UsageError, match="below 3"):
                sample(KEY, 6, labels)
    else:
        with pytest.raises(UsageError, match="not conditional"):
            sample(KEY, 6, 2)
    (tmp_path / "generator" / "weights.safetensors").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(RunError, match="no generator"):
        load_generator(tmp_path / "generator")
    with pytest.raises(RunError, match="no generator"):
        load_generator(tmp_path / "nowhere")


def test_generators_of_earlier_versions_are_loaded(tmp_path):
    """Their weights are a NumPy archive, and their description lacks settings added since."""
    model = gan(*NETWORKS["mlp"]((5, 4, 1), width=8), latent_size=7)
    state = model.init(KEY)
    images = np.zeros((3, 5, 4), np.uint8)
    config = Config(network="mlp", latent_size=7, width=8)
    save_generator(
        tmp_path, model.averaged(KEY, state), {"step": 3}, describe_run(config, from_arrays(images))
    )
    flat = {}
    for layer, leaves in state.ema.items():
        flat |= {f"params.{layer}.{name}": np.asarray(leaf) for name, leaf in leaves.items()}
    (tmp_path / "weights.safetensors").unlink()
    np.savez(tmp_path / "weights.npz", **flat)
    about = json.loads((tmp_path / "generator.json").read_text())
    for name in ("seeds", "pack", "augment", "evaluate_every"):
        del about["config"][name]
    del about["environment"], about["environments"], about["parameters"]
    (tmp_path / "generator.json").write_text(json.dumps(about))
    found = load_generator(tmp_path)(KEY, 6)
    np.testing.assert_array_equal(found, model.sample(KEY, state, 6))
