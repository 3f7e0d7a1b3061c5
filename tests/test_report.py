"""The page of runs: what it says, that it loads nothing, and how it behaves in a browser."""

import base64
import io
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import find_browser, open_browser
from helpers import copy_run, read_files, read_json, write_lines, write_run, write_scores
from PIL import Image

from jaxgan import report
from jaxgan.errors import RunError, UsageError
from jaxgan.keys import key_of_seed
from jaxgan.outputs import report_content
from jaxgan.outputs.curves import MOST_POINTS, make_curve
from jaxgan.outputs.interpolation import strip
from jaxgan.outputs.logged_metrics import read_metrics
from jaxgan.outputs.report_pictures import MOST_BYTES, MOST_PIXELS, PATHS
from jaxgan.outputs.run_names import name_runs
from jaxgan.runs.generators import load_generator

VOID = {"meta", "link", "img", "input"}


class Document(HTMLParser):
    """A parsed page.

    elements: tags and attributes. texts: of the elements by tag, with single spaces. text: of the
    whole page apart from its style and script.
    """

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.text, self._open = "", []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        self.handle_data(" ")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        self.texts[tag][-1] = " ".join(self.texts[tag][-1].split())

    def handle_data(self, data):
        for tag in self._open:
            self.texts[tag][-1] += data
        if not {"style", "script"} & {*self._open}:
            self.text = " ".join(f"{self.text} {data}".split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    def rows(self) -> list[str]:
        return self.texts.get("tr", [])


def show(*runs: Path, out: Path) -> Document:
    return Document(report.main(report.Config(runs, out)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory) -> Document:
    return show(finished, out=tmp_path_factory.mktemp("page") / "report.html")


def test_sections(page, finished):
    headings = ["Samples", "Curves", "Between latents", "Scores", "Configuration"]
    assert page.texts["h1"] == [finished.name]
    assert page.texts["h2"] == [*headings, "Speed", "Fingerprint"]
    summary = read_json(finished / "summary.json")
    assert summary["state_sha256"] in page.texts["code"]
    assert read_json(finished / "config.json")["dataset"]["fingerprint"] in page.texts["code"]
    assert f"{summary['images_per_second']:,.0f} real images per second" in page.texts["dd"]
    assert "60 of 60" in page.texts["dd"]
    assert any("jax 0" in text for text in page.texts["dd"])


def test_settings_that_differ_come_before_all_settings(page):
    assert "--batch-size 8 64" in page.rows()
    assert "--sample-every 20 200" in page.rows()
    assert not any(row.startswith(("--width", "--out")) for row in page.rows())
    assert page.text.index("--batch-size") < page.text.index("All settings")
    assert "--width" in page.texts["details"][0]
    assert len(page.texts["details"]) == 1


def test_slider_has_a_picture_for_each_step(page, finished):
    frames = [image for image in page.all("img") if "data-step" in image]
    assert [frame["data-step"] for frame in frames] == ["0", "20", "40", "60"]
    assert ["hidden" in frame for frame in frames] == [True, True, True, False]
    assert [frame["alt"] for frame in frames][-1] == "Samples at step 60"
    (slider,) = page.all("input")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "3")
    assert page.texts["output"] == ["step 60"]
    assert [label["for"] for label in page.all("label")] == [slider["id"]]
    with Image.open(finished / "samples" / "000000060.png") as picture:
        size = str(picture.width), str(picture.height)
    assert (frames[3]["width"], frames[3]["height"]) == size


def test_curves_have_a_panel_each_with_a_legend(page, finished):
    final = read_json(finished / "summary.json")["final"]
    assert [text.lower() for text in page.texts["strong"]] == [
        "loss",
        "mean probability of being real",
        "share with a positive output",
        "gradient norm",
    ]
    assert len(page.all("svg")) == 4
    assert f"discriminator {final['d_loss']:.3g}" in page.texts["li"]
    drawn = [use["style"] for tag, use in page.elements if tag == "path" and "style" in use]
    assert any("var(--curve-2)" in style for style in drawn)
    assert not re.search(r"#0102", str(page.elements))


def test_page_loads_nothing(page, finished, tmp_path):
    for _, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "poster", "data"):
                assert value.startswith(("data:", "#"))
            assert "url(" not in value.replace("url(#", "")
    text = report.main(report.Config(finished, tmp_path / "a.html")).read_text()
    assert "//" not in re.sub(r"data:image/\w+;base64,[\w+/=]+|// .*", "", text)
    assert "@import" not in text
    policy = page.all("meta")[1]["content"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_report_is_the_same_each_time_and_stays_in_the_run(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    before = read_files(run)
    first = report.main(report.Config((run,)))
    assert first == run / "report.html"
    text = first.read_bytes()
    assert report.main(report.Config((run,))).read_bytes() == text
    after = read_files(run)
    assert after.pop("report.html") == text
    assert after == before


def test_names_are_escaped(finished, tmp_path):
    run = copy_run(finished, tmp_path / "<img src=x onerror=alert(1)>")
    content = read_json(run / "config.json")
    content["dataset"]["name"] = "</title></script><script>alert(2)</script>"
    content["dataset"]["remark"] = '"><svg onload=alert(3)>'
    content["versions"]["jax"] = "<b>"
    (run / "config.json").write_text(json.dumps(content))
    other = copy_run(finished, tmp_path / "'\"><script>", seed=4)
    for runs in ((run,), (run, other)):
        page = show(*runs, out=tmp_path / "a.html")
        assert len(page.all("script")) == 1
        assert {image["src"][:5] for image in page.all("img")} == {"data:"}
        assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
        assert not page.all("b")
        assert "<img src=x onerror=alert(1)>" in page.text
        assert "</title></script><script>alert(2)</script>" in page.text
        assert '"><svg onload=alert(3)>' in page.text


def test_scores_are_beside_those_of_real_data(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    assert "Not evaluated yet: python -m jaxgan.evaluate" in show(run, out=tmp_path / "a.html").text
    write_scores(run, 7.5)
    page = show(run, out=tmp_path / "a.html")
    assert "FID 7.50 ± 0.75 1.25 lower is better" in page.rows()
    assert "precision 0.500 ± 0.025 0.900 higher is better" in page.rows()
    assert "500 samples against the test split" in page.text
    assert "few samples" in page.text
    about = read_json(run / "generator" / "generator.json")
    (run / "generator" / "generator.json").write_text(json.dumps(about | {"step": 40}))
    page = show(run, out=tmp_path / "a.html")
    assert "evaluation.json is damaged, or of another step" in page.text
    assert not any("7.50" in row for row in page.rows())


def test_several_runs_are_compared_in_a_table(finished, tmp_path):
    first = copy_run(finished, tmp_path / "first", sample_every=7)
    second = copy_run(finished, tmp_path / "second", loss="hinge", seed=5)
    third = copy_run(finished, tmp_path / "third")
    (third / "summary.json").unlink()
    write_scores(first, 7.5)
    write_scores(second, 8.5)
    page = show(first, second, third, out=tmp_path / "a.html")
    summary = read_json(finished / "summary.json")
    rate, state = f"{summary['images_per_second']:,.0f}", summary["state_sha256"][:12]
    assert page.texts["h1"] == ["3 runs"]
    assert page.rows()[:5] == [
        "run FID ↓ precision ↑ --seed --loss steps images/s state",
        "real data 1.25 0.900",
        f"first 7.50 ± 0.75 0.500 ± 0.025 0 non_saturating 60 {rate} {state}",
        f"second 8.50 ± 0.75 0.500 ± 0.025 5 hinge 60 {rate} {state}",
        "third - - 0 non_saturating 0 - -",
    ]
    assert page.texts["h2"] == ["first", "second", "third"]
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [link["href"] for link in page.all("a")]
    assert links == ["#run-1", "#run-2", "#run-3"]
    assert {link[1:] for link in links} <= targets


def test_settings_with_several_values_are_compared(grid, tmp_path):
    page = show(grid, out=tmp_path / "a.html")
    assert page.texts["h2"][:2] == ["Settings with several values", "Samples"]
    lines = (grid / "sweep.md").read_text().splitlines()
    cells = [" ".join(line.strip("| ").split(" | ")) for line in lines if line.startswith("| ")]
    assert len(cells) == 6  # Titles, a line of dashes, and four combinations.
    assert page.rows()[:5] == [cells[0], *cells[2:]]
    assert sum("Score against" in image["alt"] for image in page.all("img")) == 1
    assert any(f"over {8} members" in text for text in page.texts["p"])


def test_parts_of_a_sweep_are_compared_above_them(grid, tmp_path):
    parts = [tmp_path / "both" / name for name in ("first", "second")]
    for part in parts:
        shutil.copytree(grid, part)
        (part / "sweep.json").rename(tmp_path / "both" / "sweep.json")
    page = show(*parts, out=tmp_path / "a.html")
    assert page.texts["h2"] == ["Settings with several values in both", "first", "second"]
    (tmp_path / "both" / "sweep.json").write_text('{"axes": {"r1": 1}}')
    page = show(*parts, out=tmp_path / "a.html")
    assert page.texts["h2"] == ["first", "second"]


def test_scores_that_cannot_be_compared_are_remarked_on(finished, tmp_path):
    runs = [copy_run(finished, tmp_path / name) for name in ("first", "second")]
    for run, digest in zip(runs, ("a" * 64, "b" * 64), strict=True):
        write_scores(run, 7.5, digest)
    page = show(*runs, out=tmp_path / "a.html")
    assert "they differ in the features" in page.text
    assert not any(row.startswith("real data 1.25") for row in page.rows())


def test_many_runs_have_no_section_each(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(report_content, "MOST_SECTIONS", 1)
    runs = [copy_run(finished, tmp_path / name, seed=k) for k, name in enumerate("abc")]
    page = show(*runs, out=tmp_path / "a.html")
    assert page.texts["h2"] == ["a"]
    assert [row.split()[0] for row in page.rows()[1:4]] == ["a", "b", "c"]
    assert "The last 2 runs are in this table alone" in page.text
    assert [link["href"] for link in page.all("a")] == ["#run-1"]


def test_run_that_has_just_begun(finished, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(finished / "config.json", tmp_path / "run")
    page = show(tmp_path / "run", out=tmp_path / "a.html")
    for part in (
        "The run is not finished",
        "There are no pictures in samples/",
        "There are no lines in metrics.jsonl",
        "has no generator yet: continue the run",
        "The speed is known when the run is finished",
        "Not evaluated yet",
    ):
        assert part in page.text
    assert "0 of 60" in page.texts["dd"]
    assert not page.all("img")
    assert not page.all("input")


def test_damaged_parts_are_passed_over(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[1:1] = ["{", '{"step": "x"}', "[]"]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 70, "d_lo')
    (run / "samples" / "000000020.png").write_bytes(b"\x89PNG")
    (run / "samples" / "000000040.png").write_bytes(b"")
    (run / "samples" / "notes.png").write_bytes(b"")
    (run / "summary.json").write_text("{")
    (run / "evaluation.json").write_text("{}")
    (run / "generator" / "weights.safetensors").write_bytes(b"")
    page = show(run, out=tmp_path / "a.html")
    assert "Damaged lines of metrics.jsonl that are passed over: 3." in page.text
    assert [image["data-step"] for image in page.all("img")] == ["0", "60"]
    assert "evaluation.json is damaged" in page.text
    assert "There are no samples between latents: no generator can be loaded" in page.text
    assert len(page.all("svg")) == 4


def test_data_that_are_no_images(tmp_path, ring):
    write_run(tmp_path / "run", ring, 10)
    page = show(tmp_path / "run", out=tmp_path / "a.html")
    assert "Between latents" not in page.text
    assert "ring: 8 Gaussians in the plane" in page.texts["dd"]
    assert len(page.all("svg")) > 0


def test_continued_run_has_a_history(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    content = read_json(run / "config.json")
    (entry,) = content["environments"]
    content["environments"].append(
        {**entry, "step": 40, "versions": {**entry["versions"], "jax": "99"}}
    )
    (run / "config.json").write_text(json.dumps(content))
    page = show(run, out=tmp_path / "a.html")
    assert f"from step 40: jax was {entry['versions']['jax']} and is 99" in page.texts["li"]


@pytest.mark.parametrize("same", [True, False])
def test_verification_is_shown(finished, tmp_path, same):
    run = copy_run(finished, tmp_path / "run")
    (run / "verification.json").write_text(json.dumps({"begin": 20, "end": 60, "same": same}))
    page = show(run, out=tmp_path / "a.html")
    outcome = "the same state, bit for bit" if same else "another state"
    assert f"steps 20 to 60: {outcome}" in page.texts["dd"]


def test_seeds_that_diverged_are_named(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run", seeds=2)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    doubled = [{**row, "seed": seed, "d_loss": 1.0 + seed} for row in rows for seed in (0, 1)]
    write_lines(run / "metrics.jsonl", doubled)
    summary = {"steps": 60, "seeds": {"0": {"steps": 60}, "1": {"diverged": "at step 9"}}}
    (run / "summary.json").write_text(json.dumps(summary))
    page = show(run, out=tmp_path / "a.html")
    assert "Seed 1 diverged: at step 9." in page.texts["li"]
    assert "Lines: mean over 2 seeds" in page.text
    assert f"discriminator 1.5 ± {np.std([1, 2], ddof=1):.2g}" in page.texts["li"]


def test_large_pictures_are_embedded_as_smaller_copies(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, (300, 1200), np.uint8)
    Image.fromarray(noise).save(run / "samples" / "000000060.png")
    assert (run / "samples" / "000000060.png").stat().st_size > MOST_BYTES
    page = show(run, out=tmp_path / "a.html")
    first, *_, last = [image for image in page.all("img") if "data-step" in image]
    assert first["src"].startswith("data:image/png;")
    assert last["src"].startswith("data:image/jpeg;")
    assert (last["width"], last["height"]) == (str(MOST_PIXELS), str(MOST_PIXELS // 4))
    assert "These are smaller copies" in page.text


def test_many_pictures_are_thinned(finished, tmp_path):
    run = copy_run(finished, tmp_path / "run")
    for step in range(61, 200):
        shutil.copy(run / "samples" / "000000020.png", run / "samples" / f"{step:09d}.png")
    page = show(run, out=tmp_path / "a.html")
    steps = [int(image["data-step"]) for image in page.all("img") if "data-step" in image]
    assert len(steps) == 60
    assert (steps[0], steps[-1]) == (0, 199)
    assert 2 <= min(np.diff(steps)[2:]) <= max(np.diff(steps)[2:]) <= 3


def test_curves_of_one_seed_are_thinned_to_means_and_extremes(tmp_path):
    values = np.random.default_rng(0).normal(size=6_000)
    rows = [{"step": i + 1, "d_loss": value} for i, value in enumerate(values)]
    curve = make_curve(read_metrics(write_lines(tmp_path / "m", rows)), "d_loss", "")
    parts = values.reshape(MOST_POINTS, -1)
    np.testing.assert_allclose(curve.middle, parts.mean(1))
    np.testing.assert_array_equal(curve.low, parts.min(1))
    np.testing.assert_array_equal(curve.high, parts.max(1))
    np.testing.assert_allclose(curve.steps, np.arange(1, 6_001).reshape(parts.shape).mean(1))


def test_curves_of_several_seeds_are_mean_and_deviation(tmp_path):
    rows = [
        {"step": step, "seed": seed, "d_loss": value + step, "g_loss": 1}
        for step in (10, 20, 30)
        for seed, value in ((7, 1), (5, 2), (6, 6))
        if (step, seed) != (30, 6)
    ]
    rows[0]["fid"] = 3.0
    metrics = read_metrics(write_lines(tmp_path / "m", rows))
    assert list(metrics.steps) == [5, 6, 7]
    curve = make_curve(metrics, "d_loss", "")
    np.testing.assert_array_equal(curve.steps, [10, 20, 30])
    np.testing.assert_allclose(curve.middle, [13, 23, 31.5])
    deviations = [np.std([1, 2, 6], ddof=1)] * 2 + [np.std([1, 2], ddof=1)]
    np.testing.assert_allclose(curve.high - curve.middle, deviations)
    np.testing.assert_allclose(curve.middle - curve.low, deviations)
    np.testing.assert_array_equal(make_curve(metrics, "fid", "").middle, [3])


def test_values_that_are_not_finite_are_gaps(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"step": 1, "d_loss": NaN}\n{"step": 2, "d_loss": 4}\n{"step": 3}\n')
    curve = make_curve(read_metrics(path), "d_loss", "")
    assert (curve.steps.tolist(), curve.middle.tolist()) == ([2], [4])


def test_samples_between_latents_are_those_of_the_generator(page, finished):
    (image,) = [image for image in page.all("img") if "data-step" not in image]
    content = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    expected = strip(load_generator(finished), key_of_seed(0), PATHS)
    with Image.open(io.BytesIO(content)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_names_tell_runs_apart(tmp_path):
    assert name_runs([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert name_runs([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]
    with pytest.raises(UsageError, match="given twice"):
        name_runs([tmp_path / "a", tmp_path / "b" / ".." / "a"])


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (UsageError, "name the run directories", lambda run, out: report.Config((), out)),
        (UsageError, "not a run directory", lambda run, out: report.Config(run.parent, out)),
        (UsageError, "given twice", lambda run, out: report.Config((run, run), out)),
        (UsageError, "must end in .html", lambda run, out: report.Config(run, out / "a.png")),
    ],
)
def test_wrong_settings_are_rejected(finished, tmp_path, error, message, make):
    out = tmp_path / "report.html"
    out.write_text("earlier")
    with pytest.raises(error, match=message):
        report.main(make(finished, out))
    assert read_files(tmp_path) == {"report.html": b"earlier"}


def test_missing_jinja_is_reported(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RunError, match=r"pip install 'jaxgan\[report\]'"):
        report.main(report.Config(finished, tmp_path / "a.html"))
    assert not list(tmp_path.iterdir())


def test_failure_keeps_an_earlier_report(finished, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("earlier")

    def fail(*paths):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        report.main(report.Config(finished, out))
    assert read_files(tmp_path) == {"report.html": b"earlier"}


@pytest.fixture(scope="module")
def browser():
    """A page of a headless browser."""
    if (path := find_browser()) is None:
        pytest.skip("there is no Chromium or Chrome on this machine")
    with open_browser(path) as page:
        yield page


@pytest.fixture(scope="module")
def file(finished, tmp_path_factory) -> Path:
    """A report of two runs, one of which has a long name."""
    folder = tmp_path_factory.mktemp("file")
    runs = [copy_run(finished, folder / name, seed=k) for k, name in enumerate(("a", 99 * "b"))]
    write_scores(runs[0], 7.5)
    return report.main(report.Config(runs, folder / "report.html"))


SHOWN = "[...document.querySelector('.frames').querySelectorAll('img')].map(i => i.offsetWidth > 0)"
OUTPUT = "document.querySelector('output').value"


def shown_step(browser) -> tuple[int, str]:
    """Returns the index of the only picture that is shown, and the step beside the slider."""
    shown = browser.evaluate(SHOWN)
    assert shown.count(True) == 1
    return shown.index(True), browser.evaluate(OUTPUT)


def test_slider_is_moved_by_the_keyboard(browser, file):
    browser.open(file)
    assert shown_step(browser) == (3, "step 60")
    browser.evaluate("document.querySelector('input').focus()")
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    for key, expected in (
        ("ArrowLeft", (2, "step 40")),
        ("Home", (0, "step 0")),
        ("ArrowRight", (1, "step 20")),
        ("End", (3, "step 60")),
    ):
        browser.press(key)
        assert shown_step(browser) == expected
    text = browser.evaluate("document.querySelector('input').getAttribute('aria-valuetext')")
    assert (text, outline) == ("step 60", "solid")
    assert browser.evaluate("document.querySelectorAll('output')[1].value") == "step 60"


def test_slider_is_moved_by_the_mouse(browser, file):
    browser.open(file)
    browser.evaluate("document.querySelector('input').scrollIntoView({block: 'center'})")
    box = "document.querySelector('input').getBoundingClientRect()"
    left, top, width, height = (
        browser.evaluate(f"{box}.{side}") for side in ("left", "top", "width", "height")
    )
    middle = top + height / 2
    browser.drag((left + width - 8, middle), (left + 8, middle))
    assert shown_step(browser) == (0, "step 0")
    browser.drag((left + 8, middle), (left + 8 + (width - 16) / 3, middle))
    assert shown_step(browser) == (1, "step 20")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_requests_and_reports_nothing(browser, file, scheme):
    browser.open(file, scheme=scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown_step(browser)
    requests = {
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in requests if not url.startswith("data:")} == {file.resolve().as_uri()}
    reports = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert not [event for event in browser.events if event["method"] in reports]


def test_browser_refuses_scripts_and_requests_of_others(browser, file, tmp_path):
    text = file.read_text().replace("<main>", "<main><script>document.title = 'wrong'</script>")
    (tmp_path / "a.html").write_text(text.replace("<main>", "<main><img src='http://[::1]:9/'>"))
    browser.open(tmp_path / "a.html")
    assert browser.evaluate("document.title") == "2 runs - jaxgan"
    shown_step(browser)
    added = [event for event in browser.events if event["method"] == "Log.entryAdded"]
    assert len(added) == 2
    assert all("Content Security Policy" in str(event) for event in added)


CONTRASTS = """(() => {
  const channels = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = color => channels(color).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = getComputedStyle(document.body).backgroundColor;
  const contrast = color => {
    const [a, b] = [light(color), light(paper)].sort((a, b) => b - a);
    return (a + 0.05) / (b + 0.05);
  };
  const style = (each, name) => getComputedStyle(each)[name];
  const all = selector => [...document.querySelectorAll(selector)];
  const texts = all("body *").filter(each => !each.closest("svg") && each.innerText?.trim());
  const lines = all("svg path").filter(each => each.getAttribute("style")?.includes("--curve"));
  return {
    paper: paper,
    ink: style(document.body, "color"),
    texts: Math.min(...texts.map(each => contrast(style(each, "color")))),
    axes: Math.min(...all("svg text").map(each => contrast(style(each, "fill")))),
    curves: Math.min(...lines.map(each => contrast(style(each, "stroke")))),
  };
})()"""


def test_light_and_dark_are_readable(browser, file):
    found = []
    for scheme in ("light", "dark"):
        browser.open(file, scheme=scheme)
        found.append(browser.evaluate(CONTRASTS))
        assert found[-1]["texts"] >= 4.5
        assert found[-1]["axes"] >= 4.5
        assert found[-1]["curves"] >= 3
    light, dark = found
    assert light["paper"] != dark["paper"]
    assert light["ink"] != dark["ink"]


def test_phone_does_not_scroll_sideways(browser, file):
    browser.open(file, width=360, height=740)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    overhang = browser.evaluate(
        "[...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, svg')"
        " && each.getBoundingClientRect().right > 360).length"
    )
    assert overhang == 0
    scrolls = "[...document.querySelectorAll('.scroll')].some(b => b.scrollWidth > b.clientWidth)"
    assert browser.evaluate(scrolls)
