"""Metrics against independent implementations, closed forms and invariances."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgan.errors import UsageError
from jaxgan.metrics import BY_NAME, Comparison, compute_metrics
from jaxgan.metrics.classes import (
    class_accuracy,
    corrected_kl_divergence,
    count_classes,
    kl_divergence,
)
from jaxgan.metrics.fid import (
    Gaussian,
    fid,
    fid_from_statistics,
    fit_gaussian,
    frechet_distance,
    intra_fid,
)
from jaxgan.metrics.inception_score import inception_score, log_softmax, score_of_parts
from jaxgan.metrics.kid import kid, squared_mmd
from jaxgan.metrics.memorization import memorization
from jaxgan.metrics.modes import mixture_modes, stacked_modes
from jaxgan.metrics.prdc import (
    BLOCK,
    _blocks,
    _meetings,
    _nearest,
    _squared_distances,
    nearest_in,
    prdc,
    tolerance,
)

NO_FIDELITY = "torch-fidelity, or torchvision which it needs, is missing"


def random_features(seed=0, count=300, size=12, shift=0.3):
    """Returns correlated real and generated features with different distributions."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(size, size)) / 3
    real = rng.normal(size=(count, size)) @ mix
    return real, rng.normal(size=(count, size)) @ (mix + 0.1 * np.eye(size)) + shift


def test_frechet_distance_matches_scipy():
    real, fake = random_features()
    means = [x.mean(0) for x in (real, fake)]
    covariances = [np.cov(x, rowvar=False) for x in (real, fake)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    np.testing.assert_allclose(fid(real, fake), expected, rtol=1e-9)


def test_frechet_distance_of_known_gaussians():
    a = Gaussian(np.array([1.0, 2.0]), np.diag([4.0, 9.0]))
    b = Gaussian(np.array([0.0, 0.0]), np.diag([1.0, 16.0]))
    np.testing.assert_allclose(frechet_distance(a, b), 5 + (2 - 1) ** 2 + (3 - 4) ** 2)
    assert abs(frechet_distance(a, a)) < 1e-12
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(40_000, 2)) * np.sqrt(np.diag(g.covariance)) + g.mean for g in (a, b))
    np.testing.assert_allclose(fid(x, y), 7, rtol=0.03)


def test_frechet_distance_of_singular_covariances():
    """Features constant in one direction, for which a general matrix square root fails."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500, 3)) * [1, 1, 0]
    np.testing.assert_allclose(fid(x, y), fid(x[:, :2], y[:, :2]), atol=1e-12)


def test_frechet_distance_within_classes_is_the_mean_over_classes():
    rng = np.random.default_rng(0)
    labels, requested = rng.permutation(np.repeat([0, 1, 3], [40, 50, 60])), np.arange(150) % 3
    requested[requested == 2] = 3
    real = rng.normal(size=(150, 4)) + labels[:, None]
    fake = rng.normal(size=(150, 4)) + 2 * requested[:, None]
    expected = np.mean([fid(real[labels == k], fake[requested == k]) for k in (0, 1, 3)])
    np.testing.assert_allclose(intra_fid(real, labels, fake, requested), expected, rtol=1e-9)
    # A class all of whose samples are the same is no error.
    fake[requested == 3] = 5
    assert np.isfinite(intra_fid(real, labels, fake, requested))
    # There must be more samples than features, real and generated, in every class of either set.
    one_more = np.where(np.arange(150) == 7, 2, labels)
    assert np.isnan(intra_fid(real, one_more, fake, requested))
    assert np.isnan(intra_fid(real, labels, fake, np.where(np.arange(150) < 146, 0, 1)))
    scarce = Comparison(real=real[:20], real_labels=labels[:20], fake=fake, requested=requested)
    assert "intra_fid" not in compute_metrics(scarce)


def test_statistics_of_real_samples_suffice_for_the_frechet_distance():
    real, fake = random_features()
    gaussian = fit_gaussian(real)
    np.testing.assert_allclose(fid_from_statistics(gaussian, fake), fid(real, fake), rtol=1e-12)
    found = compute_metrics(Comparison(real_statistics=gaussian, fake=fake))
    assert found == {"fid": fid(real, fake)}
    assert BY_NAME["fid"].quick


def naive_squared_mmd(x, y):
    kernel = lambda a, b: (float(np.dot(a, b)) / len(a) + 1) ** 3
    m, n = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return xx + yy - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kernel_distance_matches_its_definition():
    real, fake = random_features(count=25)
    fake = fake[:20]
    np.testing.assert_allclose(squared_mmd(real, fake), naive_squared_mmd(real, fake), rtol=1e-9)


def test_kernel_distance_of_a_single_subset_has_no_deviation():
    real, fake = random_features(count=25)
    for a, b in ((real, fake), (real, fake[:20]), (real[:2], fake[:2])):
        whole = kid(a, b, np.random.default_rng(0), subset_size=25)
        assert whole.kid == squared_mmd(a, b)
        assert np.isnan(whole.std)
    found = kid(real, fake[:20], np.random.default_rng(0), subsets=9, subset_size=24)
    assert found.std > 0
    # A set that is not larger than a subset is part of every subset.
    half = kid(real, fake[:5], np.random.default_rng(0), subsets=400, subset_size=20)
    np.testing.assert_allclose(half.kid, squared_mmd(real, fake[:5]), atol=4 * half.std / 20)


def test_kernel_distance_matches_torch_fidelity():
    fidelity = pytest.importorskip(
        "torch_fidelity.metric_kid", reason=NO_FIDELITY, exc_type=ImportError
    )
    torch = pytest.importorskip("torch")
    real, fake = random_features(count=400)
    settings = {"kid_subsets": 1, "kid_subset_size": 400, "verbose": False}
    found = fidelity.kid_features_to_metric(*map(torch.tensor, (real, fake)), **settings)
    expected = found["kernel_inception_distance_mean"]
    np.testing.assert_allclose(squared_mmd(real, fake), expected, rtol=1e-9)


def test_frechet_distance_matches_torch_fidelity():
    fidelity = pytest.importorskip(
        "torch_fidelity.metric_fid", reason=NO_FIDELITY, exc_type=ImportError
    )
    torch = pytest.importorskip("torch")
    statistics = [
        fidelity.fid_features_to_statistics(torch.tensor(features))
        for features in random_features()
    ]
    found = fidelity.fid_statistics_to_metric(*statistics, verbose=False)
    expected = found["frechet_inception_distance"]
    np.testing.assert_allclose(fid(*random_features()), expected, rtol=1e-6)


def test_kernel_distance_is_unbiased():
    """For equal distributions it is zero on average, so about half of its values are negative."""
    rng = np.random.default_rng(0)
    found = [squared_mmd(*rng.normal(size=(2, 50, 4))) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert 0.3 < np.mean(np.array(found) < 0) < 0.8


@pytest.mark.parametrize(("count", "fakes", "size"), [(1203, 701, 64), (40, 90, 3), (500, 1000, 8)])
def test_prdc_matches_the_prdc_package(count, fakes, size):
    package = pytest.importorskip("prdc", reason="prdc is missing")
    rng = np.random.default_rng(1)
    # Far from the origin, where distances computed from squared norms lose precision.
    real, fake = rng.normal(size=(count, size)) + 30, 1.1 * rng.normal(size=(fakes, size)) + 30
    three, five = (package.compute_prdc(real, fake, k) for k in (3, 5))
    expected = three["precision"], three["recall"], five["density"], five["coverage"]
    np.testing.assert_allclose(prdc(real, fake), expected, atol=1e-9)


@pytest.mark.parametrize("size", [16, 128, 2048])
def test_prdc_of_repeated_images(size):
    """Equal rows have distance zero, however their products are rounded."""
    unique = 3 + np.maximum(np.random.default_rng(0).normal(size=(300, size)), 0) ** 3
    six = np.random.default_rng(1).permutation(np.concatenate([unique] * 6))
    itself = prdc(six, six)
    assert (itself.precision, itself.recall, itself.coverage) == (1, 1, 1)
    np.testing.assert_allclose(itself.density, 6 / 5)
    for found in (prdc(six, unique), prdc(unique, six)):
        assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    # Different images have a distance: all radii are zero and contain none of them.
    other = unique + 5e-2 * np.random.default_rng(2).normal(size=unique.shape)
    apart = prdc(six, other)
    assert (apart.precision, apart.density, apart.coverage) == (0, 0, 0)


def test_distances_below_rounding_error_are_zero():
    """Compared with float64: the tolerance is above the rounding error, but not far above."""
    for size in (2, 128, 2048):
        x = np.random.default_rng(0).normal(size=(400, size)).astype(np.float32)
        copies = jnp.asarray(np.concatenate([x, x]))
        distances = np.asarray(jax.jit(_squared_distances)(copies[:400], copies))
        assert not np.diagonal(distances).any()
        assert not np.diagonal(distances[:, 400:]).any()
        near = x + x * np.float32(4 * tolerance(size) ** 0.5)
        moved = _squared_distances(jnp.asarray(x), jnp.asarray(near))
        exact = np.square(x.astype(np.float64) - near).sum(axis=1)
        np.testing.assert_allclose(np.diagonal(moved), exact, rtol=0.2)


def test_nearest_examples_match_all_distances():
    rng = np.random.default_rng(0)
    # Far from the origin, and in several blocks, of which the last two overlap.
    x, others = (rng.normal(size=(count, 16)) + 30 for count in (1203, 701))
    x[5] = others[33]
    distances, indices = nearest_in(x, others)
    exact = np.linalg.norm(x[:, None] - others, axis=2)
    np.testing.assert_array_equal(indices, exact.argmin(axis=1))
    np.testing.assert_allclose(distances, exact.min(axis=1), rtol=1e-3)
    assert (distances[5], indices[5]) == (0, 33)


def test_copies_are_nearer_to_the_training_data_than_test_data():
    test = np.arange(1, 1001) / 10
    itself = memorization(test, test)
    assert (itself.copies, itself.train_distance) == (0.01, 1)
    found = memorization(np.array([0, 0.5, 1.0, 1.1, 50, 99]), test)
    np.testing.assert_allclose(found.copies, 3 / 6)
    np.testing.assert_allclose(found.train_distance, 1.05 / 50.05)
    # If two of a hundred test images are in the training data, an equal sample proves nothing.
    assert memorization(np.zeros(5), np.repeat([0, 1], [2, 98])).copies == 0
    assert memorization(np.zeros(5), np.repeat([0, 1], [1, 99])).copies == 1
    distances = {"train_distances": np.ones(4), "test_distances": np.zeros(3)}
    assert compute_metrics(Comparison(**distances)) == {"copies": 0}


def test_prdc_of_equal_gaussians():
    """The values published by prdc's authors, here for a single draw, with k = 5 throughout."""
    rng = np.random.default_rng(1)
    found = prdc(*rng.normal(size=(2, 10_000, 1_000)), precision_k=5)
    np.testing.assert_allclose(found[:2], [0.477, 0.470], atol=0.03)
    np.testing.assert_allclose(found.density, 1.056, atol=0.2)
    np.testing.assert_allclose(found.coverage, 0.9735, atol=0.02)


def test_prdc_memory_is_below_two_gigabytes():
    """The memory of compiled blocks, of two sets of 50,000 features and of a copy of one."""
    of = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    count, size, block = 50_000, 2_048, BLOCK
    rows, real = of(block, size), of(count, size)
    for lowered in (
        _nearest.lower(rows, 0, real, 5),
        _meetings.lower(rows, of(block), real, of(count), of(count)),
    ):
        used = lowered.compile().memory_analysis()
        taken = used.temp_size_in_bytes + used.output_size_in_bytes
        assert taken + 3 * 4 * count * size < 2e9
    assert {rows.stop - rows.start for rows in _blocks(count)} == {block}


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_metrics_are_invariant_to_order_and_rotation(seed):
    real, fake = random_features(seed, count=80, size=5)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    other = rng.permutation(real) @ rotation, rng.permutation(fake) @ rotation
    for metric in (fid, squared_mmd, prdc):
        np.testing.assert_allclose(metric(*other), metric(real, fake), rtol=1e-6, atol=1e-9)


LABELS = np.arange(40) % 10
SURE = 50.0 * np.eye(10)[LABELS]


def test_inception_score_ranges_from_one_to_the_number_of_classes():
    np.testing.assert_allclose(inception_score(SURE), 10, rtol=1e-6)
    same = np.tile([1.0, 2.0, 3.0], (8, 1)) + 1e-9 * np.arange(8)[:, None] * [1, 0, 0]
    np.testing.assert_allclose(inception_score(same), 1, rtol=1e-6)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean([(q * np.log(q / p.mean(0))).sum() for q in p]))
    np.testing.assert_allclose(inception_score(logits), expected, rtol=1e-9)
    np.testing.assert_allclose(np.exp(log_softmax(logits)), p, rtol=1e-9)
    assert np.isfinite(log_softmax(np.array([[1e5, -1e5]]))).all()


def test_inception_score_of_parts_is_their_mean():
    logits = np.random.default_rng(0).normal(size=(123, 4)) * 2
    edges = [0, 12, 24, 36, 49, 61, 73, 86, 98, 110, 123]
    parts = [inception_score(logits[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(score_of_parts(logits), np.mean(parts), rtol=1e-12)
    assert score_of_parts(logits) < inception_score(logits)
    # A part whose samples are all the same has the score 1.
    np.testing.assert_allclose(score_of_parts(np.repeat(SURE[:10], 4, axis=0)), 1, rtol=1e-6)
    assert np.isnan(score_of_parts(logits[:19]))
    assert list(compute_metrics(Comparison(logits=logits[:19]))) == ["score"]


def test_class_counts_accuracy_and_divergence():
    assert class_accuracy(LABELS, np.where(LABELS == 3, 4, LABELS)) == 0.9
    np.testing.assert_array_equal(count_classes([0, 2, 2], 4), [1, 0, 2, 0])
    np.testing.assert_allclose(kl_divergence([1, 0, 1, 0]), np.log(2))
    np.testing.assert_allclose(
        kl_divergence([3, 1], [1, 1]), 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    )
    assert kl_divergence([2, 6, 8], [1, 3, 4]) == 0
    assert kl_divergence([1, 1], [1, 0]) == np.inf


def test_perfect_stacked_digits_score_the_kl_floor():
    """26,000 samples of 1,000 uniform modes: a KL of 0.0191 +- 0.0009, which is only bias."""
    rng = np.random.default_rng(0)
    uniform = np.full(1000, 1e-3)
    found = [stacked_modes(rng.integers(1000, size=26_000), uniform) for _ in range(20)]
    np.testing.assert_allclose(np.mean([f.kl_uniform for f in found]), 0.0191, atol=6e-4)
    np.testing.assert_allclose(found[0].floor, 999 / 52_000, rtol=1e-9)
    assert abs(np.mean([f.kl_corrected for f in found])) < 6e-4
    assert found[0].modes == 1000
    digits = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 60_000
    mnist = np.einsum("i,j,k->ijk", digits, digits, digits).reshape(-1)
    found = stacked_modes(rng.choice(1000, 26_000, p=mnist), mnist)
    np.testing.assert_allclose(found.floor, 0.0238, atol=6e-4)
    np.testing.assert_allclose(found.kl_uniform, 0.0238, atol=3e-3)
    np.testing.assert_allclose(found.kl_data, 0.0194, atol=3e-3)


def test_modes_without_samples_are_missing():
    found = stacked_modes(np.arange(600).repeat(3), np.full(1000, 1e-3))
    assert found.modes == 600
    np.testing.assert_allclose(found.kl_uniform, np.log(1000 / 600))
    np.testing.assert_allclose(
        found.kl_corrected, corrected_kl_divergence(np.repeat([3, 0], [600, 400]))
    )
    np.testing.assert_allclose(found.kl_uniform - found.kl_corrected, 599 / 3600)


RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def sample_ring(count, scale, modes=8, seed=0):
    rng = np.random.default_rng(seed)
    return RING[rng.integers(modes, size=count)] + scale * rng.normal(size=(count, 2))


def test_metrics_of_the_true_mixture_match_theory():
    found = mixture_modes(sample_ring(200_000, 0.01), RING, 0.01)
    assert found.modes == 8
    np.testing.assert_allclose(found.high_quality, 1 - np.exp(-4.5), atol=1e-3)
    np.testing.assert_allclose(found.covariance_ratio, 1, atol=0.01)
    assert 0 <= found.reverse_kl < 2e-4


def test_collapsed_and_scattered_samples_of_a_mixture():
    narrow = mixture_modes(sample_ring(5_000, 0.002, modes=3), RING, 0.01)
    assert narrow.modes == 3
    assert narrow.high_quality == 1 > 1 - np.exp(-4.5)
    np.testing.assert_allclose(narrow.reverse_kl, np.log(8 / 3), atol=1e-2)
    np.testing.assert_allclose(narrow.covariance_ratio, 0.04 / 0.949, rtol=0.05)
    wide = mixture_modes(sample_ring(5_000, 0.05), RING, 0.01)
    np.testing.assert_allclose(wide.high_quality, 1 - np.exp(-4.5 / 25), atol=0.02)


JUDGES = {
    "fid": lambda x: fid(random_features()[0][:, : x.shape[-1]], x),
    "fid, real": lambda x: fid(x, random_features()[0][:, : x.shape[-1]]),
    "kid": lambda x: kid(random_features()[0][:, : x.shape[-1]], x, np.random.default_rng(0)),
    "neighbours": lambda x: prdc(random_features()[0][:, : x.shape[-1]], x),
    "score": inception_score,
    "score of parts": score_of_parts,
    "mixture": lambda x: mixture_modes(x[..., :2], RING, 0.01),
}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.full((50, 4), np.nan), "NaN or infinity"),
        (np.where(np.eye(50, 4) > 0, np.inf, 1.0), "NaN or infinity"),
        (np.ones((50, 4)), "are the same"),
        (np.ones((1, 4)), "too few"),
        (np.ones((0, 4)), "too few"),
        (np.ones((5, 4, 2)), r"must be \[n, d\]"),
    ],
)
def test_invalid_features_are_rejected(judge, features, words):
    with pytest.raises(UsageError, match=words) as refused:
        JUDGES[judge](features)
    assert "\n" not in str(refused.value)


def test_too_few_samples_and_invalid_classes_are_rejected():
    real, fake = random_features(count=12, size=12)
    with pytest.raises(UsageError, match="12 real samples are too few: at least 13"):
        fid(real, fake)
    with pytest.raises(UsageError, match="5 generated samples are too few: at least 6"):
        prdc(real, fake[:5])
    with pytest.raises(UsageError, match="at least 0 and below 3"):
        count_classes([0, 3], 3)
    with pytest.raises(UsageError, match="requested classes"):
        class_accuracy([1, 2], [1])
    assert fit_gaussian(random_features(count=13, size=12)[0]).covariance.shape == (12, 12)


def test_large_values_are_shown_without_decimals():
    fid, kid = BY_NAME["fid"], BY_NAME["kid"]
    assert fid.format(3.14159) == "3.14"
    assert fid.format(3.14159, 0.256) == "3.14 ± 0.26"
    assert kid.format(0.097, 0.0043) == "97.00 ± 4.30"
    assert kid.format(58.88169, 0.473) == "58,882 ± 473"


def test_metrics_without_their_inputs_or_a_finite_value_are_left_out():
    real, fake = random_features()
    found = compute_metrics(Comparison(real=real, fake=fake, rng=np.random.default_rng(0)))
    assert list(found) == ["fid", "kid", "precision", "recall", "density", "coverage"]
    assert list(compute_metrics(Comparison(real=real, fake=fake), quick=True)) == [
        "fid",
        "precision",
        "recall",
    ]
    far = Comparison(points=np.array([[9.0, 9.0], [8.0, 9.0]]), means=np.zeros((1, 2)), scale=0.1)
    assert "covariance_ratio" not in compute_metrics(far)
