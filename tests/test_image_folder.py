"""The user's images: array files and folders."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import data, files, train
from jaxgan.errors import UsageError
from jaxgan.evaluation.classifier_files import MNIST, load
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), np.uint8)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., :1], IMAGES[..., 0]])
def test_array_file_is_a_data_set(tmp_path, images):
    np.save(tmp_path / "mine.npy", images)
    dataset, remarks = data.load(data_file=tmp_path / "mine.npy")
    assert (dataset.name, remarks) == ("mine", ())
    assert dataset.num_classes is None
    np.testing.assert_array_equal(dataset.images, images.reshape(6, 8, 10, -1))
    changed = images.copy()
    changed[0] += 1
    assert (
        data.from_arrays(changed).fingerprint
        != dataset.fingerprint
        == data.from_arrays(images).fingerprint
    )


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (IMAGES.astype(np.int32), "has type int32: images must be uint8"),
        (IMAGES[0, :, :, 0], r"shape \(8, 10\)"),
        (IMAGES[..., :2], "c 1 or 3"),
        (IMAGES[:0], r"shape \(0, 8, 10, 3\)"),
    ],
)
def test_arrays_that_are_not_images_are_rejected(tmp_path, array, words):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(UsageError, match=words):
        data.load(data_file=tmp_path / "bad.npy")


def test_other_files_are_rejected(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "many.npz", a=IMAGES)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for name, words in {
        "text.npy": "not a .npy file",
        "many.npz": "must have an array named images or one named values, and it has a",
        "objects.npy": "not a .npy file, or is damaged",
        "missing.npy": "does not exist",
    }.items():
        with pytest.raises(UsageError, match=words):
            data.load(data_file=tmp_path / name)
    with pytest.raises(UsageError, match="exclude each other"):
        data.load("digits", data_file=tmp_path / "text.npy")


def test_archive_of_images_and_labels_is_a_data_set(tmp_path):
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=np.arange(6) % 3)
    dataset, remarks = data.load(data_file=tmp_path / "mine.npz")
    assert (dataset.name, remarks, dataset.num_classes) == ("mine", (), 3)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    np.testing.assert_array_equal(dataset.labels, [0, 1, 2, 0, 1, 2])
    assert dataset.fingerprint == data.from_arrays(IMAGES, np.arange(6) % 3).fingerprint


def test_folder_of_images(tmp_path):
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    dataset, remarks = data.load(data_file=tmp_path)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    assert dataset.num_classes is None
    assert remarks == ("passed over 1 file that is no picture (1 .txt)",)


def test_subfolders_are_classes(tmp_path):
    for i, image in enumerate(IMAGES):
        folder = tmp_path / ("cats", "dogs")[i % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{i}.PNG")
    dataset, _ = data.load(data_file=tmp_path)
    np.testing.assert_array_equal(dataset.labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(dataset.images[:3, ..., 0], IMAGES[::2, ..., 0])
    assert (dataset.shape, dataset.num_classes) == ((8, 10, 1), 2)
    assert dataset.class_names == ("cats", "dogs")
    Image.fromarray(IMAGES[0, ..., 0]).save(tmp_path / "loose.png")
    with pytest.raises(UsageError, match="6 pictures in subfolders and 1 outside of them"):
        data.load(data_file=tmp_path)


def test_invalid_image_folders_are_rejected(tmp_path):
    with pytest.raises(UsageError, match="no pictures"):
        data.load(data_file=tmp_path)
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    Image.fromarray(IMAGES[1, :5]).save(tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"10 x 8 \(.*a.png\) and 10 x 5 \(.*b.png\): .*--resize"):
        data.load(data_file=tmp_path)
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UsageError, match=r"1 of 2 pictures cannot be read: .*b.png \(.*--skip-bro"):
        data.load(data_file=tmp_path)
    dataset, (remark,) = data.load(data_file=tmp_path, skip_broken=True)
    np.testing.assert_array_equal(dataset.images, IMAGES[:1])
    assert "b.png" in remark
    (tmp_path / "a.png").unlink()
    for skip_broken in (False, True):
        with pytest.raises(UsageError, match=r"none of 1 picture can be read: .*b.png"):
            data.load(data_file=tmp_path, skip_broken=skip_broken)


def test_gray_and_colored_pictures_become_colored(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    Image.fromarray(IMAGES[1, ..., 0]).save(tmp_path / "b.png")
    dataset, (remark,) = data.load(data_file=tmp_path)
    assert dataset.shape == (8, 10, 3)
    np.testing.assert_array_equal(dataset.images[0], IMAGES[0])
    np.testing.assert_array_equal(dataset.images[1], np.repeat(IMAGES[1, ..., :1], 3, -1))
    assert "1 of 2 pictures are gray: all become RGB images" in remark
    gray, (remark,) = data.load(data_file=tmp_path, channels=1)
    np.testing.assert_array_equal(gray.images[1], IMAGES[1, ..., :1])
    assert remark == "converted 1 color picture to grayscale"
    assert gray.fingerprint != dataset.fingerprint


def test_16_bit_images_are_scaled_to_8_bits(tmp_path):
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    Image.fromarray(deep).save(tmp_path / "deep.png")
    dataset, _ = data.load(data_file=tmp_path)
    assert dataset.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.images[0, ..., 0], np.round(deep / 257))


def test_damaged_archives_are_rejected(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(UsageError, match=r"broken.npz is not a .npz file, or is damaged"):
        data.load(data_file=tmp_path / "broken.npz")


def test_folder_name_has_no_meaning(tmp_path, monkeypatch):
    """A folder named mnist is not MNIST, and `.` takes the name of its folder."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for i, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    monkeypatch.chdir(folder)
    dataset, _ = data.load(data_file=Path("."))
    assert dataset.name == "mnist"
    assert dataset.fingerprint != load(MNIST).about["fingerprint"]
    about = describe_run(Config(data_file="."), dataset)
    assert about.config.data_file.absolute() == folder
    assert not data.open_data(about.config).own_test
    with pytest.raises(UsageError, match="would become data: choose an --out elsewhere"):
        train.main(Config(data_file="."))
    assert sorted(path.suffix for path in folder.iterdir()) == [".png"] * len(IMAGES)


def test_cache_of_a_user_without_home_is_a_private_folder(monkeypatch, tmp_path):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files._temporary_directory.cache_clear()
    own = files.user_cache()
    assert own.parent == tmp_path
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)  # Other users could have written compiled programs there.
    files._temporary_directory.cache_clear()
    assert files.user_cache() != own
    files._temporary_directory.cache_clear()
