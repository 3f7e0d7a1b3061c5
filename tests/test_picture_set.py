"""Sets of pictures: what is found in a folder, what is told of it, and what is kept of it."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.data import image_folder
from jaxgan.errors import UsageError
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), np.uint8)
NAMED = [(folder, f"{i}.png") for folder in ("class 1", "class 2", "class 10") for i in (1, 2, 10)]
"""The folders and names of pictures, in natural order."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with nine pictures in three classes."""
    write(tmp_path / "set", {f"{below}/{name}": i for i, (below, name) in enumerate(NAMED)})
    return tmp_path / "set"


def write(root: Path, files: dict[str, int]) -> Path:
    """Writes pictures below a folder, by their names and their positions in `IMAGES`."""
    for name, i in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[i]).save(root / name, "PNG")
    return root


def load(folder: Path, **settings):
    return data.load(data_file=folder, **settings)


def test_natural_order_of_classes_and_files(folder):
    dataset, remarks = load(folder)
    assert remarks == ()
    np.testing.assert_array_equal(dataset.images, IMAGES[:9])
    np.testing.assert_array_equal(dataset.labels, np.repeat([0, 1, 2], 3))
    assert dataset.class_names == ("class 1", "class 2", "class 10")
    assert dataset.num_classes == 3
    about = describe_run(Config(data_file=folder), dataset, remarks).to_json()["dataset"]
    assert tuple(about["class_names"]) == dataset.class_names


def test_pictures_in_one_folder_have_no_classes(tmp_path):
    dataset, _ = load(write(tmp_path, {"10.png": 2, "2.png": 1, "1.png": 0}))
    np.testing.assert_array_equal(dataset.images, IMAGES[:3])
    assert (dataset.labels, dataset.num_classes, dataset.class_names) == (None, None, ())


def test_deeper_pictures_belong_to_their_class(tmp_path):
    write(tmp_path, {"a/1.png": 0, "a/more/2.png": 1, "a/more/still/3.png": 2, "b/in/1.png": 3})
    dataset, remarks = load(tmp_path)
    assert remarks == ()
    np.testing.assert_array_equal(dataset.images, IMAGES[:4])
    np.testing.assert_array_equal(dataset.labels, [0, 0, 0, 1])
    assert dataset.class_names == ("a", "b")


def test_one_class_of_several_folders_is_remarked(tmp_path):
    write(tmp_path, {"all/cats/1.png": 0, "all/dogs/1.png": 1})
    dataset, (remark,) = load(tmp_path)
    assert dataset.class_names == ("all",)
    assert remark.startswith("there is one class, all: ")
    assert f"--data-file {tmp_path / 'all'}" in remark
    assert load(tmp_path / "all")[0].class_names == ("cats", "dogs")


def test_files_are_read_by_suffixes_in_any_case(tmp_path):
    write(tmp_path, {"1.PNG": 0, "2.jfif": 1, "3.Jpeg": 2, "4.x.webp": 3})
    np.testing.assert_array_equal(load(tmp_path)[0].images, IMAGES[:4])


def test_other_entries_are_counted(folder):
    write(folder, {"class 1/._1.png": 9, ".hidden/1.png": 9, "__MACOSX/class 1/1.png": 9})
    (folder / "class 2" / "Thumbs.db").write_bytes(b"thumbs")
    for name in ("notes.txt", "class 1/a.txt", "class 1/b.TXT", "class 2/labels.csv", "LICENSE"):
        (folder / name).write_text("not a picture")
    (folder / "empty" / "inner").mkdir(parents=True)
    dataset, (remark,) = load(folder)
    np.testing.assert_array_equal(dataset.images, IMAGES[:9])
    assert dataset.class_names == ("class 1", "class 2", "class 10")
    assert remark.startswith("passed over 4 hidden entries and ")
    assert "5 files that are no pictures (3 .txt, " in remark
    assert "1 .csv" in remark
    assert "1 without suffix" in remark
    assert "2 folders without pictures" in remark


def test_single_entries_are_counted_in_words(folder):
    (folder / "empty").mkdir()
    (folder / ".x").write_text("hidden")
    (folder / "notes.txt").write_text("not a picture")
    assert load(folder)[1] == (
        "passed over 1 hidden entry and 1 folder without pictures and 1 file that is no picture "
        "(1 .txt)",
    )


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(UsageError, match=f"{tmp_path} has no pictures, such as .png or .jpg"):
        load(tmp_path)


def test_loose_pictures_beside_subfolders_are_refused(folder):
    write(folder, {"loose.png": 9})
    with pytest.raises(UsageError, match="9 pictures in subfolders and 1 outside of them"):
        load(folder)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 30), np.uint8)).save(file, "PNG")
    return file.getvalue()


BROKEN = {
    "dangling link": (lambda path: path.symlink_to("nowhere.png"), "No such file"),
    "empty file": (lambda path: path.write_bytes(b""), "the file is empty"),
    "truncated file": (lambda path: path.write_bytes(png()[:60]), "truncated"),
    "other file": (lambda path: path.write_bytes(b"text"), "no format that Pillow knows"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_pictures_are_named_or_skipped(folder, kind):
    make_broken, why = BROKEN[kind]
    broken = folder / "class 2" / "1.png"
    broken.unlink()
    make_broken(broken)
    with pytest.raises(UsageError, match=f"1 of 9 pictures cannot be read: {broken} .*") as error:
        load(folder)
    assert why in str(error.value)
    assert "--skip-broken" in str(error.value)
    for data_in in ("disk", "memory", "disk"):  # The cache has them decoded at last.
        dataset, (remark,) = load(folder, skip_broken=True, data_in=data_in)
        assert remark.startswith(f"skipped 1 picture that cannot be read: {broken} (")
        kept = [0, 1, 2, 4, 5, 6, 7, 8]
        rows = dataset.take(np.arange(8))
        np.testing.assert_array_equal(rows.images, IMAGES[kept])
        np.testing.assert_array_equal(rows.labels, [0, 0, 0, 1, 1, 2, 2, 2])


def test_many_broken_pictures_are_counted(folder):
    for below, name in NAMED[:5]:
        (folder / below / name).write_bytes(b"text")
    with pytest.raises(UsageError, match="5 of 9 pictures cannot be read: .*10.png .* and 2 more"):
        load(folder)
    _, (remark, *_) = load(folder, skip_broken=True)
    assert remark.startswith("skipped 5 pictures that cannot be read: ")
    for below, name in NAMED[5:]:
        (folder / below / name).write_bytes(b"text")
    for skip_broken in (False, True):
        with pytest.raises(UsageError, match="none of 9 pictures can be read: ") as error:
            load(folder, skip_broken=skip_broken)
        assert "--skip-broken" not in str(error.value)


@pytest.mark.parametrize("lost", ["class 1", "class 10"])
def test_class_of_broken_pictures_alone_leaves_a_consistent_set(folder, lost):
    for below, name in NAMED:
        if below == lost:
            (folder / below / name).write_bytes(b"text")
    dataset, _ = load(folder, skip_broken=True)
    assert dataset.num_classes == len(dataset.class_names)
    names = [dataset.class_names[k] for k in np.asarray(dataset.labels)]
    assert names == [below for below, _ in NAMED if below != lost]


def test_folder_named_like_a_picture_is_a_folder(folder):
    (folder / "class 1" / "x.png").mkdir()
    dataset, remarks = load(folder)
    np.testing.assert_array_equal(dataset.images, IMAGES[:9])
    assert remarks == ("passed over 1 folder without pictures",)
    write(folder / "class 1" / "x.png", {"1.png": 9})
    dataset, _ = load(folder)
    np.testing.assert_array_equal(np.bincount(dataset.labels), [4, 3, 3])


def test_pictures_of_several_sizes_need_resize(tmp_path):
    write(tmp_path, {"1.png": 0, "2.png": 1})
    Image.fromarray(IMAGES[2, :3]).save(tmp_path / "3.png")
    with pytest.raises(UsageError, match="have 2 sizes, such as 5 x 4 .*1.png.*5 x 3 .*3.png") as e:
        load(tmp_path)
    assert "--resize N" in str(e.value)
    dataset, (remark,) = load(tmp_path, resize=4)
    assert dataset.shape == (4, 4, 3)
    assert remark == "enlarged 1 picture to 4 pixels"


@pytest.mark.parametrize("target", ["set", "."])
def test_links_to_a_folder_above_end(folder, target):
    (folder / "class 1" / "up").symlink_to(folder.parent / target, target_is_directory=True)
    dataset, _ = load(folder)
    np.testing.assert_array_equal(dataset.images, IMAGES[:9])


def test_linked_pictures_and_folders_are_read(tmp_path, folder):
    linked = tmp_path / "linked"
    (linked / "b").mkdir(parents=True)
    (linked / "a").symlink_to(folder / "class 1", target_is_directory=True)
    (linked / "b" / "link.png").symlink_to(folder / "class 2" / "1.png")
    dataset, _ = load(linked)
    np.testing.assert_array_equal(dataset.images, IMAGES[:4])
    assert dataset.class_names == ("a", "b")


class Entries(list):
    """What `os.scandir` returns: entries that are also a context."""

    def __enter__(self):
        return iter(self)

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize("linked", [False, True])
def test_order_of_the_system_has_no_meaning(folder, monkeypatch, linked):
    if linked:
        (folder / "class 3").symlink_to(folder / "class 10", target_is_directory=True)
    scan, found = os.scandir, set()
    for backwards in (False, True):
        sort = lambda path, b=backwards: Entries(
            sorted(scan(path), key=lambda e: e.name, reverse=b)
        )
        monkeypatch.setattr(image_folder.os, "scandir", sort)
        dataset, _ = load(folder)
        found.add((dataset.fingerprint, dataset.class_names))
    assert len(found) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("linked", [False, True])
def test_pipes_are_passed_over(tmp_path, folder, linked):
    pipe = tmp_path / "pipe" if linked else folder / "class 1" / "x.png"
    os.mkfifo(pipe)
    if linked:
        (folder / "class 1" / "x.png").symlink_to(pipe)
    found = []
    reading = threading.Thread(
        target=lambda: found.append(load(folder, skip_broken=True)), daemon=True
    )
    reading.start()
    reading.join(10)
    if reading.is_alive():  # It waits for data: end it, so that only this test fails.
        pipe.write_bytes(b"")
        reading.join()
        pytest.fail("a pipe was read")
    dataset, (remark,) = found[0]
    np.testing.assert_array_equal(dataset.images, IMAGES[:9])
    assert linked or remark == "passed over 1 file that is no picture (1 .png)"


def test_some_of_the_pictures_are_chosen(folder):
    whole, chosen = (load(folder, train_examples=n)[0] for n in (None, 4))
    known = {image.tobytes(): i for i, image in enumerate(np.asarray(whole.images))}
    places = np.array([known[image.tobytes()] for image in np.asarray(chosen.images)])
    assert len(places) == 4
    assert len(np.unique(whole.labels[places])) > 1
    np.testing.assert_array_equal(chosen.labels, whole.labels[places])
