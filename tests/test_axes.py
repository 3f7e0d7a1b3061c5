"""Settings with several values: members, programs, and the summary that compares them."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from helpers import (
    GRID,
    TINY,
    assert_close,
    assert_same_run,
    digest,
    read_files,
    read_json,
    read_metrics,
    small,
    states_of,
)

from jaxgan import data, evaluate, train
from jaxgan.command import parse_arguments
from jaxgan.errors import Diverged, Interrupted, RunError, UsageError
from jaxgan.evaluation.results import expand_sweeps
from jaxgan.feedback import FeedbackState
from jaxgan.outputs import sweep
from jaxgan.parallel.members import Member, for_members
from jaxgan.runs import axes, build
from jaxgan.runs.axis_values import with_first_values
from jaxgan.runs.config import GROUPS, Config
from jaxgan.runs.numbers import number_settings, numbers_of
from jaxgan.runs.run import Run


def test_members_are_all_combinations_with_every_seed():
    config = Config(axes={"r1": (0.1, 1.0), "network": ("mlp", "dcgan")}, seed=5, seeds=2)
    assert axes.count_members(config) == len(axes.members_of(config)) == 8
    assert axes.members_of(config)[3] == {"network": "mlp", "r1": 1.0, "seed": 6}
    assert axes.names_of(config)[4] == "network=dcgan,r1=0.1,seed=5"
    assert axes.names_of(Config(seed=5, seeds=2)) == range(5, 7)
    assert axes.names_of(Config(seed=5)) is None
    assert axes.config_of(config, axes.members_of(config)[3]) == Config(
        r1=1.0, network="mlp", seed=6
    )


def test_order_and_type_of_values_are_those_of_the_settings():
    config = Config(axes={"learning_rate": (1, 2e-4), "width": (8, 16)})
    assert list(config.axes.items()) == [("width", (8, 16)), ("learning_rate", (1.0, 2e-4))]
    assert with_first_values(config) == dataclasses.replace(config, width=8, learning_rate=1.0)
    assert axes.names_of(config)[0] == "width=8,learning_rate=1.0,seed=0"


def test_members_that_differ_in_numbers_only_share_a_program():
    several = {"r1": (0.0, 0.1, 1.0), "width": (8, 16), "beta1": (0.5, 0.9)}
    parts = axes.split_by_program(Config(axes=several))
    assert list(parts) == [
        f"width={width},r1={r1}" for width in (8, 16) for r1 in ("0.0", "0.1_1.0")
    ]
    part = parts["width=16,r1=0.1_1.0"]
    assert part.axes == {"width": (16,), "r1": (0.1, 1.0), "beta1": (0.5, 0.9)}
    assert (part.r1, part.width, part.beta1) == (0.1, 16, 0.5)
    names = [name for part in parts.values() for name in axes.names_of(part)]
    assert sorted(names) == sorted(axes.names_of(Config(axes=several)))
    assert list(axes.split_by_program(Config(axes={"top_k": (0.5, 1.0, 0.9)}))) == [
        "top_k=0.5_0.9",
        "top_k=1.0",
    ]
    assert list(axes.split_by_program(Config(axes=GRID))) == [""]
    many = {"r1": (0.0, *(i / 100 for i in range(1, 100)))}
    assert list(axes.split_by_program(Config(axes=many))) == ["r1=0.0", "r1=0.01_and_98_more"]


PROGRAMS = {
    "losses": {
        "learning_rate": (1e-3, 2e-3),
        "beta1": (0.25, 0.75),
        "beta2": (0.25, 0.75),
        "label_smoothing": (0.1, 0.3),
        "top_k": (0.25, 0.75),
        "classification": (0.5, 2.0),
        "rotation": (0.5, 2.0),
        "g_rotation": (0.5, 2.0),
        "r1": (0.1, 0.2),
        "r2": (0.1, 0.2),
        "gradient_penalty": (0.1, 0.2),
        "one_sided_gradient_penalty": (0.1, 0.2),
        "zero_centered_gradient_penalty": (0.1, 0.2),
        "dragan": (0.1, 0.2),
        "lecam": (0.5, 2.0),
        "logit_centering": (0.1, 0.2),
        "ema_half_life": (8.0, 100.0),
        "orthogonal_regularization": (0.1, 0.2),
    },
    "styles": {"path_length": (1.0, 2.0), "augment_target": (0.1, 0.9), "r1": (1.0, 2.0)},
    "changes": {
        "g_learning_rate": (1e-3, 2e-3),
        "d_learning_rate": (1e-3, 2e-3),
        "g_beta1": (0.25, 0.75),
        "d_beta1": (0.25, 0.75),
        "g_beta2": (0.25, 0.75),
        "d_beta2": (0.25, 0.75),
        "weight_decay": (0.1, 0.2),
        "approximate_r1": (0.1, 0.2),
        "approximate_r2": (0.1, 0.2),
        "consistency": (0.5, 2.0),
        "fake_consistency": (0.5, 2.0),
        "latent_consistency": (0.5, 2.0),
        "g_latent_consistency": (0.5, 2.0),
        "latent_noise": (0.1, 0.2),
        "augment_probability": (0.25, 0.75),
        "instance_noise": (0.1, 0.2),
        "ema_warm_up": (0.25, 0.75),
    },
    "schedules": {
        "final_learning_rate": (1e-3, 2e-3),
        "final_beta2": (0.25, 0.75),
        "final_penalty": (0.25, 0.75),
        "final_augment_probability": (0.25, 0.75),
        "final_instance_noise": (0.1, 0.2),
        "final_top_k": (0.25, 0.75),
        "beta1": (0.25, 0.75),
        "weight_decay": (0.1, 0.2),
    },
    "clipping": {"clip_gradients": (0.1, 0.2), "clip_weights": (0.1, 0.2), "beta1": (0.2, 0.3)},
}
"""Numbers in few programs, each with two values."""
OTHERS = {
    "losses": {"conditional": True, "d_conditioning": "auxiliary_classifier", "ema_warm_up": 0.0},
    "changes": {"augment": ("cutout",), "optimizer": "adamw"},
    "schedules": {"augment": ("cutout",), "optimizer": "rmsprop", "burn_in": 8, "r1": 1.0},
    "clipping": {"optimizer": "sgd"},
    "styles": {"network": "stylegan2", "augment": ("ada_color",), "penalty_every": 4},
}


def test_every_number_is_in_a_program():
    assert {name for numbers in PROGRAMS.values() for name in numbers} == {*number_settings()}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_numbers_are_arguments_of_a_program(program):
    """With other numbers, a program takes the steps of another configuration's own program.

    Each of the numbers changes the state or the metrics.
    """
    numbers = PROGRAMS[program]
    own = {name: first for name, (first, _) in numbers.items()}
    other = {name: second for name, (_, second) in numbers.items()}
    config = Config(dataset="digits", lecam_start=0, **{**TINY, **OTHERS[program], **own})
    changed = dataclasses.replace(config, **other)
    dataset = data.open_data(config).load(None)
    images = jnp.asarray(dataset.images[:8], jnp.float32) / 127.5 - 1
    batch = (images, jnp.asarray(dataset.labels[:8]))
    key = jax.random.key(0)

    def take_steps(gan, member):
        state = gan.init(member)
        large = jax.tree.map(lambda leaf: 4 * leaf, state.discriminator.params)
        state = state._replace(discriminator=state.discriminator._replace(params=large))
        if program == "styles":  # The feedback is due in step 3, and the lazy penalties in step 4.
            feedback = FeedbackState(jnp.float32(0.5), jnp.float32(2.0))
            state = state._replace(step=jnp.int32(3), feedback=feedback)
        if program in ("schedules", "clipping", "styles"):  # These show in the second step.
            state, _ = gan.step(member, state, batch)
        return gan.step(member, state, batch)

    gan = for_members(lambda numbers: build.build_gan(config, dataset, numbers))
    traced = jax.jit(lambda member: take_steps(gan, member))
    of = lambda config: traced(Member(key, as_arrays(config)))
    alone = jax.jit(lambda key: take_steps(build.build_gan(changed, dataset), key))
    assert_close(of(changed), alone(key), rtol=1e-3, atol=1e-4)
    before = of(config)
    for name, value in other.items():
        after = of(dataclasses.replace(config, **{name: value}))
        differ = jax.tree.map(lambda a, b: bool(np.any(np.asarray(a) != b)), before, after)
        assert any(jax.tree.leaves(differ)), name
    assert traced._cache_size() == 1


def as_arrays(config: Config) -> dict:
    return {name: jnp.float32(value) for name, value in numbers_of(config).items()}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"devices": 4}, {"member_batch": 3}])
def test_devices_and_batches_of_members_do_not_change_them(grid, tmp_path, settings):
    train.main(small(tmp_path / "run", axes=GRID, seeds=2, **TINY, **settings))
    assert_close(states_of(tmp_path / "run"), states_of(grid))


def test_another_number_compiles_nothing_anew(tmp_path):
    counts = {}

    def count(event, **_):
        counts[event] = counts.get(event, 0) + 1

    jax.monitoring.register_event_listener(count)
    misses = lambda: counts.get("/jax/compilation_cache/cache_misses", 0)
    hits = lambda: counts.get("/jax/compilation_cache/cache_hits", 0)
    try:
        settings = {"steps": 20, "width": 24, "latent_size": 4, "r1": 0.5}
        train.main(small(tmp_path / "a", **settings))
        first = misses()
        settings |= {"r1": 0.25, "beta1": 0.1, "ema_half_life": 99.0, "learning_rate": 3e-3}
        train.main(small(tmp_path / "b", **settings))
        assert (misses(), hits() > 0) == (first, True)
        train.main(small(tmp_path / "c", **settings | {"r1": 0.0}))
        assert misses() > first
    finally:
        jax.monitoring.unregister_event_listener(count)


def test_a_stopped_and_extended_run_equals_the_uninterrupted_one(grid, tmp_path):
    out = tmp_path / "run"
    settings = {"axes": GRID, "seeds": 2, **TINY}
    train.main(small(out, steps=20, **settings))
    train.main(small(out, **settings))
    assert_same_run(out, grid)
    assert read_json(out / "sweep.json") == read_json(grid / "sweep.json")
    with pytest.raises(UsageError, match="another configuration .axes is"):
        train.main(small(out, **settings | {"axes": {**GRID, "r1": (0.1, 2.0)}}))


def test_lines_and_summary_name_their_members(grid):
    rows = read_metrics(grid)
    assert {"member", "learning_rate", "r1", "seed"} < rows[0].keys()
    assert [row["member"] for row in rows[:8]] == axes.names_of(small(grid, axes=GRID, seeds=2))
    summary = read_json(grid / "summary.json")
    assert list(summary["members"]) == [row["member"] for row in rows[:8]]
    assert "mean" not in summary
    content = read_json(grid / "sweep.json")
    assert [row["settings"] for row in content["combinations"]] == [
        {"r1": r1, "learning_rate": rate} for r1 in (0.1, 1.0) for rate in (1e-4, 1e-3)
    ]
    first = content["combinations"][0]
    last = [row["d_loss"] for row in rows if row["step"] == 60][:2]
    assert first["mean"]["d_loss"] == pytest.approx(np.mean(last))
    assert first["std"]["d_loss"] == pytest.approx(np.std(last, ddof=1))
    table = (grid / "sweep.md").read_text().splitlines()
    assert table[0] == "Mean and standard deviation over 2 seeds:"
    assert table[2] == "| r1 | learning_rate | seeds | d_loss | g_loss |"
    assert len(table) == 8


def test_a_diverged_member_is_named_and_the_others_continue(tmp_path, capsys):
    out = tmp_path / "run"
    settings = {"axes": {"learning_rate": (1e-4, 1e37)}, "optimizer": "sgd", **TINY}
    train.main(small(out, **settings))
    assert "member learning_rate=1e+37,seed=0 diverged: " in capsys.readouterr().out
    (lost,) = [row for row in read_json(out / "sweep.json")["combinations"] if not row["mean"]]
    assert "diverged" in lost["seeds"]["0"]
    table = (out / "sweep.md").read_text()
    assert table.startswith("Of one seed:")
    assert "| 0.0001 | 1 | " in table
    assert "| 1e+37 | 1 (1 diverged) | - | - |" in table
    steps = states_of(out).step
    assert steps[0] == 60 > steps[1]
    with pytest.raises(Diverged, match="every member"):
        train.main(small(tmp_path / "none", **settings | {"axes": {"learning_rate": (1e36, 1e37)}}))


PROGRAMS_OF_TWO = {"axes": {"width": (4, 8)}, "latent_size": 4, "batch_size": 8, "steps": 20}


@pytest.fixture(scope="module")
def two_programs(tmp_path_factory):
    """A run of two programs of a member each, which no test may change."""
    out = tmp_path_factory.mktemp("two") / "run"
    train.main(small(out, **PROGRAMS_OF_TWO))
    return out


def test_several_programs_share_a_directory_and_are_evaluated_together(
    two_programs, tmp_path, capsys, fast_evaluation
):
    out = tmp_path / "run"
    shutil.copytree(two_programs, out)
    content = read_json(out / "sweep.json")
    assert content["runs"] == ["width=4", "width=8"]
    assert content["ranked_by"] is None
    for name in content["runs"]:
        assert len(read_json(out / name / "summary.json")["members"]) == 1
    capsys.readouterr()
    assert train.main(small(out, **PROGRAMS_OF_TWO)) == content
    printed = capsys.readouterr().out
    assert printed.count("is complete at step 20") == 2
    assert "program 2 of 2: width=8" in printed

    settings = {"repeats": 1, "cas": False}
    evaluate.main(evaluate.Config((out / "width=4",), samples=140, **settings))
    assert read_json(out / "sweep.json")["ranked_by"] is None  # The others have no scores.
    results = evaluate.main(evaluate.Config((out / "width=8",), samples=150, **settings))
    assert read_json(out / "sweep.json")["ranked_by"] is None  # Their scores are of another kind.
    results = evaluate.main(evaluate.Config((out,), samples=150, **settings))
    assert len(results) == 2
    printed = capsys.readouterr().out
    for width in (4, 8):
        assert f"{out} width={width} " in printed
    content = read_json(out / "sweep.json")
    assert content["ranked_by"] == "fid"
    assert content["scores"].startswith("scores of 150 samples against the test split")
    assert "ranked by FID; scores of 150 samples" in (out / "sweep.md").read_text()
    found = [row["mean"]["fid"] for row in content["combinations"]]
    assert found == sorted(found)
    expected = results[str(out / "width=4")]["seeds"]["width=4,seed=0"]["mean"]
    assert expected["fid"] in found

    train.main(small(out, **PROGRAMS_OF_TWO, rank_by="recall"))
    content = sweep.update_sweep(out)
    assert (content["rank_by"], content["ranked_by"]) == ("recall", "recall")
    (out / "sweep.json").write_text(json.dumps({"runs": content["runs"]}))
    with pytest.raises(RunError, match="is damaged"):
        sweep.update_sweep(out)


def test_the_folder_of_a_sweep_belongs_to_its_values(two_programs, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(two_programs, out)
    before = read_files(out)
    other = PROGRAMS_OF_TWO | {"axes": {"width": (4, 16)}}
    alone = PROGRAMS_OF_TWO | {"axes": {"learning_rate": (1e-3, 2e-3)}}
    for settings in (other, alone, PROGRAMS_OF_TWO | {"axes": {"width": (4, 8), "r1": (1.0,)}}):
        with pytest.raises(UsageError, match="holds a run of other settings with several values"):
            train.main(small(out, **settings))
    assert read_files(out) == before
    train.main(small(out, **alone, overwrite=True))
    assert not (out / "width=4").exists()
    assert read_json(out / "sweep.json")["runs"] == ["."]
    shutil.copytree(finished, tmp_path / "solo")
    with pytest.raises(UsageError, match="holds a run, and this one needs several programs"):
        train.main(small(tmp_path / "solo", **other))
    assert read_files(tmp_path / "solo") == read_files(finished)
    train.main(small(out, **other, overwrite=True))
    assert {path.name for path in out.iterdir()} == {
        *("width=4", "width=16", "sweep.json", "sweep.md", "sweep.png")
    }


def test_a_signal_at_the_end_of_a_program_stops_the_sweep(tmp_path, monkeypatch):
    out, finish = tmp_path / "run", Run.finish

    def finish_and_stop(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return finish(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", finish_and_stop)
        with pytest.raises(Interrupted, match="stopped before the next program"):
            train.main(small(out, **PROGRAMS_OF_TWO))
    assert (out / "width=4" / "summary.json").exists()
    assert not (out / "width=8").exists()
    assert [run.name for run in expand_sweeps([out])] == ["width=4"]
    sweep.update_sweep(out)
    assert "| 8 | 0 | - | - |" in (out / "sweep.md").read_text()
    content = train.main(small(out, **PROGRAMS_OF_TWO))
    assert all(row["mean"] for row in content["combinations"])


def test_one_member_without_scores_does_not_stop_the_others(grid, tmp_path, fast_evaluation):
    out = tmp_path / "run"
    shutil.copytree(grid, out)
    names = axes.names_of(small(out, axes=GRID, seeds=2))
    weights = out / "generator" / names[1] / "weights.safetensors"
    arrays = safetensors.numpy.load_file(weights)
    safetensors.numpy.save_file({k: np.zeros_like(v) for k, v in arrays.items()}, weights)
    shutil.rmtree(out / "generator" / names[2])
    summary = read_json(out / "summary.json")
    summary["members"][names[3]]["diverged"] = "g_loss is nan at step 5"
    (out / "summary.json").write_text(json.dumps(summary))
    evaluate.main(evaluate.Config((out,), samples=150, repeats=1, cas=False))
    result = read_json(out / "evaluation.json")
    assert list(result["without_scores"]) == [names[1]]
    assert set(names) - set(result["seeds"]) == {names[1], names[2]}
    rows = {tuple(row["settings"].values()): row for row in sweep.update_sweep(out)["combinations"]}
    fid = lambda name: result["seeds"][name]["mean"]["fid"]
    assert rows[0.1, 1e-4]["mean"]["fid"] == fid(names[0])
    assert "fid" not in rows[0.1, 1e-3]["mean"]  # One was removed, and the other diverged.
    assert rows[1.0, 1e-4]["mean"]["fid"] == np.mean([fid(names[4]), fid(names[5])])
    (out / "config.json").rename(out / "kept.json")
    with pytest.raises(UsageError, match="not a run directory"):
        evaluate.main(evaluate.Config((out,)))


@pytest.mark.slow
def test_members_begin_with_the_same_members_of_a_source(grid, tmp_path):
    settings = {"seeds": 2, **TINY, "init_from": grid, "init_with": "state", "steps": 80}
    train.main(small(tmp_path / "run", axes=GRID, **settings))
    state = states_of(tmp_path / "run")
    whole = tmp_path / "whole"
    shutil.copytree(grid, whole)
    train.main(small(whole, axes=GRID, seeds=2, **TINY, steps=80))
    assert_close(state, states_of(whole))
    assert state.step.tolist() == [80] * 8
    with pytest.raises(UsageError, match="--init-from needs a run of one or several seeds, or one"):
        train.main(small(tmp_path / "other", **settings))


def test_a_forked_state_takes_the_numbers_of_the_new_run(tmp_path):
    settings = {"decay_steps": 200, "steps": 20, **TINY}
    train.main(small(tmp_path / "source", **settings))
    fork = settings | {"init_from": tmp_path / "source", "init_with": "state", "steps": 40}
    for name, beta2 in (("same", 0.999), ("other", 0.5)):
        train.main(small(tmp_path / name, **fork, beta2=beta2))
    train.main(small(tmp_path / "source", **settings | {"steps": 40}))
    assert digest(tmp_path / "same") == digest(tmp_path / "source") != digest(tmp_path / "other")


def test_rows_are_ranked_by_the_chosen_score():
    rows = [
        {"mean": {"fid": 2.0, "recall": 0.1}},
        {"mean": {"fid": 1.0, "recall": 0.2}},
        {"mean": {}},
    ]
    assert sweep.choose_score(rows) == "fid"
    assert sweep.choose_score([{"mean": {"g_loss": 1.0}}]) is None
    ranked = sweep.rank(rows, "fid")
    assert [row["mean"].get("fid") for row in ranked] == [1.0, 2.0, None]
    ranked = sweep.rank(rows, "recall")
    assert [row["mean"].get("recall") for row in ranked] == [0.2, 0.1, None]


def test_the_picture_has_a_line_for_each_combination_of_the_others(grid):
    figure = sweep.draw_sweep(read_json(grid / "sweep.json"))
    first, second = figure.axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("r1", "learning_rate")
    assert first.get_xscale() == second.get_xscale() == "log"
    names = [text.get_text() for text in first.get_legend().get_texts()]
    assert names == ["learning_rate=0.0001", "learning_rate=0.001"]
    content = read_json(grid / "sweep.json")
    found = [line.lines[0].get_ydata().tolist() for line in first.containers]
    by_settings = {tuple(row["settings"].values()): row for row in content["combinations"]}
    expected = [
        [by_settings[r1, rate]["mean"]["g_loss"] for r1 in (0.1, 1.0)] for rate in (1e-4, 1e-3)
    ]
    assert found == expected
    content["axes"]["r1"].reverse()  # Points are joined from the left to the right.
    first, _ = sweep.draw_sweep(content).axes
    assert [line.lines[0].get_ydata().tolist() for line in first.containers] == expected
    assert first.get_yscale() == "linear"
    content["axes"]["learning_rate"].reverse()
    content["combinations"][0]["mean"]["g_loss"] *= 100
    first, _ = sweep.draw_sweep(content).axes
    assert [text.get_text() for text in first.get_legend().get_texts()] == names[::-1]
    assert first.get_yscale() == "log"


def parse(monkeypatch, line: str) -> Config:
    monkeypatch.setattr("sys.argv", ["train", *line.split()])
    return parse_arguments(Config, "train", GROUPS)


def test_the_command_line_takes_several_values(monkeypatch):
    line = "--learning-rate 1e-4 1e-3 --augment color cutout --d-norm none batch --steps 5"
    found = parse(monkeypatch, f"{line} --slicing --r1=0.5")
    several = {"learning_rate": (1e-4, 1e-3), "d_norm": ("none", "batch")}
    assert found == Config(
        axes=several,
        learning_rate=1e-4,
        d_norm="none",
        augment=("color", "cutout"),
        steps=5,
        slicing=True,
        r1=0.5,
    )
    assert parse(monkeypatch, "--learning-rate 1e-4").axes == {}
    assert parse(monkeypatch, "--final-beta2 None 0.9 --burn-in 9").axes == {
        "final_beta2": (None, 0.9)
    }


def test_flags_with_several_values_are_given_once_and_counted(monkeypatch):
    with pytest.raises(UsageError, match="--learning-rate is given twice"):
        parse(monkeypatch, "--learning-rate 1e-4 2e-4 --learning-rate=5e-4")
    many = " ".join(map(str, range(1, 101)))
    with pytest.raises(UsageError, match="these are 10,000 combinations"):
        parse(monkeypatch, f"--r1 {many} --r2 {many}")


LONG_NAMES = (
    "one_sided_gradient_penalty zero_centered_gradient_penalty gradient_penalty logit_centering "
    "approximate_r1 approximate_r2 g_learning_rate d_learning_rate label_smoothing"
).split()


@pytest.mark.parametrize(
    ("several", "settings", "message"),
    [
        ({"r1": (1.0, 1.0)}, {}, "--r1 has the value 1.0 twice"),
        ({"r1": ()}, {}, "--r1 has no value"),
        ({"steps": (1, 2)}, {}, "--steps takes one value"),
        ({"seed": (1, 2)}, {}, "--seed takes one value .--seeds is the number of seeds"),
        ({"precision": ("float32", "bfloat16")}, {}, "--precision takes one value"),
        ({"augment": ("flip", "color")}, {}, "--augment takes one value"),
        ({"r1": (1.0, -1.0)}, {}, r"--r1 -1.0 must be .* \(in the combination r1=-1.0\)"),
        ({"r1": (1.0, 2.0)}, {"seeds": 129}, "these are 258 members"),
        ({"r1": (1.0, 2.0)}, {"most_members": 1}, "more than --most-members 1"),
        ({"label_smoothing": (0.0, 0.1)}, {"loss": "hinge"}, "--label-smoothing needs --loss"),
        ({"width": (8, 3_000_000)}, {"seeds": 20}, r"20 members need .* GB .* \(with width=300"),
        ({"d_norm": ("none", "batch"), "r1": (0.1,)}, {}, "batch norm.* .with d_norm=batch"),
        (
            {name: (0.25, 0.5) for name in LONG_NAMES},
            {"most_members": 512},
            "would have 2.. letters",
        ),
        ({"r1": (1.0, 2.0)}, {"rank_by": "fit"}, "unknown score 'fit' of --rank-by; known: fid"),
        ({}, {"rank_by": "fid"}, "--rank-by needs a setting with several values"),
    ],
)
def test_axes_that_cannot_be_are_refused(tmp_path, several, settings, message):
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=message):
        train.main(small(out, axes=several, **{**TINY, **settings}))
    assert not out.exists()
