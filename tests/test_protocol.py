"""The protocols of the kinds of data, and the samples that are compared."""

import jax
import numpy as np
import pytest
from helpers import read_metrics
from PIL import Image

from jaxgan import data, evaluate, train
from jaxgan.errors import UsageError
from jaxgan.evaluation import samples, stacked
from jaxgan.evaluation.classifier_files import MNIST, load
from jaxgan.evaluation.images import crop
from jaxgan.evaluation.protocol import remark_on_few_samples
from jaxgan.metrics.classes import kl_divergence
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run

pytestmark = pytest.mark.usefixtures("fast_evaluation")


def test_mixtures_are_evaluated_by_modes(tmp_path):
    out = tmp_path / "run"
    config = Config(dataset="grid", width=8, steps=10, batch_size=8, evaluate_every=5, out=out)
    train.main(config)
    assert [
        row["step"] for row in read_metrics(out) if {"modes", "high_quality"} <= row.keys()
    ] == [5, 10]
    (result,) = evaluate.main(evaluate.Config((out,), samples=2500, repeats=2)).values()
    real = result["real"]
    assert (real["modes"], result["protocol"]["samples"]) == (25, 2500)
    np.testing.assert_allclose(real["high_quality"], 0.989, atol=0.01)
    np.testing.assert_allclose(real["covariance_ratio"], 1, atol=0.1)
    assert result["mean"]["modes"] < 25


def test_stacked_digits_are_evaluated_by_channel(tmp_path, mnist_dir, monkeypatch):
    monkeypatch.setattr(stacked, "SAMPLES", 3_000)
    out = tmp_path / "run"
    train.main(
        Config(
            dataset="stacked_mnist",
            data_dir=mnist_dir,
            image_size=32,
            width=8,
            steps=2,
            batch_size=8,
            out=out,
        )
    )
    (result,) = evaluate.main(evaluate.Config((out,), samples=500, repeats=1)).values()
    assert result["protocol"]["digest"] == load(MNIST).digest
    real = result["real"]
    # About 1,000 exp(-3) modes do not occur among 3,000 triples.
    assert 930 < real["modes"] < 970
    np.testing.assert_allclose(real["floor"], 999 / 6_000 + 0.0043, atol=1e-3)
    np.testing.assert_allclose(real["kl_data"], 999 / 6_000, atol=0.03)
    assert abs(real["kl_corrected"]) < 0.05
    assert result["mean"]["modes"] < 100
    assert result["mean"]["fid"] > 100 * real["fid"]


def test_crop_removes_the_border():
    images = np.arange(2 * 6 * 6).reshape(2, 6, 6, 1)
    np.testing.assert_array_equal(crop(images, (4, 2, 1)), images[:, 1:5, 2:4])
    with pytest.raises(UsageError, match="cannot be compared"):
        crop(images, (8, 8, 1))
    with pytest.raises(UsageError, match="cannot be compared"):
        crop(images, (4, 4, 3))


def write_image_folder(path, counts):
    """Writes a folder of digits with `counts[k]` images of class k, and returns it."""
    digits, _ = data.load("digits")
    labels = np.asarray(digits.labels)
    for label, count in enumerate(counts):
        (path / str(label)).mkdir(parents=True)
        for i, image in enumerate(np.asarray(digits.images)[labels == label][:count]):
            Image.fromarray(image[..., 0]).save(path / str(label) / f"{i}.png")
    return path


def test_requested_classes_follow_the_data(tmp_path):
    """A generator that always returns the requested class has almost no class divergence."""
    train, _ = data.load(
        None, data_file=write_image_folder(tmp_path / "unequal", (162, 18)), split=None
    )
    run = describe_run(Config(conditional=True), train)
    asked = samples.request_classes(run, train, jax.random.key(0), 4000)
    assert kl_divergence(np.bincount(asked, minlength=2), np.bincount(train.labels)) < 0.002


def test_samples_have_the_requested_classes():
    asked = np.arange(230) % 10
    drawn = samples.draw_samples(
        lambda key, count, labels: np.asarray(labels, float), jax.random.key(0), 230, asked
    )
    np.testing.assert_array_equal(drawn, asked)
    run = describe_run(Config(), data.load("ring")[0])
    assert samples.request_classes(run, None, jax.random.key(0), 3) is None


def test_few_samples_are_reported():
    """Depending on the number of features and on the size of KID's subsets."""
    assert remark_on_few_samples(10_000, 32) == []
    (kid,) = remark_on_few_samples(999, 32)
    assert kid.startswith("KID of 999 samples is a single estimate, not a mean over subsets")
    fid, kid = remark_on_few_samples(33, 32)
    assert fid.startswith("FID of 33 samples with 32 features is biased upwards")
    (fid,) = remark_on_few_samples(10_000, 2048)
    assert fid.startswith("FID of 10,000 samples with 2,048 features")
