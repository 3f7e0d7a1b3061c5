"""Sets of pictures: which settings apply, what is decoded when, and what the cache keeps."""

import os
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from pictures import CLASSES, make
from PIL import Image

from jaxgan import data
from jaxgan.data import picture_set
from jaxgan.data.picture_set import PictureSet
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError
from jaxgan.files import user_cache

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), np.uint8)
LABELS = np.repeat([0, 1], 5)
KEY = jax.random.key(3)
OF_PICTURES = {
    "--resize": {"resize": 8},
    "--channels": {"channels": 1},
    "--background": {"background": "white"},
    "--skip-broken": {"skip_broken": True},
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    return user_cache() / "pictures"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with ten pictures in two classes."""
    for i, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        below = tmp_path / "set" / "ab"[label]
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(below / f"{i}.png")
    return tmp_path / "set"


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The contents that were decoded."""
    contents, decode = [], picture_set.decode
    monkeypatch.setattr(
        picture_set, "decode", lambda content, how: contents.append(content) or decode(content, how)
    )
    return contents


def load(folder: Path, **settings):
    return data.load(data_file=folder, **settings)[0]


def replace(path: Path, image: np.ndarray, seconds: int = 10):
    """Changes a picture and the time of its file."""
    about = path.stat()
    Image.fromarray(image).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + seconds * 10**9))


@pytest.mark.parametrize("flag", OF_PICTURES)
def test_settings_of_pictures_are_refused_for_other_data(tmp_path, flag):
    np.save(tmp_path / "mine.npy", IMAGES)
    np.savez(tmp_path / "mine.npz", images=IMAGES)
    given = [({"dataset": name}, name) for name in ("digits", "ring", "mnist", "cifar10")]
    given += [({"dataset": "stacked_mnist"}, "mnist"), ({}, "mnist")]
    given += [({"data_file": tmp_path / name}, name) for name in ("mine.npy", "mine.npz")]
    for one, name in given:
        with pytest.raises(UsageError, match=f"^{flag} is for pictures in files, and ") as error:
            data.load(**one, **OF_PICTURES[flag])
        assert name in str(error.value)
        assert "remove it" in str(error.value)
        assert ("--image-size pads images" in str(error.value)) == (flag == "--resize")


def test_settings_of_pictures_apply_to_folders(folder):
    expected = [np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in IMAGES]
    np.testing.assert_array_equal(load(folder, channels=1).images, expected)
    assert load(folder, resize=3).shape == (3, 3, 3)
    assert load(folder, resize=3, image_size=8).shape == (8, 8, 3)
    with pytest.raises(UsageError, match="--background blak is not a color"):
        load(folder, background="blak")
    fingerprints = {load(folder, **each).fingerprint for each in ({}, *OF_PICTURES.values())}
    assert len(fingerprints) == 4  # No picture is broken.


def test_gray_pictures_become_colored_among_colored_ones(folder):
    replace(folder / "a" / "3.png", IMAGES[3, ..., 0])
    for data_in in ("memory", "disk"):
        dataset, (remark,) = data.load(data_file=folder, data_in=data_in)
        assert remark.startswith("1 of 10 pictures are gray: all become RGB images (--channels 1 ")
        (row,) = dataset.take(np.array([3])).images
        np.testing.assert_array_equal(row, np.repeat(IMAGES[3, ..., :1], 3, -1))
        _, (remark,) = data.load(data_file=folder, data_in=data_in, channels=1)
        assert remark == "converted 9 color pictures to grayscale"


@pytest.mark.parametrize("data_in", ["memory", "disk"])
def test_second_opening_decodes_nothing(folder, decoded, data_in):
    first, remarks = data.load(data_file=folder, data_in=data_in, channels=1)
    assert len(decoded) == len(IMAGES)
    second, again = data.load(data_file=folder, data_in=data_in, channels=1)
    assert len(decoded) == len(IMAGES)
    assert first.fingerprint == second.fingerprint
    assert remarks == again == ("converted 10 color pictures to grayscale",)
    rows = np.arange(len(IMAGES))
    np.testing.assert_array_equal(second.take(rows).images, first.take(rows).images)
    assert data.load(data_file=folder, data_in=data_in)[1] == ()  # Other settings, other remarks.
    assert len(decoded) > len(IMAGES)


def test_changed_picture_is_decoded_anew(folder, decoded):
    first = load(folder)
    replace(folder / "a" / "2.png", IMAGES[2] ^ 1)
    second = load(folder)
    assert len(decoded) == 2 * len(IMAGES)
    assert first.fingerprint != second.fingerprint
    np.testing.assert_array_equal(second.images[2], IMAGES[2] ^ 1)
    replace(folder / "a" / "2.png", IMAGES[2])
    third = load(folder)  # The same content at another time.
    assert third.fingerprint == first.fingerprint
    np.testing.assert_array_equal(third.images, IMAGES)


def test_fingerprint_depends_on_labels_and_not_on_the_place(folder, tmp_path):
    first = load(folder)
    folder.rename(tmp_path / "moved")
    assert load(tmp_path / "moved").fingerprint == first.fingerprint
    (tmp_path / "moved" / "b" / "5.png").rename(tmp_path / "moved" / "a" / "5.png")
    assert load(tmp_path / "moved").fingerprint != first.fingerprint


def flip(path: Path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b'{"known": {}}'),
        flip,
    ],
)
def test_damaged_files_in_the_cache_are_decoded_again(folder, cache, suffix, damage):
    first = load(folder)
    (path,) = cache.glob(f"*{suffix}")
    damage(path)
    for _ in range(2):
        second = load(folder)
        np.testing.assert_array_equal(second.images, IMAGES)
        assert second.fingerprint == first.fingerprint


def test_damaged_pixels_in_the_cache_are_replaced(folder, cache, decoded):
    load(folder)
    (path,) = cache.glob("*.npy")
    good = path.read_bytes()
    flip(path)
    load(folder)
    assert len(decoded) == 2 * len(IMAGES)
    assert path.read_bytes() == good
    load(folder)
    assert len(decoded) == 2 * len(IMAGES)


@pytest.mark.parametrize("place", ["/dev/null", "/proc/nowhere", "file"])
@pytest.mark.parametrize("data_in", ["memory", "disk"])
def test_cache_that_cannot_be_written_changes_nothing(
    folder, tmp_path, monkeypatch, place, data_in
):
    first = load(folder, data_in=data_in)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    second = load(folder, data_in=data_in)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(second.take(np.arange(10)).images, IMAGES)


def test_full_disk_changes_nothing(folder, cache, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_set.np, "save", fail)
    np.testing.assert_array_equal(load(folder).images, IMAGES)
    assert not list(cache.iterdir())


def test_pictures_on_disk_equal_those_in_memory(tmp_path):
    make(tmp_path / "mixed", 33)
    places = ("disk", "memory", "disk")  # Before and after the cache has them decoded.
    loaded = [
        data.load(data_file=tmp_path / "mixed", resize=8, data_in=data_in) for data_in in places
    ]
    first, memory, second = (dataset for dataset, _ in loaded)
    assert isinstance(first.examples, PictureSet)
    assert (memory.on_disk, second.on_disk) == (False, True)
    for disk in (first, second):
        assert disk.fingerprint == memory.fingerprint
        assert disk.class_names == memory.class_names == CLASSES
        np.testing.assert_array_equal(disk.labels, memory.labels)
        rows = np.array([32, 0, 5])
        np.testing.assert_array_equal(disk.take(rows).images, memory.take(rows).images)
        for step in range(8):
            one, other = (each.batch(KEY, step, 7) for each in (memory, disk))
            np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.parametrize("data_in", ["disk", "memory"])
def test_remarks_on_pictures_of_mixed_kinds(tmp_path, data_in):
    make(tmp_path / "mixed", 33)
    _, remarks = data.load(data_file=tmp_path / "mixed", resize=8, data_in=data_in)
    assert remarks[0].startswith("passed over 3 hidden entries and 1 file that is no picture (1 .t")
    assert [each.partition(":")[0] for each in remarks[1:]] == [
        "6 of 33 pictures are gray",
        "put 3 transparent pictures over black (see --background)",
        "took the first frame of 1 animated picture",  # Of three: the others are symmetric.
    ]


@pytest.mark.parametrize("copied", [False, True])
def test_pictures_that_change_while_in_use_stop_the_run(folder, copied):
    pictures = load(folder, data_in="disk").examples
    assert isinstance(pictures, PictureSet)
    if copied:  # As the processes that read ahead have it.
        pictures = pickle.loads(pickle.dumps(pictures))
    np.testing.assert_array_equal(pictures[np.arange(10)], IMAGES)
    replace(folder / "a" / "1.png", IMAGES[0])
    (folder / "b" / "7.png").unlink()
    np.testing.assert_array_equal(pictures[np.array([6, 0])], IMAGES[[6, 0]])
    with pytest.raises(RunError, match="a/1.png has changed while it was in use"):
        pictures[np.array([0, 1])]
    with pytest.raises(RunError, match=r"b/7.png can no longer be read \(No such file"):
        pictures[np.array([7])]
    with pytest.raises(RunError, match="has changed|no longer"):
        pictures.read()


@pytest.mark.parametrize(
    ("data_in", "expected"), [("memory", [10, 10, 10]), ("disk", [10, 18, 20])]
)
def test_parts_for_evaluation_decode_each_picture_once(folder, decoded, data_in, expected):
    opened = data.open_data(DataSettings(data_file=folder, data_in=data_in))
    counts = [len(decoded)]
    parts = []
    for split in ("train", "test"):
        parts.append(opened.load(split))
        counts.append(len(decoded))
    assert counts == expected
    assert not any(part.on_disk for part in parts)
    together = np.concatenate([part.images for part in parts])
    assert sorted(map(bytes, together)) == sorted(map(bytes, IMAGES))
    assert [len(part.images) for part in parts] == [8, 2]
    by_image = {bytes(image): label for image, label in zip(IMAGES, LABELS, strict=True)}
    for part in parts:
        assert [by_image[bytes(image)] for image in np.asarray(part.images)] == list(part.labels)
        assert (part.num_classes, part.class_names) == (2, ("a", "b"))
