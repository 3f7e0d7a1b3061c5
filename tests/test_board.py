"""Event files of TensorBoard, read back."""

import json
import shutil
import struct
import sys
from pathlib import Path

import pytest
from helpers import (
    copy_run,
    read_files,
    read_json,
    read_metrics,
    write_lines,
    write_run,
    write_scores,
)
from tensorboardX.proto.event_pb2 import Event

import jaxgan
from jaxgan import board
from jaxgan.errors import RunError, UsageError
from jaxgan.outputs import event_files
from jaxgan.outputs.event_files import FILE

GROUPS = {
    "d_loss": "loss",
    "g_loss": "loss",
    "d_real": "outputs",
    "d_fake": "outputs",
    "d_real_positive": "outputs",
    "d_fake_positive": "outputs",
    "d_grad_norm": "grad_norm",
    "g_grad_norm": "grad_norm",
    "fid": "scores",
}


def checksum(data: bytes) -> int:
    """Returns CRC-32C (RFC 3720, appendix B.4) as TFRecord masks it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path: Path, check: bool = False) -> list[Event]:
    """Returns the events in a file of TFRecords, after that of the version."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        record, content = content[: length + 16], content[length + 16 :]
        if check:
            assert struct.unpack("<I", record[8:12])[0] == checksum(record[:8])
            assert struct.unpack("<I", record[-4:])[0] == checksum(record[12:-4])
        events.append(Event.FromString(record[12:-4]))
    assert events[0].file_version == "brain.Event:2"
    return events[1:]


def scalars(path: Path) -> dict[int, dict[str, float]]:
    """Returns the scalars in a file by step and tag, each of which occurs once."""
    found: dict[int, dict[str, float]] = {}
    for event in read_events(path):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                own = found.setdefault(event.step, {})
                assert value.tag not in own
                own[value.tag] = value.simple_value
    return found


def images(path: Path) -> dict[int, bytes]:
    """Returns the pictures in a file by step."""
    return {
        event.step: value.image.encoded_image_string
        for event in read_events(path)
        for value in event.summary.value
        if value.HasField("image")
    }


def expected_scalars(rows: list[dict]) -> dict[int, dict]:
    return {
        row["step"]: {
            f"{GROUPS[name]}/{name}": pytest.approx(value, rel=1e-6)
            for name, value in row.items()
            if name in GROUPS
        }
        for row in rows
    }


def test_metrics_and_pictures_are_events(finished, tmp_path):
    (folder,) = board.main(board.Config(finished, tmp_path / "out"))
    assert folder == tmp_path / "out" / finished.name
    assert scalars(folder / FILE) == expected_scalars(read_metrics(finished))
    pictures = {int(path.stem): path.read_bytes() for path in (finished / "samples").iterdir()}
    assert images(folder / FILE) == pictures
    (first, *_) = [event for event in read_events(folder / FILE) if event.step == 0]
    assert (first.summary.value[0].image.height, first.summary.value[0].image.colorspace) == (
        242,
        1,
    )
    times = {path.stat().st_mtime for path in (finished / "samples").iterdir()}
    times.add((finished / "metrics.jsonl").stat().st_mtime)
    assert {event.wall_time for event in read_events(folder / FILE)} == times
    assert "tfevents" in FILE


def test_records_have_checksums(tmp_path, ring):
    run = tmp_path / "run"
    write_run(run, ring, 10)
    (folder,) = board.main(board.Config(run))
    assert folder == run / "tensorboard"
    assert len(read_events(folder / FILE, check=True)) == 1


def write_seeds(run: Path, seeds: range, steps=(10, 20)) -> list[dict]:
    """Makes a copied run one of several seeds; returns its lines."""
    content = read_json(run / "config.json")
    content["config"] |= {"seed": seeds[0], "seeds": len(seeds)}
    (run / "config.json").write_text(json.dumps(content))
    rows = [{"step": t, "seed": k, "d_loss": t + k, "g_loss": 0.5} for t in steps for k in seeds]
    write_lines(run / "metrics.jsonl", rows)
    return rows


def test_each_seed_has_a_folder(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    rows = write_seeds(run, range(5, 8))
    (folder,) = board.main(board.Config((run,)))
    for seed in (5, 6, 7):
        own = [row for row in rows if row["seed"] == seed]
        assert scalars(folder / f"seed_{seed}" / FILE) == expected_scalars(own)
    assert scalars(folder / FILE) == {}
    assert sorted(images(folder / FILE)) == [0, 20, 40, 60]


def test_scores_are_events(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    write_scores(run, 7.5)
    rows = read_metrics(run)
    rows[1]["fid"] = 9.5
    write_lines(run / "metrics.jsonl", rows)
    (folder,) = board.main(board.Config(run))
    found = scalars(folder / FILE)
    assert found[20]["scores/fid"] == 9.5
    assert {tag: v for tag, v in found[60].items() if tag.startswith("evaluation/")} == {
        "evaluation/fid": 7.5,
        "evaluation/precision": 0.5,
    }


def test_scores_of_seeds_are_in_their_folders(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    write_seeds(run, range(2))
    for seed in "01":
        shutil.copytree(finished / "generator", run / "generator" / seed)
    write_scores(run, 7.5)
    result = read_json(run / "evaluation.json")
    result["seeds"] = {seed: {"step": 60, "mean": {"fid": 7.0 + int(seed)}} for seed in "01"}
    (run / "evaluation.json").write_text(json.dumps(result))
    (folder,) = board.main(board.Config(run))
    assert scalars(folder / FILE)[60]["evaluation/fid"] == 7.5
    assert [scalars(folder / f"seed_{k}" / FILE)[60]["evaluation/fid"] for k in "01"] == [7.0, 8.0]


def test_files_are_replaced(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    write_seeds(run, range(3))
    (folder,) = board.main(board.Config(run))
    (folder / "events.out.tfevents.1.mine").write_bytes(b"mine")
    before = read_files(folder)
    assert board.main(board.Config(run)) == [folder]
    assert read_files(folder) == before
    rows = write_seeds(run, range(1, 3), steps=(10, 20, 30))
    board.main(board.Config(run))
    names = {FILE, f"seed_1/{FILE}", f"seed_2/{FILE}", "events.out.tfevents.1.mine"}
    assert read_files(folder).keys() == names
    own = [row for row in rows if row["seed"] == 1]
    assert scalars(folder / "seed_1" / FILE) == expected_scalars(own)


def test_failure_keeps_the_earlier_files(finished, tmp_path, monkeypatch):
    run = copy_run(finished, tmp_path / "run")
    write_seeds(run, range(3))
    (folder,) = board.main(board.Config(run))
    before = read_files(folder)
    write_seeds(run, range(3), steps=(10, 20, 30))
    write = event_files._write

    def fail(path, *arguments):
        write(path, *arguments)
        if path.parent.name == "seed_2":
            raise OSError("full")

    monkeypatch.setattr(event_files, "_write", fail)
    with pytest.raises(OSError, match="full"):
        board.main(board.Config(run))
    assert read_files(folder) == before


def test_damaged_and_missing_parts(finished, tmp_path, capsys):
    run = copy_run(finished, tmp_path / "run")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 70, "d_loss": NaN, "g_loss": 2}\n{\n{"step": 80, "d_lo')
    (run / "samples" / "000000020.png").write_bytes(b"\x89PNG")
    (run / "evaluation.json").write_text("{")
    (folder,) = board.main(board.Config(run))
    assert scalars(folder / FILE)[70] == {"loss/g_loss": 2}
    assert 80 not in scalars(folder / FILE)
    assert sorted(images(folder / FILE)) == [0, 40, 60]
    printed = capsys.readouterr().out
    assert "left out 1 lines of" in printed
    assert "left out 1 pictures of" in printed
    (tmp_path / "new").mkdir()
    shutil.copy(run / "config.json", tmp_path / "new")
    (folder,) = board.main(board.Config(tmp_path / "new"))
    assert read_events(folder / FILE) == []


def test_long_runs_are_thinned(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(event_files, "MOST_LINES", 10)
    monkeypatch.setattr(event_files, "MOST_PICTURES", 2)
    run = copy_run(finished, tmp_path / "run")
    rows = [{"step": t, "d_loss": 1.0, "g_loss": 1.0} for t in range(1, 1_001)]
    rows[500]["fid"] = 3.0
    write_lines(run / "metrics.jsonl", rows)
    (folder,) = board.main(board.Config(run))
    found = scalars(folder / FILE)
    assert len(found) == 11
    assert {1, 501, 1_000} <= found.keys()
    assert sorted(images(folder / FILE)) == [0, 60]
    assert "took 10 evenly spaced lines of each seed" in capsys.readouterr().out


def test_runs_of_one_name_have_folders_of_their_own(finished, tmp_path):
    runs = [copy_run(finished, tmp_path / name / "run") for name in "ab"]
    folders = board.main(board.Config(runs, tmp_path / "out"))
    assert folders == [tmp_path / "out" / name / "run" for name in "ab"]
    assert all((folder / FILE).exists() for folder in folders)


def test_wrong_settings_are_rejected(finished, tmp_path):
    (tmp_path / "file").write_text("a")
    for runs, out, message in (
        ((), None, "name the run directories"),
        ((finished, tmp_path), tmp_path / "out", "not a run directory"),
        ((finished,), tmp_path / "file", "is a file"),
    ):
        with pytest.raises(UsageError, match=message):
            board.main(board.Config(runs, out))
    assert read_files(tmp_path) == {"file": b"a"}


def test_missing_tensorboardx_is_reported(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    with pytest.raises(RunError, match=r"pip install 'jaxgan\[board\]'"):
        board.main(board.Config(finished, tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_training_does_not_know_of_trackers():
    package = Path(jaxgan.__file__).parent
    files = {file.name for file in package.rglob("*.py") if "tensorboardX" in file.read_text()}
    assert files == {"board.py", "event_files.py"}
