"""Options of the train command: their results in the run directory, and invalid options."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from jaxgan import data, train
from jaxgan.data import from_arrays, load
from jaxgan.errors import UsageError
from jaxgan.keys import key_of_seed
from jaxgan.runs import build, build_optimizers
from jaxgan.runs.config import Config
from jaxgan.runs.generators import load_generator
from jaxgan.runs.plots import PADDING

SMALL = Config(
    dataset="digits",
    network="dcgan",
    width=4,
    batch_size=8,
    latent_size=8,
    steps=4,
    steps_per_call=2,
    sample_every=2,
    checkpoint_every=2,
    log_every=1,
    conditional=True,
    pack=2,
    loss="wasserstein",
    clip_weights=0.05,
    augment=("translation",),
    d_steps=2,
    burn_in=32,
    final_learning_rate=1e-5,
    final_beta2=0.9,
    ema_burn_in=True,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("options") / "run"
    train.main(dataclasses.replace(SMALL, out=out))
    return out


def read(path):
    return json.loads(path.read_text())


def test_run_with_many_options_resumes_exactly(finished, tmp_path):
    out = tmp_path / "run"
    for steps in (3, 4):
        train.main(dataclasses.replace(SMALL, out=out, steps=steps))
    digest = lambda path: read(path / "summary.json")["state_sha256"]
    assert digest(out) == digest(finished)
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match=r"augment is \['translation'\] there and \[\] now"):
        train.main(dataclasses.replace(SMALL, out=out, augment=()))


def test_parameter_counts_are_in_the_description(finished):
    description = read(finished / "config.json")
    # 2 x 8 latents and embedding; 7x7x8, 14x14x4, 28x28x1; ten embeddings of 8.
    generator = 16 * 7 * 7 * 8 + 2 * 8 + 16 * 8 * 4 + 2 * 4 + 16 * 4 + 1 + 10 * 8
    # Two channels for two images; a linear layer and ten embeddings of 7x7x8.
    discriminator = 16 * 2 * 4 + 4 + 16 * 4 * 8 + 2 * 8 + 392 + 1 + 10 * 392
    expected = {"generator": generator, "discriminator": discriminator}
    assert description["parameters"] == expected
    assert description["dataset"]["num_classes"] == 10


def test_sample_images_have_a_column_per_class(finished):
    with Image.open(finished / "samples" / "000000004.png") as picture:
        assert picture.size == (10 * 30 + PADDING, 6 * 30 + PADDING)


def test_saved_generator_samples_by_class(finished):
    sample = load_generator(finished / "generator")
    key = jax.random.key(1)
    threes = sample(key, 4, 3)
    np.testing.assert_array_equal(threes, sample(key, 4, [3, 3, 3, 3]))
    assert not np.array_equal(threes, sample(key, 4, 5))
    round_and_round = sample(key, 4)
    np.testing.assert_array_equal(round_and_round, sample(key, 4, [0, 1, 2, 3]))
    with pytest.raises(UsageError, match="at least 0 and below 10"):
        sample(key, 4, 10)


def test_clip_weights_applies_to_the_discriminator_only(finished):
    dataset = data.load("digits")[0]
    model = build.build_gan(SMALL, dataset)
    state = jax.jit(model.init)(jax.random.key(0))
    batch = dataset.batch(jax.random.key(0), 0, 16)
    state, _ = jax.jit(model.step)(jax.random.key(0), state, batch)
    limit = 0.05 * (1 + 1e-5)
    assert all(np.abs(leaf).max() <= limit for leaf in jax.tree.leaves(state.discriminator.params))
    assert any(np.abs(leaf).max() > 0.5 for leaf in jax.tree.leaves(state.generator.params))


def test_burn_in_is_counted_in_images_for_both_networks():
    config = dataclasses.replace(SMALL, r1=2.0, final_penalty=0.5)
    rate = build_optimizers.make_schedule(config, 1e-3, 1e-4)
    d_rate = build_optimizers.make_schedule(config, 1e-3, 1e-4, updates_per_step=2)
    # 32 images are two steps of 2 x 8 images, with four discriminator updates.
    for step, share in ((0, 0.0), (1, 0.5), (2, 1.0), (9, 1.0)):
        expected = 1e-3 + share * (1e-4 - 1e-3)
        np.testing.assert_allclose((rate(step), d_rate(2 * step)), expected, rtol=1e-5)
    assert build_optimizers.make_schedule(config, 1e-3, None) == 1e-3
    linear = build_optimizers.make_schedule(
        dataclasses.replace(config, schedule="linear", burn_in=64), 1.0, 0.0
    )
    np.testing.assert_allclose([linear(step) for step in range(5)], [1, 0.75, 0.5, 0.25, 0])
    none = dataclasses.replace(config, ema_half_life=0)
    assert build_optimizers.build_ema_decay(none, none) == 0
    config = dataclasses.replace(config, ema_half_life=160.0, ema_warm_up=0.0)
    decay = build_optimizers.build_ema_decay(config, config)
    np.testing.assert_allclose(
        [decay(step) for step in (0, 1, 2)], [0, 0.5**0.2, 0.5**0.1], rtol=1e-4
    )


def test_flags_are_passed_to_the_optimizers(monkeypatch):
    seen = []
    make = lambda *args: seen.append(args) or optax.sgd(1.0)
    monkeypatch.setattr(build_optimizers, "make_optimizer", make)
    config = Config(learning_rate=3e-4, beta1=0.1, beta2=0.9, weight_decay=0.2)
    build_optimizers.build_optimizers(config, config)
    assert seen == [("adam", 3e-4, 0.1, 0.9, 0.2)] * 2
    seen.clear()
    own = {"g_learning_rate": 1e-4, "g_beta1": 0.0, "d_beta2": 0.5, "d_beta1": 0.7}
    config = Config(learning_rate=3e-4, beta2=0.9, optimizer="lion", **own)
    build_optimizers.build_optimizers(config, config)
    assert seen == [("lion", 1e-4, 0.0, 0.9, 0.0), ("lion", 3e-4, 0.7, 0.5, 0.0)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": ("colour",)}, "unknown value 'colour' of --augment; known: flip, color"),
        ({"schedule": "steps"}, "unknown value 'steps' of --schedule; known: cosine, linear"),
        ({"network": "vgg"}, "unknown value 'vgg' of --network; known: mlp, dcgan, resnet, sagan"),
        ({"loss": "lsgan"}, "unknown value 'lsgan' of --loss; known: minimax"),
        ({"dataset": "ring", "augment": ()}, "--network dcgan needs images"),
        ({"dataset": "ring", "network": "mlp"}, "--augment needs images"),
        ({"image_size": 30}, "like 28 or 32, not 30 x 30: see --image-size"),
        ({"devices": 8}, "--batch-size 8 cannot be divided among 8 devices.* of 16"),
        ({"data_file": "x.npy"}, "exclude each other"),
        ({"dataset": "mnist", "stacked_images": 5, "data_dir": "."}, "stacked_mnist"),
    ],
)
def test_invalid_options_are_rejected_in_one_line(settings, words, tmp_path):
    with pytest.raises(UsageError, match=words) as refused:
        train.main(dataclasses.replace(SMALL, out=tmp_path / "run", **settings))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_conditional_gan_requires_labels(tmp_path):
    images = np.zeros((20, 8, 8), np.uint8)
    with pytest.raises(UsageError, match="--conditional needs labels, and mine has none"):
        build.build_gan(SMALL, from_arrays(images, name="mine"))


def test_training_on_the_users_images(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "mine.npy", rng.integers(0, 256, (20, 8, 8), np.uint8))
    config = Config(
        data_file=tmp_path / "mine.npy", width=8, batch_size=4, steps=2, out=tmp_path / "run"
    )
    assert train.main(config)["steps"] == 2
    assert read(tmp_path / "run" / "config.json")["dataset"]["name"] == "mine"
    moved = tmp_path / "elsewhere" / "mine.npy"
    moved.parent.mkdir()
    (tmp_path / "mine.npy").rename(moved)
    assert train.main(dataclasses.replace(config, data_file=moved, steps=3))["steps"] == 3


def test_penalties_disable_batch_norm_in_the_discriminator(tmp_path, capsys):
    """The header reports it, but not without a penalty or for networks without batch norm."""
    words = "dcgan (no batch norm in the discriminator, whose gradients are penalized)"
    settings = {"dataset": "digits", "network": "dcgan", "width": 4, "batch_size": 4}
    config = Config(**settings, r1=1.0, steps=2, out=tmp_path / "run")
    assert np.isfinite(list(train.main(config)["final"].values())).all()
    assert words in capsys.readouterr().out
    digits, _ = load("digits")
    assert build.describe_changes(config, digits) == words[len("dcgan (") : -1]
    assert build.describe_changes(dataclasses.replace(config, r1=0.0), digits) == ""
    assert build.describe_changes(dataclasses.replace(config, network="mlp"), digits) == ""
    for penalty in ("r1", "r2", "gradient_penalty", "dragan"):
        model = build.build_gan(Config(**settings, **{penalty: 1.0}), digits)
        assert jax.eval_shape(model.init, key_of_seed(0)).discriminator.stats == {}
