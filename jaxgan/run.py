"""The run directory: what a run leaves on disk."""

import contextlib
import statistics
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import distributed, metrics_log, plots
from jaxgan.checkpoint import Checkpoints, reason_of_the_system, save_generator, sha256
from jaxgan.description import continued
from jaxgan.directory import has_saved, prepare
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.files import read_json, write_json, write_text
from jaxgan.gan import GANState, Metrics
from jaxgan.loops import Call, steps_taken
from jaxgan.losses import LOSSES


class Run:
    """A run directory, held by this process or, if there are several, by the first of them.

    Only that one writes; every call is made in all of them.

    description: what `describe` returned.
    remarks: what the user should know and has not been told yet.
    history: in what the run was computed, and from which step on.
    frozen: why a seed was frozen, by the seed, where one diverged beside others.
    failure: what could not be written, and why; the run should end, with its state saved.
    scorer: a generator's variables to scores by name; for runs that are evaluated on the way.
    """

    def __init__(
        self,
        path: Path,
        description: dict,
        checkpoints: Checkpoints,
        remarks: list[str],
        history: list[dict],
    ):
        self.path, self.description, self.remarks = path, description, remarks
        self.history = history
        self.scorer: Callable[[dict], dict[str, float]] | None = None
        self.checkpoints = checkpoints
        self.frozen: dict[int, str] = {}
        self.failure: tuple[Path, str] | None = None
        first, count = description["config"]["seed"], description["config"]["seeds"]
        self.seeds = range(first, first + count) if count > 1 else None
        self._unlogged: list[int] = []
        self._undrawn: set[str] = set()
        self._generators: tuple[dict, np.ndarray] | None = None

    def latest(self, template: GANState) -> GANState | None:
        """Returns the newest state that was saved whole, None in a new run.

        template: a state of shapes. What a killed process logged beyond that state is dropped.
        Raises `UsageError` where the checkpoints are gone of a run that had some.
        """
        found = self.checkpoints.latest(template)
        step, state, damaged = found or (0, None, [])
        distributed.check_same(
            "the checkpoint that they read", f"{step} {found and sha256(state)}", "share --out"
        )
        if found is None and distributed.from_first(lambda: has_saved(self.path)):
            raise UsageError(
                f"{self.path} holds what a run has left and none of its checkpoints: restore "
                f"{self.path / 'checkpoints'}, name another --out, or start afresh with --overwrite"
            )
        rows = self.rows()
        if rows and not found:
            self.remarks.append("no checkpoint had been saved: starting from step 0 again")
        for bad in damaged:
            self.remarks.append(
                f"the checkpoint of step {bad} is damaged (moved to {self.path / 'damaged'}): "
                f"continuing from step {step}"
            )
        rows = [row for row in rows if row["step"] <= step]
        if found:
            self._note_missing(rows, np.asarray(state.step))
        distributed.meet("read what was logged")
        if distributed.is_first():
            write_text(self.path / "metrics.jsonl", metrics_log.text(rows))
        return state

    def continues(self, step: int) -> None:
        """Notes in `config.json` in what the run is computed from a step on, with a remark."""
        now = self.description["environments"][0]
        self.history, remark = continued(self.history, now, step)
        if remark:
            self.remarks.append(remark)
        self.description = {**self.description, "environments": self.history}
        path = self.path / "config.json"

        def noted():
            content = read_json(path) if step else self.description
            if content != (new := {**content, "environments": self.history}) or not step:
                write_json(path, new)

        distributed.from_first(noted)

    def record(self, call: Call, log_every: int) -> dict[str, float]:
        """Writes what a call of the device computed and returns the metrics of its last step.

        Of several seeds these are the means over those that are not frozen. Raises `Diverged`,
        before anything of it is written, where a value is not finite; with several seeds, where
        every one is frozen. What cannot be written, but for the state, is left in `failure`, and
        what cannot be drawn in `remarks`.
        """
        metrics = {name: np.asarray(values) for name, values in call.metrics._asdict().items()}
        if self.seeds is None:
            self._check_finite(call, metrics)
        else:
            self._note_frozen(call, metrics)
        # The lines are there before the checkpoint is: whoever is killed in between keeps them.
        try:
            if distributed.is_first():
                scores = self._scores(call)
                self._log(metrics_log.rows_of(call, metrics, log_every, self.seeds, scores))
                if call.images is not None:
                    self.picture(call.last, call.images)
        finally:
            self._save(call)
        going = np.asarray(call.taken) == call.last
        return {name: float(values[..., -1][going].mean()) for name, values in metrics.items()}

    def _save(self, call: Call) -> None:
        """Begins the checkpoint of a call that ends with one, once the one before is complete."""
        if call.snapshot is not None:
            self._finish_saving()
            self.checkpoints.save(call.last, call.snapshot.state)
            if distributed.is_first():
                variables, taken = call.snapshot.generator, call.snapshot.state.step
                self._generators = jax.tree.map(np.asarray, (variables, taken))
        elif self._generators and not self.checkpoints.saving():
            self._finish_saving()

    def finish(self) -> None:
        """Returns when everything is saved. Raises `RunError` where something was not written."""
        self._finish_saving()
        saved = self.checkpoints.newest()
        distributed.from_first(lambda: self._check_written(saved))

    def close(self) -> None:
        """Ends the background work."""
        self.checkpoints.close()
        self._write_generators()

    def news(self) -> list[str]:
        """Returns the remarks that were not yet returned."""
        news, self.remarks = self.remarks, []
        return news

    def picture(self, step: int, images: jax.Array) -> None:
        """Writes samples `[n, ...]`, with several seeds `[seeds, n, ...]`, into `samples/`."""
        if distributed.is_first():
            conditional = self.description["config"]["conditional"]
            columns = self.description["dataset"]["num_classes"] if conditional else None
            path, drawn = self.path / "samples" / f"{step:09d}.png", np.asarray(images)
            self._draw("samples/", lambda: plots.save_samples(path, drawn, columns))

    def summarise(self, state: GANState, speed: dict) -> dict:
        """Writes the curves, the animation and `summary.json`, and returns what the last one says.

        speed: entries of the summary. Waits for the checkpoints that are still being written.
        """
        self.finish()
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
        curves = self.path / "curves.png"
        outputs = LOSSES[self.description["config"].get("loss", "non_saturating")]().outputs
        self._draw("curves.png", lambda: plots.save_curves(curves, rows, outputs))
        frames = sorted((self.path / "samples").glob("*.png"))
        animation = self.path / "training.gif"
        self._draw("training.gif", lambda: plots.save_animation(animation, frames))
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
        return metrics_log.read(self.path / "metrics.jsonl", self.seeds is not None)

    def lacks_generator(self, state: GANState) -> bool:
        """Returns whether `generator/` is missing, or of an earlier step than a state."""
        for _, seed, taken, _ in self._each({}, np.asarray(state.step)):
            folder = self._folder("generator", seed)
            step = read_json(folder / "generator.json").get("step")
            there = isinstance(step, int) and (folder / "weights.npz").exists()
            if not there or step < taken:
                return True
        return False

    def restore_generator(self, state: GANState, variables: dict) -> None:
        """Writes `generator/` of a state that is saved; variables: of the averaged generator."""
        if distributed.is_first():
            self._generators = jax.tree.map(np.asarray, (variables, state.step))
            self._write_generators()
            step = steps_taken(state)
            self.remarks.append(f"{self.path / 'generator'} was not of step {step}: written again")

    def _note_missing(self, rows: list[dict], taken: np.ndarray) -> None:
        """Remarks lines that were written and are gone. taken: steps of the state, or states."""
        by_seed = {seed: steps for _, seed, steps, _ in self._each({}, taken)}
        past = [entry for entry in self.history if entry["step"] < max(by_seed.values())]
        lost = metrics_log.missing(rows, past, by_seed)
        if lost:
            lines = "a line is" if len(lost) == 1 else f"{len(lost):,} lines are"
            self.remarks.append(
                f"{lines} missing in {self.path / 'metrics.jsonl'}, from step {lost[0]} on: curves "
                "and summary do without"
            )
        elif not rows and not any("log_every" in entry for entry in past):
            self.remarks.append(f"{self.path / 'metrics.jsonl'} has no lines: they start anew")

    def _log(self, rows: list[dict]) -> None:
        """Appends lines; once that has failed, only notes which ones are missing."""
        path = self.path / "metrics.jsonl"
        if not self._unlogged:
            try:
                metrics_log.append(path, rows)
                return
            except OSError as error:
                self._failed(path, error)
        self._unlogged += [row["step"] for row in rows]

    def _failed(self, path: Path, error: Exception) -> None:
        self.failure = self.failure or (path, reason_of_the_system(error) or str(error))

    def _check_written(self, saved: int | None) -> None:
        """Raises `RunError` where something could not be written. saved: the last step that was."""
        if self.failure is None:
            return
        path, reason = self.failure
        steps = [f"step {step}" for step in sorted({*self._unlogged[:1], *self._unlogged[-1:]})]
        lost = f"; metrics.jsonl lacks {' to '.join(steps)}" if steps else ""
        raise RunError(
            f"{path} could not be written ({reason}){lost}: the state of step {saved} is saved; "
            "see that there is room, and run the same command again"
        )

    def _draw(self, name: str, draw: Callable[[], Any]) -> None:
        """Draws something, or says, once for each name, that it could not be drawn."""
        try:
            draw()
        except Exception as error:  # Whatever Matplotlib, Pillow or the disk raise.
            if name not in self._undrawn:
                self._undrawn.add(name)
                reason = reason_of_the_system(error) or f"{type(error).__name__}: {error}"
                reason = textwrap.shorten(reason, 160, placeholder=" ...")
                self.remarks.append(f"{self.path / name} could not be drawn ({reason})")

    def _scores(self, call: Call) -> dict[int, dict]:
        """Returns the scores of each seed's generator that is to be evaluated, by its place.

        The best one is kept, which in a run that is continued may already be that of a later step.
        """
        if call.generator is None:
            return {}
        variables, taken = jax.tree.map(np.asarray, (call.generator, call.taken))
        scores = {}
        for k, seed, steps, own in self._each(variables, taken):
            if steps < call.last:
                continue
            try:
                rows = self.rows()
                scores[k] = self.scorer(own)
            except Exception as error:  # Such as of a generator that draws one image only.
                which = "" if seed is None else f" of seed {seed}"
                self.remarks.append(f"the samples{which} at step {steps} have no scores: {error}")
                continue
            kept = self._folder("generator-best", seed)
            before = [row for row in rows if row.get("seed") == seed]
            before = [r["fid"] for r in (*before, read_json(kept / "generator.json")) if "fid" in r]
            if "fid" in scores[k] and scores[k]["fid"] < min(before, default=np.inf):
                self._save_generator("generator-best", seed, own, {"step": steps, **scores[k]})
        return scores

    def _finish_saving(self) -> None:
        """Returns once the checkpoint under way is complete, and its generator written."""
        try:
            self.checkpoints.wait()
        except RunError:
            self._generators = None  # There is no checkpoint of that step.
            raise
        self._write_generators()

    def _write_generators(self) -> None:
        """Writes the averaged generator, with several seeds each into a folder of its own.

        It is there only if a checkpoint of that step is: so it tells that there was one.
        """
        if self._generators is not None:
            for _, seed, steps, own in self._each(*self._generators):
                self._save_generator("generator", seed, own, {"step": steps})
            self._generators = None

    def _each(self, variables: dict, taken: np.ndarray) -> Iterator[tuple]:
        """Yields each seed's place, number (None for one alone), steps taken and variables."""
        if self.seeds is None:
            yield 0, None, int(taken), variables
            return
        for k, seed in enumerate(self.seeds):
            yield k, seed, int(taken[k]), jax.tree.map(lambda leaf, k=k: leaf[k], variables)

    def _folder(self, name: str, seed: int | None) -> Path:
        return self.path / name / ("" if seed is None else str(seed))

    def _save_generator(self, name: str, seed: int | None, variables: dict, about: dict) -> None:
        path = self._folder(name, seed)
        about = about if seed is None else {**about, "seed": seed}
        try:
            save_generator(path, variables, {**about, **self.description})
        except OSError as error:
            self._failed(path, error)

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
        columns = {
            name: [row[name] for row in ended]
            for name in Metrics._fields
            if ended and all(name in row for row in ended)
        }
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
        found = distributed.from_first(lambda: prepare(path, description, overwrite, held))
        if not path.is_dir():
            raise RunError(f"{path} is not the same folder in every process: name a shared --out")
        run = Run(path, description, Checkpoints(path / "checkpoints"), **found)
        with contextlib.closing(run):
            yield run
