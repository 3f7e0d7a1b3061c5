"""The run directory: what a run leaves on disk."""

import contextlib
import json
import shutil
import statistics
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from jaxgan import distributed, plots
from jaxgan.checkpoint import Checkpoints, save_generator, sha256
from jaxgan.description import compared
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.files import read_json, write_json, write_text
from jaxgan.gan import GANState, Metrics
from jaxgan.loops import Call, Snapshot, steps_taken

SCORES = ("fid", "precision", "recall", "modes", "high_quality")
"""What `metrics.jsonl` holds, beside the metrics of the step, where a run is evaluated."""
CONTENTS = (
    "metrics.jsonl",
    "samples",
    "curves.png",
    "training.gif",
    "summary.json",
    "checkpoints",
    "damaged",
    "generator",
    "generator-best",
    "evaluation.json",
    "evaluation-best.json",
    "config.json",
)
"""Everything that a run writes; `config.json`, by which it is known, is the last to go."""


class Run:
    """A run directory, held by this process or, if there are several, by the first of them.

    Only that one writes; every call is made in all of them.

    description: the content of `config.json`.
    remarks: what the user should know and has not been told yet.
    frozen: why a seed was frozen, by the seed, where one diverged beside others.
    scorer: a generator's variables to scores by name; for runs that are evaluated on the way.
    """

    def __init__(self, path: Path, description: dict, checkpoints: Checkpoints, remarks: list[str]):
        self.path, self.description, self.remarks = path, description, remarks
        self.scorer: Callable[[dict], dict[str, float]] | None = None
        self.checkpoints = checkpoints
        self.frozen: dict[int, str] = {}
        first, count = description["config"]["seed"], description["config"]["seeds"]
        self.seeds = range(first, first + count) if count > 1 else None

    def latest(self, template: GANState) -> GANState | None:
        """Returns the newest state that was saved whole, None in a new run.

        template: a state of shapes. What a killed process logged beyond that state is dropped.
        """
        found = self.checkpoints.latest(template)
        step, state, damaged = found or (0, None, [])
        distributed.check_same(
            "the checkpoint that they read", f"{step} {found and sha256(state)}", "share --out"
        )
        rows = self.rows()
        if rows and not found:
            self.remarks.append("no checkpoint had been saved: starting from step 0 again")
        for bad in damaged:
            self.remarks.append(
                f"the checkpoint of step {bad} is damaged (moved to {self.path / 'damaged'}): "
                f"continuing from step {step}"
            )
        distributed.meet("read what was logged")
        if distributed.is_first():
            kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
            write_text(self.path / "metrics.jsonl", "".join(kept))
        return state

    def record(self, call: Call, log_every: int) -> dict[str, float]:
        """Writes what a call of the device computed and returns the metrics of its last step.

        Of several seeds these are the means over those that are not frozen. Raises `Diverged`,
        before anything of it is written, where a value is not finite; with several seeds, where
        every one is frozen.
        """
        metrics = {name: np.asarray(values) for name, values in call.metrics._asdict().items()}
        if self.seeds is None:
            self._check_finite(call, metrics)
        else:
            self._note_frozen(call, metrics)
        if distributed.is_first():
            scores = self._scores(call)
            self._log(call, metrics, log_every, scores)
            if call.images is not None:
                self.picture(call.last, call.images)
        if call.snapshot is not None:
            self.checkpoints.save(call.last, call.snapshot.state)
            if distributed.is_first():
                self._save_generators(call.snapshot)
        going = np.asarray(call.taken) == call.last
        return {name: float(values[..., -1][going].mean()) for name, values in metrics.items()}

    def news(self) -> list[str]:
        """Returns the remarks that were not yet returned."""
        news, self.remarks = self.remarks, []
        return news

    def picture(self, step: int, images: jax.Array) -> None:
        """Writes samples `[n, ...]`, with several seeds `[seeds, n, ...]`, into `samples/`."""
        if distributed.is_first():
            conditional = self.description["config"]["conditional"]
            columns = self.description["dataset"]["num_classes"] if conditional else None
            path = self.path / "samples" / f"{step:09d}.png"
            plots.save_samples(path, np.asarray(images), columns)

    def summarise(self, state: GANState, speed: dict) -> dict:
        """Writes the curves, the animation and `summary.json`, and returns what the last one says.

        speed: entries of the summary. Waits for the checkpoints that are still being written.
        """
        self.checkpoints.wait()
        return distributed.from_first(lambda: self._summarised(state, speed))

    def _summarised(self, state: GANState, speed: dict) -> dict:
        rows = self.rows()
        results = {"final": rows[-1] if rows else {}}
        if self.seeds is not None:
            results = self._results(rows, np.asarray(state.step))
        summary = {
            "steps": steps_taken(state),
            **speed,
            **results,
            "state_sha256": sha256(state),
        }
        plots.save_curves(self.path / "curves.png", rows)
        frames = sorted((self.path / "samples").glob("*.png"))
        plots.save_animation(self.path / "training.gif", frames)
        write_json(self.path / "summary.json", summary)
        return summary

    def worth_opening(self) -> list[Path]:
        """Returns the files that a person looks at first."""
        files = (self.path / name for name in ("training.gif", "curves.png", "summary.json"))
        return [file for file in files if file.exists()]

    def summary(self) -> dict | None:
        """Returns what `summary.json` says, None where it does not say that the run has ended."""
        summary = read_json(self.path / "summary.json")
        return summary if "steps" in summary and "state_sha256" in summary else None

    def rows(self) -> list[dict]:
        """Returns the complete lines of `metrics.jsonl`. Raises `RunError` where it is damaged."""
        names = ("step", *(["seed"] if self.seeds else []), *Metrics._fields)
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                scores = [name for name in row if name in SCORES]
                rows.append({name: row[name] + 0 for name in (*names, *scores)})
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # A process was killed while it wrote.
                    break
                raise RunError(
                    f"line {number} of {path} is damaged: repair that line, or move the file away, "
                    "and run the same command again"
                ) from error
        return rows

    def _log(
        self, call: Call, metrics: dict[str, np.ndarray], log_every: int, scores: dict[int, dict]
    ) -> None:
        by_seed = {name: np.atleast_2d(values) for name, values in metrics.items()}
        taken = np.atleast_1d(call.taken)
        with open(self.path / "metrics.jsonl", "a") as file:
            last = call.last - call.first
            logged = range(-call.first % log_every, last + 1, log_every)
            for i in sorted({*logged, *([last] if scores else [])}):
                for k in np.flatnonzero(taken >= call.first + i):
                    row = {"step": call.first + i}
                    if self.seeds is not None:
                        row["seed"] = self.seeds[k]
                    row |= {name: float(values[k, i]) for name, values in by_seed.items()}
                    row |= scores.get(k, {}) if i == last else {}
                    file.write(json.dumps(row) + "\n")

    def _scores(self, call: Call) -> dict[int, dict]:
        """Returns the scores of each seed's generator that is to be evaluated, by its place.

        The best one is kept, which in a run that is continued may already be that of a later step.
        """
        if call.generator is None:
            return {}
        variables, taken = jax.tree.map(np.asarray, (call.generator, call.taken))
        scores, rows = {}, self.rows()
        for k, seed, steps, own in self._each(variables, taken):
            if steps < call.last:
                continue
            try:
                scores[k] = self.scorer(own)
            except UsageError as error:  # Such as of a generator that draws one image only.
                which = "" if seed is None else f" of seed {seed}"
                self.remarks.append(f"the samples{which} at step {steps} have no scores: {error}")
                continue
            kept = self.path / "generator-best" / ("" if seed is None else str(seed))
            before = [row for row in rows if row.get("seed") == seed]
            before = [r["fid"] for r in (*before, read_json(kept / "generator.json")) if "fid" in r]
            if "fid" in scores[k] and scores[k]["fid"] < min(before, default=np.inf):
                self._save_generator("generator-best", seed, own, {"step": steps, **scores[k]})
        return scores

    def _save_generators(self, snapshot: Snapshot) -> None:
        """Writes the averaged generator, with several seeds each into a folder of its own."""
        variables, taken = jax.tree.map(np.asarray, (snapshot.generator, snapshot.state.step))
        for _, seed, steps, own in self._each(variables, taken):
            self._save_generator("generator", seed, own, {"step": steps})

    def _each(self, variables: dict, taken: np.ndarray) -> Iterator[tuple]:
        """Yields each seed's place, number (None for one alone), steps taken and variables."""
        if self.seeds is None:
            yield 0, None, int(taken), variables
            return
        for k, seed in enumerate(self.seeds):
            yield k, seed, int(taken[k]), jax.tree.map(lambda leaf, k=k: leaf[k], variables)

    def _save_generator(self, name: str, seed: int | None, variables: dict, about: dict) -> None:
        path = self.path / name
        if seed is not None:
            path, about = path / str(seed), {**about, "seed": seed}
        save_generator(path, variables, {**about, **self.description})

    def _results(self, rows: list[dict], taken: np.ndarray) -> dict:
        """Returns each seed's last metrics, and their mean and standard deviation over the seeds.

        The deviation is that of a sample (n - 1). Seeds that are frozen do not count.
        """
        last = {row["seed"]: row for row in rows}
        seeds, ended = {}, []
        for seed, steps in zip(self.seeds, taken.tolist(), strict=True):
            final = {k: v for k, v in last.get(seed, {}).items() if k != "seed"}
            seeds[str(seed)] = {"steps": steps, "final": final}
            if steps < taken.max():
                seeds[str(seed)]["diverged"] = self.frozen.get(seed, f"at step {steps + 1}")
            elif final:
                ended.append(final)
        columns = {name: [row[name] for row in ended] for name in Metrics._fields if ended}
        return {
            "seeds": seeds,
            "mean": {name: statistics.mean(values) for name, values in columns.items()},
            "std": {n: statistics.stdev(v) for n, v in columns.items() if len(v) > 1},
        }

    def _note_frozen(self, call: Call, metrics: dict[str, np.ndarray]) -> None:
        """Remarks the seeds that this call found frozen. Raises `Diverged` where all are."""
        taken = np.asarray(call.taken)
        for k in np.flatnonzero(taken < call.last):
            seed, step = self.seeds[k], int(taken[k]) + 1
            if seed in self.frozen:
                continue
            i = max(step - call.first, 0)
            values = {name: values[k, i] for name, values in metrics.items()}
            bad = [f"{name} is {value}" for name, value in values.items() if not np.isfinite(value)]
            what = bad[0] if bad else "the state is not finite"
            self.frozen[seed] = f"{what} at step {step}"
            self.remarks.append(
                f"seed {seed} diverged: {self.frozen[seed]}; it stays as it was after step "
                f"{step - 1}, and the other seeds go on"
            )
        if len(self.frozen) == len(self.seeds):
            reasons = "; ".join(f"seed {seed}: {why}" for seed, why in self.frozen.items())
            self._diverged(f"every seed ({textwrap.shorten(reasons, 400, placeholder=' ...')})")

    def _check_finite(self, call: Call, metrics: dict[str, np.ndarray]) -> None:
        bad = {name: int(np.argmin(np.isfinite(values))) for name, values in metrics.items()}
        bad = {name: i for name, i in bad.items() if not np.isfinite(metrics[name][i])}
        if bad:
            name = min(bad, key=bad.get)
            i = bad[name]
            self._diverged(f"{name} is {metrics[name][i]} at step {call.first + i}")
        for path, is_bad in (call.snapshot.bad if call.snapshot else {}).items():
            if is_bad:
                self._diverged(f"{path} is not finite at step {call.last}")

    def _diverged(self, what: str) -> None:
        saved = self.checkpoints.newest()
        kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
        raise Diverged(
            f"training diverged: {what} ({kept} in {self.path}); "
            "start afresh with --overwrite and, perhaps, a smaller --learning-rate"
        )


@contextlib.contextmanager
def opened(path: Path, description: dict, overwrite: bool) -> Iterator[Run]:
    """Opens a run directory, new or with a run of the same configuration, for this run alone.

    description: what `describe` returned; it becomes the `config.json` of a new run.
    Raises `UsageError` for a folder that is not a run's, or holds another run, and `RunError` where
    another process trains there.
    """
    with contextlib.ExitStack() as held:
        remarks = distributed.from_first(lambda: _prepared(path, description, overwrite, held))
        if not path.is_dir():
            raise RunError(f"{path} is not the same folder in every process: name a shared --out")
        checkpoints = held.enter_context(contextlib.closing(Checkpoints(path / "checkpoints")))
        yield Run(path, description, checkpoints, remarks)


def _prepared(path: Path, description: dict, overwrite: bool, held: contextlib.ExitStack) -> list:
    """Locks the folder, into `held`, and writes `config.json` or compares it; returns remarks."""
    known = path / "config.json"
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out {path} is a file; name a folder")
    if path.is_dir() and not known.exists() and _foreign(path):
        raise UsageError(f"--out {path} holds other files and no run; name another folder")
    if known.exists() and not {"config", "dataset"} <= read_json(known).keys():
        raise UsageError(
            f"{known} is not the file of a run, or is damaged: restore it, or name another --out"
        )
    path.mkdir(parents=True, exist_ok=True)
    held.enter_context(_locked(path))
    if overwrite:
        for name in CONTENTS:
            _remove(path / name)
    remarks = []
    if _started(path):
        remarks = compared(path, read_json(known), description)
    else:
        write_json(known, description)
    (path / "samples").mkdir(exist_ok=True)
    return remarks


def _foreign(directory: Path) -> bool:
    leftovers = (".lock", "config.json.tmp")  # Of a process that was killed as it began.
    return any(child.name not in leftovers for child in directory.iterdir())


def _started(path: Path) -> bool:
    """Whether a run has left more there than its configuration and a first picture."""
    metrics, checkpoints = path / "metrics.jsonl", path / "checkpoints"
    return (metrics.exists() and metrics.stat().st_size > 0) or (
        checkpoints.is_dir() and any(checkpoints.iterdir())
    )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps other processes out; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        yield
        return
    with open(directory / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process is training in {directory}") from error
        yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
