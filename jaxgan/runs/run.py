"""A run and its files: what is written after each chunk, and read when the run continues."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.errors import Diverged, RunError, UsageError, system_reason
from jaxgan.files import read_json, write_json
from jaxgan.gan import GANState
from jaxgan.parallel import distributed
from jaxgan.parallel.chunks import Chunk, steps_taken
from jaxgan.runs import divergence
from jaxgan.runs.axes import labels_of
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.description import Description, continue_history
from jaxgan.runs.generator_files import ABOUT, Generators
from jaxgan.runs.metrics_log import MetricsLog
from jaxgan.runs.pictures import Pictures
from jaxgan.runs.summary import summarize_members
from jaxgan.trees import tree_sha256


def has_saved(path: Path) -> bool:
    """Returns whether a run has left files that it writes only after a complete checkpoint."""
    return (path / "summary.json").exists() or any((path / "generator").rglob(ABOUT))


class Run:
    """A run directory, locked by this process or, if there are several, by the first one.

    Every process makes the same calls; only the first one writes.

    description: of the run as it is continued now. messages: lines for the user that were not
    printed yet. frozen: why a member was frozen, by name. failure: the path that could not be
    written, and the reason; the run should then stop, with its state saved.
    """

    def __init__(
        self,
        path: Path,
        new: Description,
        past: Description,
        checkpoints: Checkpoints,
        score: Callable[[dict], dict[str, float]] | None = None,
    ):
        self.path, self.checkpoints, self.score = path, checkpoints, score
        self.description = new
        self.members = new.members
        self.log = MetricsLog(path / "metrics.jsonl", labels_of(new.config))
        self.generators = Generators(path, self.members)
        self.messages: list[str] = []
        self.pictures = Pictures(path, new, self.messages)
        self.frozen: dict[int | str, str] = {}
        self.failure: tuple[Path, str] | None = None
        self._past = past

    def restore(self, template: GANState) -> GANState | None:
        """Returns the newest complete state, None for a new run.

        template: a state of shapes. Lines that a killed process logged after that state are
        dropped. Raises `UsageError` if the checkpoints of a run are gone.
        """
        found = self.checkpoints.latest(template)
        step, state, damaged = found or (0, None, [])
        distributed.check_same(
            "checkpoint", f"{step} {found and tree_sha256(state)}", "use one --out that all share"
        )
        if found is None and distributed.broadcast(
            distributed.on_first(lambda: has_saved(self.path))
        ):
            raise UsageError(
                f"{self.path} holds the results of a run without its checkpoints: restore "
                f"{self.path / 'checkpoints'}, choose another --out, or start again with "
                "--overwrite"
            )
        rows = self.log.read()
        if rows and not found:
            self.messages.append("no checkpoint had been saved: starting again")
        for bad in damaged:
            self.messages.append(
                f"the checkpoint of step {bad} is damaged (moved to {self.path / 'damaged'}): "
                f"continuing from step {step}"
            )
        rows = [row for row in rows if row["step"] <= step]
        if found:
            self._note_missing_lines(rows, np.asarray(state.step))
        distributed.wait_for_all("read the log")
        distributed.on_first(lambda: self.log.rewrite(rows))
        return state

    def begin(self, step: int) -> None:
        """Records in `config.json` that the run continues from a step, and remarks on changes."""
        now = self.description.environments[0]
        history, remark = continue_history(self._past.environments, now, step)
        if remark:
            self.messages.append(remark)
        self.description = self.description._replace(environments=history)
        content = self._past._replace(environments=history) if step else self.description
        distributed.on_first(lambda: content.write(self.path / "config.json"))

    def write(self, chunk: Chunk) -> dict[str, float]:
        """Writes the results of a chunk and returns the metrics of its last step.

        With several members these are the means over those that are not frozen. Raises
        `Diverged`, before anything of the chunk is written, if a value is not finite; with several
        seeds, if all of them are frozen. If something but the state cannot be written, `failure`
        says so; if something cannot be drawn, a message does.
        """
        metrics = {name: np.asarray(values) for name, values in chunk.metrics._asdict().items()}
        self._check_finite(chunk, metrics)
        # The lines come before the checkpoint, so that a process killed in between loses none.
        try:
            if distributed.is_first():
                self._append_lines(chunk, metrics)
                if chunk.images is not None:
                    self.draw_samples(chunk.last, chunk.images)
        finally:
            self._save(chunk)
        active = np.asarray(chunk.taken) == chunk.last
        return {name: float(values[..., -1][active].mean()) for name, values in metrics.items()}

    def draw_samples(self, step: int, images: jax.Array) -> None:
        """Writes a picture of samples `[n, ...]`, with several members `[members, n, ...]`."""
        if distributed.is_first():
            self.pictures.draw_samples(step, np.asarray(images))

    def save(self) -> None:
        """Waits until everything is saved. Raises `RunError` if something was not written."""
        self._finish_saving()
        saved = self.checkpoints.newest()
        distributed.on_first(lambda: self._check_written(saved))

    def finish(self, state: GANState, speed: dict) -> dict:
        """Writes the curves, the animation and `summary.json`, and returns its content.

        speed: entries of the summary. Waits until everything is saved.
        """
        self.save()
        return distributed.broadcast(distributed.on_first(lambda: self._summarize(state, speed)))

    def close(self) -> None:
        """Ends the background work."""
        self.checkpoints.close()
        self._write_generators()

    def take_messages(self) -> list[str]:
        """Returns the messages that were not returned before."""
        messages = self.messages.copy()
        self.messages.clear()
        return messages

    def summary_at(self, step: int) -> dict | None:
        """Returns the summary of a run that has ended at a step, None if it has not."""

        def read() -> dict | None:
            summary = read_json(self.path / "summary.json")
            complete = {"steps", "state_sha256"} <= summary.keys() and summary["steps"] == step
            return summary if complete else None

        return distributed.broadcast(distributed.on_first(read))

    def files_to_open(self) -> list[Path]:
        """Returns the files that a person looks at first."""
        files = (self.path / name for name in ("training.gif", "curves.png", "summary.json"))
        return [file for file in files if file.exists()]

    def lacks_generator(self, state: GANState) -> bool:
        """Returns whether `generator/` is missing or of an earlier step than a state."""
        lacks = lambda: self.generators.lacks(np.asarray(state.step), state.profiles)
        return distributed.broadcast(distributed.on_first(lacks))

    def restore_generator(self, state: GANState, variables: dict) -> None:
        """Writes `generator/` for a saved state; variables: of the averaged generator."""
        if distributed.is_first():
            self.generators.hold(variables, state.step, state.profiles)
            self._write_generators()
            step = steps_taken(state)
            self.messages.append(
                f"{self.path / 'generator'} was missing or older than step {step}: it was rewritten"
            )

    def _note_missing_lines(self, rows: list[dict], taken: np.ndarray) -> None:
        """Adds a message about lines that were written and are gone. taken: steps of the states."""
        by_member = {name: steps for _, name, steps, _ in self.generators.each_member({}, taken)}
        past = [e for e in self._past.environments if e["step"] < max(by_member.values())]
        if message := self.log.describe_missing(rows, past, by_member):
            self.messages.append(message)

    def _check_finite(self, chunk: Chunk, metrics: dict[str, np.ndarray]) -> None:
        """Raises `Diverged`, or adds a message about every member that was newly frozen."""
        if self.members is None:
            if what := divergence.find_divergence(chunk, metrics):
                self._raise_diverged(what)
            return
        for member, last, reason in divergence.find_frozen(chunk, metrics, self.members):
            if member not in self.frozen:
                self.frozen[member] = reason
                self.messages.append(divergence.describe_freeze(member, last, reason))
        if len(self.frozen) == len(self.members):
            self._raise_diverged(divergence.describe_all(self.frozen))

    def _raise_diverged(self, what: str) -> None:
        saved = self.checkpoints.newest()
        kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
        advice = "start again with --overwrite and, for example, a smaller --learning-rate"
        if self.description.config.axes:
            advice = "choose other values, and another --out"
        raise Diverged(f"training diverged: {what} ({kept} in {self.path}); {advice}")

    def _append_lines(self, chunk: Chunk, metrics: dict[str, np.ndarray]) -> None:
        log_every = self.description.config.log_every
        rows = self.log.rows_of(chunk, metrics, log_every, self._evaluate(chunk))
        self._try_to_write(self.log.path, lambda: self.log.append(rows))

    def _evaluate(self, chunk: Chunk) -> dict[int, dict]:
        """Returns the scores of each member's generator that is due, by the member's index.

        The best generator is kept. In a run that is continued it may be of a later step already.
        """
        if chunk.generator is None:
            return {}
        variables, taken = jax.tree.map(np.asarray, (chunk.generator, chunk.taken))
        scores, read_rows = {}, functools.cache(self.log.read)
        for k, member, steps, own in self.generators.each_member(variables, taken):
            if steps < chunk.last:
                continue
            try:
                rows = read_rows()
                scores[k] = self.score(own)
            except Exception as error:  # For example because all samples are the same.
                which = "" if member is None else f" of {divergence.describe_member(member)}"
                self.messages.append(f"the samples{which} at step {steps} have no scores: {error}")
                continue
            if scores[k].get("fid", np.inf) < self.generators.best_fid(member, rows):
                about = {"step": steps, **scores[k]}
                best = ("generator-best", member, own, about, self.description)
                folder = self.path / "generator-best"
                self._try_to_write(folder, lambda best=best: self.generators.save(*best))
        return scores

    def _save(self, chunk: Chunk) -> None:
        """Starts to save the snapshot of a chunk, after the checkpoint before it is complete."""
        if chunk.snapshot is not None:
            self._finish_saving()
            self.checkpoints.save(chunk.last, chunk.snapshot.state)
            if distributed.is_first():
                state = chunk.snapshot.state
                self.generators.hold(chunk.snapshot.generator, state.step, state.profiles)
        elif self.generators.holds() and not self.checkpoints.saving():
            self._finish_saving()

    def _finish_saving(self) -> None:
        """Waits for the checkpoint that is being written, and then writes its generator."""
        try:
            self.checkpoints.wait()
        except RunError:
            self.generators.drop()
            raise
        self._write_generators()

    def _write_generators(self) -> None:
        write = lambda: self.generators.write_held(self.description)
        self._try_to_write(self.path / "generator", write)

    def _summarize(self, state: GANState, speed: dict) -> dict:
        rows = self.log.read()
        results: dict[str, Any] = {"final": rows[-1] if rows else {}}
        if self.members is not None:
            of_run = self.description.config
            results = summarize_members(of_run, rows, np.asarray(state.step), self.frozen)
        digest = tree_sha256(state)
        summary = {"steps": steps_taken(state), **speed, **results, "state_sha256": digest}
        self.pictures.draw_curves(rows)
        self.pictures.draw_animation()
        write_json(self.path / "summary.json", summary)
        return summary

    def _try_to_write(self, path: Path, write: Callable[[], None]) -> None:
        """Writes something. The first failure of the run is noted in `failure`."""
        try:
            write()
        except OSError as error:
            self.failure = self.failure or (path, system_reason(error) or str(error))

    def _check_written(self, saved: int | None) -> None:
        """Raises `RunError` if something was not written. saved: the step of the last state."""
        if self.failure is None:
            return
        path, reason = self.failure
        missing = sorted({*self.log.unwritten[:1], *self.log.unwritten[-1:]})
        steps = " to ".join(f"step {step}" for step in missing)
        lost = f"; metrics.jsonl lacks {steps}" if missing else ""
        raise RunError(
            f"{path} could not be written ({reason}){lost}: the state of step {saved} is saved; "
            "make space, and run the same command again"
        )
