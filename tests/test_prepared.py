"""Pictures in ArrayRecord files: the user's own, and sets that TFDS has prepared."""

import io
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.data import picture_set, prepared
from jaxgan.data.picture_set import PictureSet
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError

module = pytest.importorskip("array_record.python.array_record_module")
pytest.importorskip("tensorflow_datasets")

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), np.uint8)
COUNTS = {"train": 60, "test": 25}
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write(path: Path, records: list[bytes]) -> Path:
    writer = module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def records_of(path: Path, count: int) -> list[bytes]:
    reader = module.ArrayRecordReader(str(path))
    return [bytes(each) for each in reader.read(list(range(count)))]


@pytest.fixture(scope="module")
def small_mnist(mnist_dir, tmp_path_factory) -> Path:
    """The first examples of MNIST, as TFDS prepares them."""
    root = tmp_path_factory.mktemp("prepared")
    (source,) = (mnist_dir / "mnist").glob("*/")
    folder = root / "mnist" / source.name
    folder.mkdir(parents=True)
    about = json.loads((source / "dataset_info.json").read_text())
    for split in about["splits"]:
        count = COUNTS[split["name"]]
        split["shardLengths"] = [str(count)]
        (file,) = source.glob(f"mnist-{split['name']}.array_record*")
        write(folder / file.name, records_of(file, count))
    (folder / "dataset_info.json").write_text(json.dumps(about))
    (folder / "features.json").write_bytes((source / "features.json").read_bytes())
    return root


@pytest.mark.parametrize("data_in", ["memory", "disk"])
def test_records_are_pictures(tmp_path, data_in):
    file = write(tmp_path / "mine.array_record", [png(image) for image in IMAGES])
    dataset, remarks = data.load(data_file=file, data_in=data_in)
    assert (dataset.name, dataset.labels, remarks) == ("mine", None, ())
    assert dataset.on_disk == isinstance(dataset.examples, PictureSet) == (data_in == "disk")
    np.testing.assert_array_equal(dataset.take(np.arange(12)).images, IMAGES)
    in_memory, _ = data.load(data_file=file, data_in="memory")
    assert dataset.fingerprint == in_memory.fingerprint
    gray, _ = data.load(data_file=file, data_in=data_in, channels=1, resize=3)
    assert gray.shape == (3, 3, 1)


def test_records_of_several_files_are_in_order(tmp_path):
    for k in range(3):
        name = f"mine.array_record-0000{k}-of-00003"
        write(tmp_path / name, [png(image) for image in IMAGES[4 * k : 4 * k + 4]])
    dataset, _ = data.load(data_file=tmp_path)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    assert dataset.name == tmp_path.name


def test_records_are_read_in_other_processes(tmp_path):
    file = write(tmp_path / "mine.array_record", [png(image) for image in IMAGES])
    dataset, _ = data.load(data_file=file, data_in="disk")
    copied = pickle.loads(pickle.dumps(dataset.examples))
    np.testing.assert_array_equal(copied[np.array([7, 0])], IMAGES[[7, 0]])


def test_broken_record_is_named_or_skipped(tmp_path):
    contents = [png(image) for image in IMAGES]
    contents[3] = contents[3][:40]
    file = write(tmp_path / "mine.array_record", contents)
    with pytest.raises(UsageError, match=f"1 of 12 pictures .*: record 3 of {file} ") as error:
        data.load(data_file=file)
    assert "--skip-broken" in str(error.value)
    for data_in in ("memory", "disk"):
        dataset, (remark,) = data.load(data_file=file, data_in=data_in, skip_broken=True)
        assert f"skipped 1 picture that cannot be read: record 3 of {file} " in remark
        kept = np.delete(IMAGES, 3, axis=0)
        np.testing.assert_array_equal(dataset.take(np.arange(11)).images, kept)


def test_files_without_records_are_refused(tmp_path):
    file = tmp_path / "mine.array_record"
    for content in (b"", b"text" * 1000):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=f"{file} ") as error:
            data.load(data_file=file)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=f"{write(file, [])} has no records"):
        data.load(data_file=file)


@pytest.mark.parametrize("split", ["train", "test"])
def test_prepared_set_equals_the_known_one(small_mnist, split):
    known, _ = data.load("mnist", small_mnist, split=split)
    found, remarks = data.load("tfds:mnist", small_mnist, split=split)
    assert found.examples.shape == (COUNTS[split], 28, 28, 1)
    np.testing.assert_array_equal(found.images, known.images)
    np.testing.assert_array_equal(found.labels, known.labels)
    assert found.class_names == tuple("0123456789")
    assert (found.name, found.num_classes, remarks) == ("mnist", 10, ())


def test_classes_are_counted_by_their_names(small_mnist, tmp_path):
    """A split may lack the last classes."""
    (source,) = (small_mnist / "mnist").glob("*/")
    folder = tmp_path / "mnist" / source.name
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    features = (folder / "features.json").read_text().replace('"10"', '"12"')
    (folder / "features.json").write_text(features)
    dataset, _ = data.load("tfds:mnist", tmp_path)
    assert len(dataset.class_names) == dataset.num_classes == 12


def test_prepared_set_on_disk_equals_that_in_memory(small_mnist):
    loaded = [data.load("tfds:mnist", small_mnist, data_in=each)[0] for each in ("disk", "memory")]
    disk, memory = loaded
    assert isinstance(disk.examples, PictureSet)
    assert not memory.on_disk
    assert disk.fingerprint == memory.fingerprint
    rows = np.array([COUNTS["train"] - 1, 0, 7])
    np.testing.assert_array_equal(disk.take(rows).images, memory.take(rows).images)
    np.testing.assert_array_equal(disk.batch(KEY, 3, 9).labels, memory.batch(KEY, 3, 9).labels)
    copied = pickle.loads(pickle.dumps(disk.examples))
    np.testing.assert_array_equal(copied[rows], memory.images[rows])


def test_prepared_set_is_decoded_once(small_mnist, monkeypatch):
    contents, decode = [], picture_set.decode
    monkeypatch.setattr(
        picture_set, "decode", lambda content, how: contents.append(content) or decode(content, how)
    )
    for _ in range(2):
        opened = data.open_data(DataSettings("tfds:mnist", small_mnist))
        assert opened.own_test
        assert len(opened.load("train").images) == COUNTS["train"]
        assert len(opened.load("test").images) == COUNTS["test"]
        assert len(contents) == sum(COUNTS.values())


def test_settings_of_pictures_apply_to_prepared_sets(small_mnist):
    dataset, _ = data.load("tfds:mnist", small_mnist, resize=8, channels=3)
    assert dataset.shape == (8, 8, 3)


def test_sets_that_are_not_prepared_are_refused_with_advice(tmp_path):
    with pytest.raises(UsageError) as error:
        data.load("tfds:flowers", tmp_path)
    message = str(error.value)
    assert message.startswith(f"tfds:flowers is not prepared in {tmp_path / 'flowers'}: ")
    assert "tfds build flowers --file_format=array_record" in message
    assert "--data-dir" in message


def test_configuration_is_found_or_must_be_given(small_mnist, tmp_path):
    def fake(config: str, version: str = "1.0.0"):
        folder = tmp_path / "birds" / config / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
        return folder

    large = fake("large")
    assert prepared.find_prepared(tmp_path, "birds") == large
    newest = fake("large", "1.10.0")
    fake("large", "1.9.0")
    assert prepared.find_prepared(tmp_path, "birds/large") == newest
    assert prepared.find_prepared(tmp_path, "birds") == newest
    small = fake("small")
    assert prepared.find_prepared(tmp_path, "birds/small") == small
    expected = "tfds:birds has several configurations: give tfds:birds/CONFIG, .* large, small$"
    with pytest.raises(UsageError, match=expected):
        data.load("tfds:birds", tmp_path)
    with pytest.raises(UsageError, match="tfds:birds/huge is not prepared"):
        data.load("tfds:birds/huge", tmp_path)


def test_damaged_prepared_sets_are_named(small_mnist, tmp_path):
    (source,) = (small_mnist / "mnist").glob("*/")
    folder = tmp_path / "mnist" / source.name
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (train,) = folder.glob("*-train.*")
    train.write_bytes(train.read_bytes()[:70_000])
    with pytest.raises(RunError, match=f"train in {folder} cannot be read"):
        data.load("tfds:mnist", tmp_path)
    train.unlink()
    with pytest.raises(RunError, match=f"train in {folder} cannot be read"):
        data.load("tfds:mnist", tmp_path)
    about = folder / "dataset_info.json"
    about.write_text(about.read_text().replace("array_record", "tfrecord"))
    expected = f"train in {folder} cannot be read row by row: .* --file_format=array_record"
    with pytest.raises(RunError, match=expected):
        data.load("tfds:mnist", tmp_path)
    about.write_text("{")
    with pytest.raises(RunError, match=f"{folder} cannot be read by TFDS"):
        data.load("tfds:mnist", tmp_path)
