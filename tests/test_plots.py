import numpy as np
import pytest
from PIL import Image

from jaxgan.files import replacing
from jaxgan.losses import LOSSES
from jaxgan.runs import plots


def test_grid_places_images_row_by_row():
    images = np.linspace(-1, 1, 5)[:, None, None, None] * np.ones((5, 3, 4, 1))
    sheet = plots.grid(images)
    pad = plots.PADDING
    assert sheet.shape == (2 * (3 + pad) + pad, 3 * (4 + pad) + pad)
    for i, grey in enumerate([0, 64, 128, 191, 255]):
        top, left = pad + i // 3 * (3 + pad), pad + i % 3 * (4 + pad)
        assert (sheet[top : top + 3, left : left + 4] == grey).all()
    assert (sheet[pad + 3 + pad :, pad + 2 * (4 + pad) :] == 0).all()


def test_color_images_are_saved_in_color(tmp_path):
    images = np.full((1, 2, 2, 3), -1.0)
    images[..., 1] = 1
    plots.save_samples(tmp_path / "a.png", images)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.getpixel((plots.PADDING, plots.PADDING)) == (0, 255, 0)


def test_points_are_drawn(tmp_path):
    plots.save_samples(tmp_path / "a.png", np.array([[0.0, 1.0], [1.0, 0.0]]))
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("L").getcolors()) > 2


@pytest.mark.parametrize("count", [1, 3, plots.FRAMES + 40])
def test_animation_contains_the_first_and_last_image(tmp_path, count):
    frames = []
    for i in range(count):
        frames.append(tmp_path / f"{i:03d}.png")
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(frames[-1])
    plots.save_animation(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as animation:
        assert getattr(animation, "n_frames", 1) == min(count, plots.FRAMES)
        assert animation.convert("L").getpixel((0, 0)) == 0
        animation.seek(min(count, plots.FRAMES) - 1)
        assert animation.convert("L").getpixel((0, 0)) == count - 1


def test_curves(tmp_path):
    names = ("d_loss", "g_loss", "d_real", "d_fake", "d_grad_norm", "g_grad_norm")
    rows = [{"step": 10 * i, **dict.fromkeys(names, 0.5 + i % 2)} for i in range(1, 200)]
    plots.save_curves(tmp_path / "one.png", rows[:1])
    plots.save_curves(tmp_path / "many.png", rows)
    with Image.open(tmp_path / "many.png") as many, Image.open(tmp_path / "one.png") as one:
        assert many.size == one.size
        assert many.tobytes() != one.tobytes()
    plots.save_curves(tmp_path / "none.png", [])
    assert not (tmp_path / "none.png").exists()


def test_each_seed_has_a_row_of_images(tmp_path):
    greys = np.array([-1.0, 0.0, 1.0])[:, None, None, None, None]
    samples = greys * np.ones((3, plots.SAMPLES_A_SEED + 5, 2, 2, 1))
    plots.save_samples(tmp_path / "a.png", samples)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture)
    side = 2 + plots.PADDING
    assert pixels.shape == (3 * side + plots.PADDING, plots.SAMPLES_A_SEED * side + plots.PADDING)
    assert [pixels[plots.PADDING + k * side, -1 - plots.PADDING] for k in range(3)] == [0, 128, 255]


def test_each_seed_has_a_panel_of_points(tmp_path):
    plots.save_samples(tmp_path / "a.png", np.zeros((3, 7, 2)))
    plots.save_samples(tmp_path / "b.png", np.zeros((7, 2)))
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        assert a.size == (2 * b.width, 2 * b.height)


def test_table_has_gaps_for_frozen_seeds():
    rows = [{"step": 10, "seed": 4, "x": 1}, {"step": 10, "seed": 5, "x": 2}]
    steps, values = plots.table([*rows, {"step": 20, "seed": 5, "x": 3}], "x")
    np.testing.assert_array_equal(steps, [10, 20])
    np.testing.assert_array_equal(values, [[1, np.nan], [2, 3]])
    steps, values = plots.table([{"step": 10, "x": 1}], "x")
    assert values.shape == (1, 1)


def test_curves_of_several_seeds_show_mean_and_spread(monkeypatch, tmp_path):
    names = ("d_loss", "g_loss", "d_real", "d_fake", "d_grad_norm", "g_grad_norm")
    rows = [
        {"step": step, "seed": seed, **dict.fromkeys(names, value)}
        for step in (10, 20)
        for seed, value in enumerate((1.0, 2.0, 6.0))
    ]
    drawn = []
    monkeypatch.setattr(plots, "_replace", lambda path, save: drawn.append(save.__self__))
    plots.save_curves(tmp_path / "curves.png", rows)
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [3, 3])
    edges = axes.collections[0].get_paths()[0].vertices[:, 1]
    spread = np.std([1, 2, 6], ddof=1)
    np.testing.assert_allclose([edges.min(), edges.max()], [3 - spread, 3 + spread])


def test_files_are_replaced_atomically(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_curves_are_labeled_by_the_outputs_of_the_loss(monkeypatch, tmp_path):
    names = ("d_loss", "g_loss", "d_real", "d_fake", "d_grad_norm", "g_grad_norm")
    old = [{"step": step, **dict.fromkeys(names, 3.0)} for step in (10, 20)]
    new = [{**row, "d_real_positive": 0.9, "d_fake_positive": 0.2} for row in old]
    drawn = []
    monkeypatch.setattr(plots, "_replace", lambda path, save: drawn.append(save.__self__))
    for rows in (old, new):
        for loss in ("non_saturating", "wasserstein", "relativistic"):
            plots.save_curves(tmp_path / "curves.png", rows, LOSSES[loss]().outputs)
    titles = [figure.axes[1].get_title() for figure in drawn]
    assert titles == 2 * ["mean probability of being real", "mean output", "share of pairs won"]
    assert [len(figure.axes) for figure in drawn] == [3, 3, 3, 4, 4, 4]
    assert [figure.axes[1].get_ylim()[1] > 3 for figure in drawn[:3]] == [False, True, False]
    assert drawn[3].axes[2].get_title() == plots.SHARES
