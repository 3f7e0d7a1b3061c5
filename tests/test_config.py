import contextlib
import dataclasses
import io
from pathlib import Path
from typing import get_args, get_type_hints

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import losses
from jaxgan.augment import AUGMENTATIONS, OF_ADA
from jaxgan.command import parse_arguments
from jaxgan.data import DATASETS
from jaxgan.errors import UsageError
from jaxgan.losses import LOSSES
from jaxgan.networks import NETWORKS
from jaxgan.networks.norms import NORMS
from jaxgan.optimizers import OPTIMIZERS
from jaxgan.runs import build_optimizers
from jaxgan.runs.config import BOOKKEEPING, GROUPS, Config, check_config
from jaxgan.runs.method_checks import GRADIENT_PENALTIES
from jaxgan.schedules import SCHEDULES


@pytest.fixture(scope="module")
def help_text() -> str:
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        pytest.raises(SystemExit) as end,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr("sys.argv", ["train", "--help"])
        parse_arguments(Config, "python -m jaxgan.train", GROUPS)
    assert end.value.code == 0
    return out.getvalue()


def test_help_names_every_setting_and_every_choice(help_text):
    for field in dataclasses.fields(Config):
        assert f"--{field.name.replace('_', '-')}" in help_text or field.name == "axes"
    for name in (*DATASETS, *LOSSES, *NETWORKS, *NORMS, *OPTIMIZERS):
        assert name in help_text
    for title, group in GROUPS.items():
        assert f"{title} options" in help_text
        assert group.__doc__ in help_text


def test_every_setting_is_in_one_group():
    names = [field.name for group in GROUPS.values() for field in dataclasses.fields(group)]
    assert [*names, "axes"] == [field.name for field in dataclasses.fields(Config)]


def test_gradient_penalties_are_those_of_the_losses():
    assert {*GRADIENT_PENALTIES} == losses.GRADIENT_PENALTIES


@pytest.mark.parametrize(
    ("name", "table"),
    {
        "dataset": DATASETS,
        "network": NETWORKS,
        "loss": LOSSES,
        "schedule": SCHEDULES,
        "augment": AUGMENTATIONS | OF_ADA,
        "consistency_augment": AUGMENTATIONS | OF_ADA,
        "g_norm": NORMS,
        "d_norm": NORMS,
        "optimizer": OPTIMIZERS,
    }.items(),
)
def test_choices_match_the_tables(name, table):
    hint = get_type_hints(Config)[name]
    while not all(isinstance(choice, str) for choice in get_args(hint)):
        hint = get_args(hint)[0]
    assert set(get_args(hint)) == set(table)
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"unknown value 'x' of {flag}; known: "):
        check_config(Config(**{name: ("x",) if name.endswith("augment") else "x"}))


def test_prepared_data_sets_are_named_with_a_prefix():
    for name in ("tfds:eurosat", "tfds:eurosat/rgb", "tfds:imagenet_resized/8x8", "tfds:a/b-c.1"):
        check_config(Config(dataset=name))
    known = ", ".join(DATASETS)
    expected = f"unknown value '.*' of --dataset; known: {known}, .*tfds:NAME or tfds:NAME/CONFIG"
    for name in ("minst", "tfds:", "tfds:a/", "tfds:../a", "tfds:a b", "tfds:a/b/c", "tfds:a/b\n"):
        with pytest.raises(UsageError, match=expected) as error:
            check_config(Config(dataset=name))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [("channels", 2, "1, 3"), ("data_in", "tape", "auto, memory, disk")],
)
def test_settings_of_data_have_choices(name, value, known):
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"^unknown value {value!r} of {flag}; known: {known}$"):
        check_config(Config(**{name: value}))


def test_command_line_is_parsed(monkeypatch):
    line = "train --steps 5 --augment color cutout --devices all --r1 0.5 --out runs/x"
    monkeypatch.setattr("sys.argv", line.split())
    expected = Config(steps=5, augment=("color", "cutout"), devices="all", r1=0.5, out="runs/x")
    assert parse_arguments(Config, "train", GROUPS) == expected
    line = "train --dataset tfds:eurosat/rgb --channels 1 --skip-broken --resize 32 --data-in disk"
    monkeypatch.setattr("sys.argv", line.split())
    expected = Config(
        dataset="tfds:eurosat/rgb", channels=1, skip_broken=True, resize=32, data_in="disk"
    )
    assert parse_arguments(Config, "train", GROUPS) == expected
    monkeypatch.setattr("sys.argv", ["train", "--loss", "bce"])
    with pytest.raises(
        UsageError, match="'bce'.*'hinge', 'least_squares', 'minimax'.*; see --help"
    ):
        parse_arguments(Config, "train", GROUPS)


def test_bookkeeping_lists_existing_settings():
    assert {field.name for field in dataclasses.fields(Config)} >= BOOKKEEPING
    assert "seed" not in BOOKKEEPING


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "steps": [0, -1, 2**31],
        "seed": [-1, 2**32],
        "seeds": [0, -2],
        "devices": [0],
        "batch_size": [0, -64],
        "latent_size": [0],
        "d_steps": [0],
        "steps_per_call": [0],
        "log_every": [0],
        "sample_every": [0],
        "checkpoint_every": [-1],
        "learning_rate": [0.0, -1.0, float("nan"), float("inf")],
        "beta1": [-0.1, 1.0, float("nan")],
        "beta2": [1.0],
        "ema_half_life": [-1.0, float("inf")],
        "ema_warm_up": [1.0, -0.5],
        "width": [0],
        "pack": [0],
        "image_size": [0],
        "resize": [0],
        "stacked_images": [0],
        "train_examples": [0],
        "r1": [-1.0, float("nan")],
        "r2": [float("inf")],
        "gradient_penalty": [-0.1],
        "dragan": [-0.1],
        "clip_weights": [-0.1],
        "final_penalty": [-0.1],
        "final_learning_rate": [0.0],
        "final_beta2": [1.0],
        "burn_in": [-1],
    }.items(),
)
def test_invalid_numbers_are_rejected_by_name(name, values):
    check_config(Config())
    for value in values:
        with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} {value}"):
            check_config(Config(**{name: value}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": 2**32 - 2, "seeds": 3}, "--seed 4294967294 plus --seeds 3"),
        ({"batch_size": 10, "pack": 4}, "--batch-size 10 must be a multiple of --pack 4"),
        ({"final_learning_rate": 1e-5}, "--final-learning-rate needs --burn-in"),
        ({"final_penalty": 0.1}, "--final-penalty needs --burn-in"),
        ({"ema_burn_in": True}, "--ema-burn-in needs --burn-in"),
        ({"coordinator": "a:1"}, "must be given together"),
        ({"num_processes": 2, "process_id": 0}, "must be given together"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "--coordinator a must be"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "--process-id 2"),
    ],
)
def test_conflicting_settings_are_rejected(settings, words):
    check_config(Config(seed=2**32 - 2, seeds=2, devices="all"))
    check_config(Config(coordinator="a:1", num_processes=2, process_id=1))
    with pytest.raises(UsageError, match=words):
        check_config(Config(**settings))


def test_paths_accept_strings_and_expand_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config(out="runs/x", data_dir="~/data", data_file=Path("~") / "mine.npy")
    assert config.out == Path("runs/x")
    assert config.data_dir == tmp_path / "data"
    assert config.data_file == tmp_path / "mine.npy"
    with pytest.raises(UsageError, match="no home directory"):
        Config(out="~nobody-of-this-name/run")


def test_paths_not_encodable_in_the_locale_are_rejected():
    """The path is an umlaut as decoded in a locale without UTF-8."""
    with pytest.raises(
        UsageError, match="cannot be the name of a file in this locale: set LC_ALL=C.UTF-8"
    ):
        Config(out="runs/\udcc3\udcbc")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"g_rotation": 0.2}, "--g-rotation needs --rotation"),
        ({"penalty_every": 16}, "--penalty-every needs a gradient penalty"),
        ({"path_length": 2.0}, "--path-length needs --network stylegan2"),
        ({"path_length_every": 2}, "--path-length-every needs --path-length"),
        ({"style_mixing": 0.0}, "--style-mixing needs --network stylegan2"),
        ({"augment_target": 0.6}, "--augment-target needs --augment or --pseudo-augmentation"),
        (
            {"augment_target": 0.6, "augment": ("flip",), "augment_probability": 0.5},
            "--augment-target excludes --augment-probability",
        ),
        (
            {"augment_target": 0.6, "augment": ("flip",), "loss": "relativistic"},
            "--augment-target needs a loss .*, not relativistic",
        ),
        ({"augment_images": 5}, "--augment-images needs --augment-target"),
        ({"pseudo_augmentation": True}, "--pseudo-augmentation needs --augment-target, or"),
        (
            {"pseudo_augmentation": True, "augment_target": 0.6, "loss": "relativistic"},
            "not relativistic",
        ),
        (
            {"pseudo_augmentation": True, "augment_probability": 0.5, "loss": "relativistic"},
            "--pseudo-augmentation excludes --loss relativistic",
        ),
        ({"rotation": 1.0, "pack": 2}, "--rotation, and .* need --pack 1"),
        ({"g_conditioning": "norm"}, "--g-conditioning needs --conditional"),
        ({"d_conditioning": "auxiliary_classifier"}, "--d-conditioning needs --conditional"),
        (
            {"g_conditioning": "norm", "conditional": True},
            "needs --g-norm batch, layer, instance or",
        ),
        ({"classification": 0.5, "conditional": True}, "--classification needs another"),
        ({"augment_probability": 0.5}, "--augment-probability .* need --augment"),
        ({"consistency": 10.0, "consistency_augment": ()}, "need --consistency-augment"),
        ({"latent_consistency": 1.0, "latent_noise": 0.0}, "needs a --latent-noise above 0"),
        ({"approximate_r1": 1.0, "precision": "bfloat16"}, "need --precision float32"),
        ({"approximate_r2": 1.0, "r2": 1.0}, "--r2 and --approximate-r2"),
        ({"final_top_k": 0.5}, "--final-top-k needs --burn-in"),
        ({"final_instance_noise": 0.0}, "--final-instance-noise needs --burn-in"),
        ({"decay_steps": 10, "steps": 11}, "--steps 11 is more than --decay-steps 10"),
        ({"top_k": 0.0}, "--top-k 0.0 must be above 0 and at most 1"),
        ({"augment_probability": 1.1}, "--augment-probability 1.1 must be at least 0 and at most"),
    ],
    ids=str,
)
def test_settings_that_others_exclude_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        check_config(Config(**settings))


def test_rates_of_each_player():
    """They change in proportion to the final rate, and without one they do not change."""
    settings = {
        "g_learning_rate": 1e-4,
        "d_learning_rate": 4e-4,
        "d_beta1": 0.0,
        "optimizer": "sgd",
    }
    gradient = {"w": jnp.ones(())}

    def rates(config):
        found = []
        for tx in build_optimizers.build_optimizers(config, config):
            state, moved = tx.init(gradient), []
            for _ in range(12):
                updates, state = tx.update(gradient, state, gradient)
                moved.append(-float(updates["w"]))
            found.append(moved)
        return found

    g, d = rates(Config(beta1=0.0, **settings))
    np.testing.assert_allclose(g, 1e-4, rtol=1e-6)
    np.testing.assert_allclose(d, 4e-4, rtol=1e-6)
    changing = {"burn_in": 10 * 64, "final_learning_rate": 5e-5, "schedule": "linear"}
    g, d = rates(Config(beta1=0.0, **settings, **changing))
    np.testing.assert_allclose((g[-1], d[-1]), (2.5e-5, 1e-4), rtol=1e-5)
    g, d = rates(Config(beta1=0.0, d_steps=2, decay_steps=5, steps=5, **settings))
    np.testing.assert_allclose(g[:6], 1e-4 * np.array([1, 0.8, 0.6, 0.4, 0.2, 0]), atol=1e-9)
    np.testing.assert_allclose(d[:11], 4e-4 * np.linspace(1, 0, 11), atol=1e-9)
