"""The README's Python examples run; its flags, metrics and contracts match the code."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import (
    board,
    classify,
    evaluate,
    export,
    interpolate,
    invert,
    report,
    sample,
    train,
    verify,
)
from jaxgan.data import load
from jaxgan.gan import gan
from jaxgan.metrics import METRICS
from jaxgan.networks import mlp
from jaxgan.runs.config import Config

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_export_example(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("runs/mnist-dcgan-0")
    train.main(Config(dataset="digits", network="dcgan", width=4, batch_size=8, steps=1, out=run))
    export.main(export.Config(run, format="stablehlo"))
    names: dict = {}
    exec(blocks[0], names)
    assert names["samples"].shape == (16, 28, 28, 1)
    assert np.abs(names["samples"]).max() <= 1


def test_python_example(blocks):
    assert len(blocks[1].strip().splitlines()) == 12
    names: dict = {}
    exec(blocks[1], names)
    images = names["images"]
    assert images.shape == (16, 28, 28, 1)
    assert int(names["state"].step) == 300
    fresh = names["model"].sample(names["key"], names["model"].init(names["key"]), 16)
    # Pixels are gray before training; after it, the edges are black.
    assert images[:, :2].mean() < fresh[:, :2].mean() - 0.2


def test_seeds_example(blocks):
    digits, _ = load("digits")
    model = gan(*mlp(digits.shape), ema_decay=0.99)
    names = {"jax": jax, "model": model, "digits": digits, "key": jax.random.key(0)}
    exec(blocks[2].replace("300", "3").replace("8)", "2)"), names)
    assert names["metrics"].d_loss.shape == (2, 3)
    assert names["states"].step.tolist() == [3, 3]


def test_generator_example(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train.main(Config(dataset="digits", batch_size=8, steps=10))
    names = {"jax": jax}
    exec(blocks[3], names)
    assert names["images"].shape == (64, 28, 28, 1)
    assert np.isfinite(names["images"]).all()


def test_loss_example(blocks):
    names: dict = {}
    exec(blocks[4], names)
    model = gan(*mlp((4, 4, 1), width=8), loss=names["pearson"]())
    key = jax.random.key(0)
    _, metrics = jax.jit(model.step)(key, model.init(key), np.zeros((8, 4, 4, 1), np.float32))
    assert np.isfinite(metrics).all()


def test_every_metric_is_explained():
    text = README[README.index("## Evaluation") :]
    for metric in METRICS:
        title = metric.title.removesuffix(" x 1000")
        assert title in text, title


def test_every_contract_has_a_test():
    numbers = re.findall(r"^(\d+)\. ", README[README.index("## Contracts") :], re.MULTILINE)
    contracts = Path(__file__).with_name("test_contracts.py").read_text()
    tested = set(re.findall(r"^def test_(\d+)_", contracts, re.MULTILINE))
    assert numbers == [str(i) for i in range(1, len(numbers) + 1)]
    assert set(numbers) == tested


def test_flags_exist():
    commands = board, classify, evaluate, export, interpolate, invert, report, sample, verify
    settings = Config, *(command.Config for command in commands)
    names = {name.rstrip("_") for of in settings for name in of.__dataclass_fields__}
    known = {"--" + name.replace("_", "-") for name in names} | {"--help", "--recipes"}
    # In a table of three columns, the second one has the flags of other programs.
    text = re.sub(r"^(\|[^|\n]*\|)[^|\n]*(\|[^|\n]*\|)$", r"\1\2", README, flags=re.MULTILINE)
    assert set(re.findall(r"--[a-z][a-z0-9-]+(?<!-)", text)) <= known
