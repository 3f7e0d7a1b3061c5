"""Settings with several values: members, programs, and the summary that compares them."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    GRID,
    SMALL,
    TINY,
    assert_close,
    assert_same_run,
    read_json,
    read_metrics,
    small,
    states_of,
)

from jaxgan import data, evaluate, train
from jaxgan.command import parse_arguments
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.outputs import sweep
from jaxgan.parallel.members import Member, for_members
from jaxgan.runs import axes, build
from jaxgan.runs.config import GROUPS, Config
from jaxgan.runs.numbers import number_settings, numbers_of


def test_members_are_all_combinations_with_every_seed():
    config = Config(axes={"r1": (0.1, 1.0), "network": ("mlp", "dcgan")}, seed=5, seeds=2)
    assert axes.count_members(config) == len(axes.members_of(config)) == 8
    assert axes.members_of(config)[3] == {"r1": 0.1, "network": "dcgan", "seed": 6}
    assert axes.names_of(config)[4] == "r1=1.0,network=mlp,seed=5"
    assert axes.names_of(Config(seed=5, seeds=2)) == range(5, 7)
    assert axes.names_of(Config(seed=5)) is None
    assert axes.config_of(config, axes.members_of(config)[3]) == Config(
        r1=0.1, network="dcgan", seed=6
    )


def test_members_that_differ_in_numbers_only_share_a_program():
    several = {"r1": (0.0, 0.1, 1.0), "width": (8, 16), "beta1": (0.5, 0.9)}
    parts = axes.split_by_program(Config(axes=several))
    assert list(parts) == [
        f"r1={r1},width={width}" for r1 in ("0.0", "0.1_1.0") for width in (8, 16)
    ]
    part = parts["r1=0.1_1.0,width=16"]
    assert part.axes == {"r1": (0.1, 1.0), "width": (16,), "beta1": (0.5, 0.9)}
    assert (part.r1, part.width, part.beta1) == (0.1, 16, 0.5)
    names = [name for part in parts.values() for name in axes.names_of(part)]
    assert sorted(names) == sorted(axes.names_of(Config(axes=several)))
    assert list(axes.split_by_program(Config(axes={"top_k": (0.5, 1.0, 0.9)}))) == [
        "top_k=0.5_0.9",
        "top_k=1.0",
    ]
    assert list(axes.split_by_program(Config(axes=GRID))) == [""]


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
    },
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
}


def test_every_number_is_in_a_program():
    assert {name for numbers in PROGRAMS.values() for name in numbers} == {*number_settings()}


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
        if program in ("schedules", "clipping"):  # These show in the second step.
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
        {"learning_rate": rate, "r1": r1} for rate in (1e-4, 1e-3) for r1 in (0.1, 1.0)
    ]
    first = content["combinations"][0]
    last = [row["d_loss"] for row in rows if row["step"] == 60][:2]
    assert first["mean"]["d_loss"] == pytest.approx(np.mean(last))
    assert first["std"]["d_loss"] == pytest.approx(np.std(last, ddof=1))
    table = (grid / "sweep.md").read_text().splitlines()
    assert table[2] == "| learning_rate | r1 | seeds | d_loss | g_loss |"
    assert len(table) == 8


def test_a_diverged_member_is_named_and_the_others_continue(tmp_path, capsys):
    out = tmp_path / "run"
    settings = {"axes": {"learning_rate": (1e-4, 1e37)}, "optimizer": "sgd", **TINY}
    train.main(small(out, **settings))
    assert "member learning_rate=1e+37,seed=0 diverged: " in capsys.readouterr().out
    assert "0 (" not in (out / "sweep.md").read_text()
    (lost,) = [row for row in read_json(out / "sweep.json")["combinations"] if not row["mean"]]
    assert "diverged" in lost["seeds"]["0"]
    assert "| 1e+37 | 1 (1 diverged) | - | - |" in (out / "sweep.md").read_text()
    steps = states_of(out).step
    assert steps[0] == 60 > steps[1]
    with pytest.raises(Diverged, match="every member"):
        train.main(small(tmp_path / "none", **settings | {"axes": {"learning_rate": (1e36, 1e37)}}))


def test_several_programs_share_a_directory_and_are_evaluated_together(
    tmp_path, capsys, fast_evaluation
):
    out = tmp_path / "run"
    settings = {"axes": {"d_norm": ("none", "spectral"), "r1": (0.1, 1.0)}, **TINY, "steps": 20}
    content = train.main(small(out, **settings))
    assert content == read_json(out / "sweep.json")
    assert content["runs"] == ["d_norm=none", "d_norm=spectral"]
    assert content["ranked_by"] is None
    for name in content["runs"]:
        assert len(read_json(out / name / "summary.json")["members"]) == 2
    capsys.readouterr()
    train.main(small(out, **settings))
    assert capsys.readouterr().out.count("is complete at step 20") == 2
    results = evaluate.main(evaluate.Config((out,), samples=150, repeats=1, cas=False))
    assert len(results) == 2
    printed = capsys.readouterr().out
    for d_norm in ("none", "spectral"):
        for r1 in (0.1, 1.0):
            assert f"{out} d_norm={d_norm},r1={r1} " in printed
    content = read_json(out / "sweep.json")
    assert content["ranked_by"] == "fid"
    found = [row["mean"]["fid"] for row in content["combinations"]]
    assert found == sorted(found)
    expected = results[str(out / "d_norm=none")]["seeds"]["d_norm=none,r1=0.1,seed=0"]["mean"]
    assert expected["fid"] in found
    (out / "sweep.json").write_text(json.dumps({"runs": content["runs"]}))
    with pytest.raises(RunError, match="is damaged"):
        sweep.update_sweep(out)


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
    assert (first.get_xlabel(), second.get_xlabel()) == ("learning_rate", "r1")
    assert first.get_xscale() == second.get_xscale() == "log"
    names = [text.get_text() for text in first.get_legend().get_texts()]
    assert names == ["r1=0.1", "r1=1.0"]
    content = read_json(grid / "sweep.json")
    found = [line.lines[0].get_ydata().tolist() for line in first.containers]
    by_settings = {tuple(row["settings"].values()): row for row in content["combinations"]}
    expected = [
        [by_settings[rate, r1]["mean"]["g_loss"] for rate in (1e-4, 1e-3)] for r1 in (0.1, 1.0)
    ]
    assert found == expected


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


@pytest.mark.parametrize(
    ("several", "settings", "message"),
    [
        ({"r1": (1.0, 1.0)}, {}, "--r1 has the value 1.0 twice"),
        ({"r1": ()}, {}, "--r1 has no value"),
        ({"steps": (1, 2)}, {}, "--steps takes one value"),
        ({"seed": (1, 2)}, {}, "--seed takes one value"),
        ({"augment": ("flip", "color")}, {}, "--augment takes one value"),
        ({"r1": (1.0, -1.0)}, {}, r"--r1 -1.0 must be .* \(in the combination r1=-1.0\)"),
        ({"r1": (1.0, 2.0)}, {"seeds": 129}, "these are 258 members"),
        ({"r1": (1.0, 2.0)}, {"most_members": 1}, "more than --most-members 1"),
        ({"label_smoothing": (0.0, 0.1)}, {"loss": "hinge"}, "--label-smoothing needs --loss"),
        ({"width": (2_000_000, 3_000_000)}, {"seeds": 20}, "20 members need at least .* TB|GB"),
        ({"r1": (1.0, 2.0)}, {"rank_by": "fit"}, "unknown score 'fit' of --rank-by; known: fid"),
        ({}, {"rank_by": "fid"}, "--rank-by needs a setting with several values"),
    ],
)
def test_axes_that_cannot_be_are_refused(tmp_path, several, settings, message):
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=message):
        train.main(small(out, axes=several, **{**TINY, **settings}))
    assert not list(out.rglob("metrics.jsonl"))
    assert dataclasses.replace(SMALL, axes={}) == SMALL
