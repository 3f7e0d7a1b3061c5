"""The bundled MNIST classifier, and the training of others."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import classify, data
from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation import classifier, classifier_files, rotations
from jaxgan.keys import key_of_seed
from jaxgan.trees import tree_sha256


@pytest.fixture(scope="module")
def mnist_classifier():
    return classifier_files.load(classifier_files.MNIST)


def test_mnist_classifier_is_bundled(mnist_classifier):
    assert classifier_files.MNIST.stat().st_size < 1_000_000
    assert mnist_classifier.about["accuracy"] >= 0.992
    assert mnist_classifier.digest == tree_sha256(mnist_classifier.variables)
    assert mnist_classifier.about["command"].startswith(
        "python -m jaxgan.classify --dataset mnist "
    )
    assert mnist_classifier.num_classes == 10


def test_mnist_classifier_has_the_recorded_accuracy(mnist_classifier, mnist_dir):
    test, _ = data.load("mnist", mnist_dir, split="test")
    assert len(test.images) == 10_000
    found = classifier.accuracy(mnist_classifier.variables, test)
    # Another processor may classify two or three images near a boundary differently.
    assert abs(found - mnist_classifier.about["accuracy"]) < 5e-4
    train, _ = data.load("mnist", mnist_dir, split="train")
    assert train.fingerprint == data.load("mnist", mnist_dir)[0].fingerprint != test.fingerprint


def test_trained_classifier_is_accurate_and_saved(tmp_path):
    out = tmp_path / "new" / "digits.safetensors"
    trained = classify.main(classify.Config(dataset="digits", epochs=3, out=out))
    test, _ = data.load("digits", split="test")
    found = classifier.accuracy(trained.variables, test)
    assert found == trained.about["accuracy"] > 0.6
    again = classifier_files.load(out)
    assert again.digest == trained.digest
    features, logits = classifier.extract_features(again.variables, np.asarray(test.images))
    assert features.shape == (len(test.images), classifier.WIDTHS[-1])
    assert logits.shape == (len(test.images), 10)
    with pytest.raises(UsageError, match="exists, and scores may depend on it"):
        classify.main(classify.Config(dataset="digits", epochs=3, out=out))
    same = classify.main(classify.Config(dataset="digits", epochs=3, out=tmp_path / "same"))
    assert same.digest == trained.digest


def test_damaged_classifiers_are_rejected(tmp_path, mnist_classifier):
    path = tmp_path / "bad.safetensors"
    with pytest.raises(RunError, match="the classifier in .* cannot be loaded"):
        classifier_files.load(path)
    good = classifier_files.MNIST.read_bytes()
    for bad in (b"", good[:1000], good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]):
        path.write_bytes(bad)
        with pytest.raises(RunError, match="delete the file to train"):
            classifier_files.load(path)


def test_default_test_split_is_a_fifth():
    whole, train, test = (data.load("digits", split=s)[0] for s in (None, "train", "test"))
    assert (len(whole.images), len(train.images), len(test.images)) == (1797, 1437, 360)
    rows = lambda part: {image.tobytes() for image in np.asarray(part.images)}
    assert rows(train) | rows(test) == rows(whole)
    assert not rows(train) & rows(test)
    known = lambda part: zip(np.asarray(part.images), np.asarray(part.labels), strict=True)
    labels = {image.tobytes(): label for image, label in known(whole)}
    assert all(labels[image.tobytes()] == label for image, label in known(test))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "name the data"),
        ({"dataset": "digits", "epochs": 0}, "--epochs 0 must be at least 1"),
        ({"dataset": "ring"}, "no classifier is trained on ring"),
        ({"dataset": "digits", "seed": -1}, "--seed -1 must be at least 0"),
        ({"dataset": "cats"}, "unknown value 'cats' of --dataset"),
    ],
)
def test_invalid_settings_are_rejected(settings, words):
    with pytest.raises(UsageError, match=words):
        classify.main(classify.Config(**settings))


def small_digits(counts) -> tuple[np.ndarray, np.ndarray]:
    """Returns digits of 7 x 7 pixels, `counts[k]` of class k."""
    digits, _ = data.load("digits")
    images, labels = np.asarray(digits.images)[:, ::4, ::4], np.asarray(digits.labels)
    chosen = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in enumerate(counts)])
    return images[chosen], labels[chosen]


def test_training_on_few_imbalanced_images():
    """Six epochs of 130 images, 12 steps, are too few for weights and running statistics."""
    images, labels = small_digits((80, 40, 20, 12, 11))
    train, test = (data.from_arrays(images, labels, split=split) for split in ("train", "test"))
    assert len(train.images) == 130
    variables = classifier.train(train, key_of_seed(0))
    largest = train.class_frequencies.max()
    assert classifier.accuracy(variables, test) > (1 + largest) / 2


@pytest.mark.parametrize("labels", [None, np.zeros(100, int)])
def test_images_without_classes_are_labeled_by_rotation(labels):
    images = small_digits((0, 0, 100))[0]
    dataset = data.from_arrays(images[:, :, :5], labels, "twos")
    assert not classifier.has_classes(dataset)
    turning = rotations.with_random_rotations(dataset)
    assert turning.shape == (7, 7, 1)
    batch = turning.batch(key_of_seed(0), jnp.int32(3), 50)
    plain = data.from_arrays(rotations.pad_to_square(images[:, :, :5])).batch(
        key_of_seed(0), jnp.int32(3), 50
    )
    for image, turn, upright in zip(batch.images, batch.labels, plain.images, strict=True):
        np.testing.assert_array_equal(image, np.rot90(upright, int(turn)))
    assert set(np.asarray(batch.labels).tolist()) == {0, 1, 2, 3}
    every = rotations.with_all_rotations(dataset)
    np.testing.assert_array_equal(every.images[300:], np.rot90(every.images[:100], 3, (1, 2)))


def test_classifier_computes_in_full_precision_on_gpus():
    """Checked in the GPU programs: TensorFloat-32 would make features depend on the device."""
    dataset = data.from_arrays(*small_digits((20, 20)), "two")
    state, epoch, _ = classifier.training(dataset, key_of_seed(0), 1)
    variables = {"params": state[0], **state[1]}
    for function, arguments in (
        (epoch, (state, jnp.int32(0), dataset)),
        (classifier._apply, (variables, dataset.images)),
    ):
        lowered = function.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
        products = [
            line
            for line in lowered.splitlines()
            if re.search(r"stablehlo\.(convolution|dot)", line)
        ]
        assert len(products) >= 5
        for line in products:
            assert line.count("HIGHEST") == 2, line
