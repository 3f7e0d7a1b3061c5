"""Preparation by TFDS, with checksums, of tiny data sets from a local server."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import shutil
import socket
import sys
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxgan import data, store
from jaxgan.data import builders, tfds
from jaxgan.data.array_file import fingerprint as fingerprint_of
from jaxgan.data.arrays import to_uint8
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError
from jaxgan.files import user_cache

pytest.importorskip("array_record", reason="TFDS's files cannot be read on this platform")
checksums = pytest.importorskip("tensorflow_datasets.core.download.checksums")

COUNTS = {"train": 23, "test": 9}
RELATIVES = ("mnist", "fashion_mnist", "kmnist")


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture(scope="module")
def tiny():
    """Images and labels by split."""
    rng = np.random.default_rng(0)
    return {
        split: (
            rng.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            rng.integers(0, 10, count, dtype=np.uint8),
        )
        for split, count in COUNTS.items()
    }


@contextlib.contextmanager
def serve(files: dict[str, bytes]):
    """Serves these files; yields their URL and their checksums in the format of TFDS."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = files[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/mnist/"
    infos = {
        url + name: checksums.UrlInfo(len(body), hashlib.sha256(body).hexdigest(), name)
        for name, body in files.items()
    }
    yield url, infos
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(tiny, monkeypatch, tmp_path_factory):
    """A local server of the archives, with URL and checksums set in the builders.

    The cache of decoded arrays is separate for each test.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    files = {
        name: idx(array)
        for split, names in builders.FILES.items()
        for name, array in zip(names, tiny[split], strict=True)
    }
    with serve(files) as (url, infos):
        for name in RELATIVES:
            monkeypatch.setattr(builders.make_builder(name), "URL", url)
            monkeypatch.setattr(builders.make_builder(name), "url_infos", infos)
        yield files


@pytest.mark.parametrize("name", RELATIVES)
def test_data_sets_are_prepared_and_read_without_tensorflow(site, tiny, tmp_path, name):
    for split, count in COUNTS.items():
        images, labels, fingerprint, file = tfds.load_arrays(name, tmp_path, split)
        assert images.shape == (count, 28, 28, 1)
        # TFDS shuffles the examples: the same pairs in another order.
        given = {(image.tobytes(), label) for image, label in zip(*tiny[split], strict=True)}
        read = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
        assert read == given
        assert fingerprint == fingerprint_of(images, labels)
        assert store.load(file).arrays.keys() == {"images", "labels"}
    assert "tensorflow" not in sys.modules
    assert (tmp_path / name / "3.0.1" / "dataset_info.json").exists()


@pytest.mark.parametrize("name", RELATIVES)
def test_tfds_knows_the_checksum_of_every_download(name):
    builder = builders.make_builder(name)
    assert (builder.name, str(builder.VERSION)) == (name, "3.0.1")
    for file in (*builders.FILES["train"], *builders.FILES["test"]):
        assert builder.url_infos[builder.URL + file].checksum


CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def cifar(monkeypatch):
    """A local server of a CIFAR-10 archive, with 5 x 4 and 3 images; yields the examples."""
    rng = np.random.default_rng(1)
    builder = builders.make_builder("cifar10")
    known = builder._cifar_info.fget(SimpleNamespace(name="cifar10"))
    archive, examples = io.BytesIO(), {"train": [], "test": []}
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:

        def add(name: str, content: bytes):
            entry = tarfile.TarInfo(known.prefix + name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

        add(known.label_files[0], ("\n".join(CLASSES) + "\n\n").encode())
        for split, files, count in (("train", known.train_files, 4), ("test", known.test_files, 3)):
            for file in files:
                images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
                labels = rng.integers(0, 10, count, dtype=np.uint8)
                examples[split] += list(zip(images, labels.tolist(), strict=True))
                by_channel = images.transpose(0, 3, 1, 2).reshape(count, -1)
                add(file, np.concatenate([labels[:, None], by_channel], axis=1).tobytes())
    with serve({"cifar-10-binary.tar.gz": archive.getvalue()}) as (url, infos):
        moved = known._replace(url=url + "cifar-10-binary.tar.gz")
        monkeypatch.setattr(builder, "_cifar_info", moved)
        monkeypatch.setattr(builder, "url_infos", infos)
        yield examples


def test_cifar10_is_prepared_and_read_without_tensorflow(cifar, tmp_path):
    for split, examples in cifar.items():
        images, labels, *_ = tfds.load_arrays("cifar10", tmp_path, split)
        assert images.shape == (len(examples), 32, 32, 3)
        given = {(image.tobytes(), label) for image, label in examples}
        assert {(x.tobytes(), int(y)) for x, y in zip(images, labels, strict=True)} == given
    assert "tensorflow" not in sys.modules
    (names,) = tmp_path.glob("cifar10/3.0.2/label.labels.txt")
    assert names.read_text().split() == CLASSES


def test_tfds_knows_the_checksum_of_cifar10():
    builder = builders.make_builder("cifar10")
    known = builder._cifar_info.fget(SimpleNamespace(name="cifar10"))
    assert (builder.name, str(builder.VERSION)) == ("cifar10", "3.0.2")
    assert builder.url_infos[known.url].checksum


def test_arrays_are_decoded_once(site, tmp_path, monkeypatch):
    first = tfds.load_arrays("mnist", tmp_path)
    monkeypatch.setattr(tfds, "decode", lambda *args: pytest.fail("decoded again"))
    again = tfds.load_arrays("mnist", tmp_path)
    np.testing.assert_array_equal(first.images, again.images)
    assert again.file == first.file
    for file in (tmp_path / "mnist" / "3.0.1").glob("*.array_record*"):
        file.unlink()
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").unlink()
    assert tfds.load_arrays("mnist", tmp_path).fingerprint == first.fingerprint


def test_data_set_has_its_own_test_split(site, tiny, tmp_path):
    opened = data.open_data(DataSettings(dataset="mnist", data_dir=tmp_path))
    assert opened.own_test
    assert opened.remarks == ()
    for split in (None, *COUNTS):
        dataset = opened.load(split)
        expected = tfds.load_arrays("mnist", tmp_path, split or "train")
        np.testing.assert_array_equal(dataset.images, expected.images)
        np.testing.assert_array_equal(dataset.labels, expected.labels)
        assert dataset.fingerprint == expected.fingerprint
        assert len(dataset.images) == COUNTS[split or "train"]
    assert opened.fingerprint == opened.load(None).fingerprint


def test_decoded_arrays_are_read_from_disk(site, tmp_path):
    found, _ = data.load("mnist", tmp_path, data_in="disk")
    assert found.on_disk
    expected, remarks = data.load("mnist", tmp_path)
    assert not expected.on_disk
    assert remarks == ()
    assert found.fingerprint == expected.fingerprint
    key = jax.random.key(0)
    for step in range(4):
        images, labels = found.batch(key, step, 9)
        wanted = expected.batch(key, step, 9)
        np.testing.assert_array_equal(to_uint8(images), to_uint8(wanted.images))
        np.testing.assert_array_equal(labels, wanted.labels)


def test_damaged_cache_is_decoded_again(site, tmp_path):
    first = tfds.load_arrays("mnist", tmp_path)
    (file,) = tmp_path.glob("mnist/3.0.1/jaxgan-train-*.safetensors")
    images = np.array(first.images)
    file.write_bytes(file.read_bytes()[:-100])
    again = tfds.load_arrays("mnist", tmp_path)
    np.testing.assert_array_equal(images, again.images)
    assert again.fingerprint == first.fingerprint
    assert again.file == first.file == file
    assert store.load(file).arrays.keys() == {"images", "labels"}


def test_read_only_folder_is_unchanged(site, tmp_path):
    directory = tfds.prepare("mnist", tmp_path)
    before = {path.name for path in directory.iterdir()}
    directory.chmod(0o555)
    saved = tfds.load_arrays("mnist", tmp_path).file
    assert saved.is_relative_to(user_cache())
    assert {path.name for path in directory.iterdir()} == before
    directory.chmod(0o755)


def test_wrong_checksum_is_rejected(site, tmp_path):
    name = builders.FILES["train"][0]
    site[name] = site[name][:-1] + bytes([site[name][-1] ^ 1])
    with pytest.raises(builders.Unavailable, match="download failed .*hecksum"):
        tfds.load_arrays("mnist", tmp_path)
    assert not list(tmp_path.glob("mnist/*/dataset_info.json"))


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["flipped", "truncated"])
def test_damaged_files_are_detected(site, tiny, tmp_path, place, kind):
    directory = tfds.prepare("mnist", tmp_path)
    (file,) = directory.glob("mnist-train.array_record*")
    content = bytearray(file.read_bytes())
    used = len(content) - content.count(0) if kind == "flipped" else len(content)
    at = int(place * used)
    if kind == "flipped":
        content[at] ^= 0x10
    else:
        del content[at:]
    file.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        tfds.load_arrays("mnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("dataset_info.json", '"23"', '"22"'), ("features.json", '"1"', '"3"')],
)
def test_damaged_descriptions_are_detected(site, tmp_path, name, before, after):
    directory = tfds.prepare("mnist", tmp_path)
    tfds.load_arrays("mnist", tmp_path)
    text = (directory / name).read_text()
    assert before in text
    (directory / name).write_text(text.replace(before, after))
    with pytest.raises(RunError, match="damaged"):
        tfds.load_arrays("mnist", tmp_path)


def test_missing_files_are_detected(site, tmp_path):
    directory = tfds.prepare("mnist", tmp_path)
    (file,) = directory.glob("mnist-train.array_record*")
    file.unlink()
    with pytest.raises(RunError, match="damaged.*array_record"):
        tfds.load_arrays("mnist", tmp_path)


def test_os_errors_are_not_reported_as_damage(site, tmp_path, monkeypatch):
    directory = tfds.prepare("mnist", tmp_path)
    before = {path: path.read_bytes() for path in directory.iterdir()}

    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tfds.import_tfds(), "builder_from_directory", fail)
    with pytest.raises(RunError, match="Input/output error.*same command again") as error:
        tfds.load_arrays("mnist", tmp_path)
    assert "delete" not in str(error.value)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_incompatible_tfds_is_not_reported_as_damage(site, tmp_path, monkeypatch):
    tfds.prepare("mnist", tmp_path)
    monkeypatch.delattr(tfds.import_tfds(), "builder_from_directory")
    with pytest.raises(RunError, match="tensorflow-datasets fails on .*: upgrade it"):
        tfds.load_arrays("mnist", tmp_path)


@pytest.mark.parametrize("missing", ["array_record.python", "tensorflow_datasets"])
def test_missing_packages_are_reported_in_one_line(site, tmp_path, monkeypatch, missing):
    tfds.prepare("mnist", tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(builders.Unavailable, match=f"{missing}.*--dataset digits") as error:
        data.load("mnist")
    assert "\n" not in str(error.value)
    dataset, (remark,) = data.load()
    assert dataset.name == "digits"
    assert "array-record" in remark
    assert "downloadable" not in remark


def test_cached_arrays_need_neither_package(site, tmp_path, monkeypatch):
    expected = tfds.load_arrays("mnist", tmp_path)
    for name in ("array_record.python", "tensorflow_datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert tfds.load_arrays("mnist", tmp_path).fingerprint == expected.fingerprint


def test_data_root_of_a_user_without_home_is_in_the_cache(monkeypatch):
    def homeless(*args):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert tfds.data_root(None) == user_cache() / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", "~nobody-of-this-name/data")
    with pytest.raises(UsageError, match="~nobody-of-this-name"):
        tfds.data_root(None)


def test_unresponsive_server_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "PROBE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(builders.make_builder("mnist"), "URL", url)
        with pytest.raises(builders.Unavailable, match="cannot be downloaded"):
            tfds.load_arrays("mnist", tmp_path)


def test_real_mnist(mnist_dir):
    images, labels, *_ = tfds.load_arrays("mnist", mnist_dir)
    assert images.shape == (60_000, 28, 28, 1)
    # The known class counts of the training set.
    expected = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(labels), expected)
    np.testing.assert_allclose(images.mean() / 255, 0.1307, atol=1e-4)


def test_truncated_real_mnist_is_detected(mnist_dir, tmp_path):
    copy = tmp_path / "mnist" / "3.0.1"
    shutil.copytree(mnist_dir / "mnist" / "3.0.1", copy, copy_function=shutil.copyfile)
    copy.chmod(0o755)
    (file,) = copy.glob("mnist-train.array_record*")
    with open(file, "r+b") as opened:
        opened.truncate(file.stat().st_size - 70_000)
    with pytest.raises(RunError, match="damaged"):
        tfds.load_arrays("mnist", tmp_path)
