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
    plots.save_samples(tmp_path / "a.png", images, 3)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.getpixel((plots.PADDING, plots.PADDING)) == (0, 255, 0)


def test_points_are_drawn(tmp_path):
    plots.save_samples(tmp_path / "a.png", np.array([[0.0, 1.0], [1.0, 0.0]]), 1, bounded=False)
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
    plots.save_samples(tmp_path / "a.png", samples, 3)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture)
    side = 2 + plots.PADDING
    assert pixels.shape == (3 * side + plots.PADDING, plots.SAMPLES_A_SEED * side + plots.PADDING)
    assert [pixels[plots.PADDING + k * side, -1 - plots.PADDING] for k in range(3)] == [0, 128, 255]


def test_each_seed_has_a_panel_of_points(tmp_path):
    plots.save_samples(tmp_path / "a.png", np.zeros((3, 7, 2)), 1, bounded=False)
    plots.save_samples(tmp_path / "b.png", np.zeros((7, 2)), 1, bounded=False)
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        assert a.size == (2 * b.width, 2 * b.height)


def save_floats(path, samples: np.ndarray, rank: int) -> np.ndarray:
    """Draws samples that are no images; returns the picture in gray."""
    plots.save_samples(path, samples, rank, bounded=False)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("shape", [(13,), (16,), (1,), (3,), (50,), (5, 6, 7), (2, 3, 4, 3)])
@pytest.mark.parametrize("seeds", [(), (1,), (2,)])
def test_tables_and_signals_are_drawn(tmp_path, shape, seeds):
    samples = np.random.default_rng(0).normal(7, 3, (*seeds, 64, *shape)).astype(np.float32)
    picture = save_floats(tmp_path / "a.png", samples, len(shape))
    assert 100 <= min(picture.shape) <= max(picture.shape) <= 1_200
    assert len(np.unique(picture)) > 20
    other = save_floats(tmp_path / "b.png", samples - 6 * samples[..., :1], len(shape))
    assert not np.array_equal(other, picture)


def test_each_value_of_a_table_has_a_panel(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(plots, "_replace", lambda path, save: drawn.append(save.__self__))
    for shape in ((64, 13), (2, 64, 13)):
        samples = np.random.default_rng(0).normal(size=shape)
        plots.save_samples(tmp_path / "a.png", samples, 1, bounded=False)
    one, two = drawn
    assert [axes.get_title() for axes in two.axes] == [f"value {i}" for i in range(13)]
    assert [len(axes.patches) for axes in two.axes] == [2 * len(a.patches) for a in one.axes]
    assert np.array_equal(one.get_size_inches(), two.get_size_inches())


def test_each_seed_has_a_panel_of_signals(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(plots, "_replace", lambda path, save: drawn.append(save.__self__))
    samples = np.random.default_rng(0).normal(size=(2, 64, 50))
    for each in (samples, samples[1]):
        plots.save_samples(tmp_path / "a.png", each, 1, bounded=False)
    two, one = drawn
    assert (len(two.axes), len(one.axes)) == (2, 1)
    for axes, own in zip((*two.axes, *one.axes), (*samples, samples[1]), strict=True):
        lines = [line.get_ydata() for line in axes.lines]
        np.testing.assert_array_equal(lines, own[: plots.SAMPLES_A_SEED])


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3)])
def test_float_arrays_of_two_dimensions_are_drawn_in_gray_or_color(tmp_path, shape):
    ramp = np.linspace(-500, 1500, 9).reshape(9, *[1] * len(shape)) * np.ones((9, *shape))
    pad, colored = plots.PADDING, shape[2:] == (3,)
    plots.save_samples(tmp_path / "a.png", ramp, len(shape), bounded=False)
    plots.save_samples(tmp_path / "b.png", np.stack([ramp, ramp]), len(shape), bounded=False)
    for name, rows, columns in (("a", 3, 3), ("b", 2, 9)):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.mode == ("RGB" if colored else "L")
            assert picture.size == (columns * (30 + pad) + pad, rows * (20 + pad) + pad)
            pixels = np.asarray(picture.convert("L"))
        centers = pixels[pad + 10 :: 20 + pad, pad + 15 :: 30 + pad].ravel()[:9].astype(int)
        assert centers[0] == 0
        assert centers[8] == 255
        assert (np.diff(centers) >= 30).all()


@pytest.mark.parametrize("value", [0.0, -3.5, 1e8, 1.7e9, 1e30])
@pytest.mark.parametrize("shape", [(2,), (3,), (50,), (8, 8), (8, 8, 3)])
def test_samples_that_are_all_the_same_are_drawn(tmp_path, value, shape):
    """A constant feature of the data is constant in samples, too."""
    samples = np.full((64, *shape), value, np.float32)
    assert save_floats(tmp_path / "a.png", samples, len(shape)).size > 0


@pytest.mark.parametrize("values", [2, 3, 50])
def test_samples_close_to_each_other_are_drawn(tmp_path, values):
    """Two neighbors among the numbers of 32 bits, such as times in seconds."""
    samples = np.full((64, values), 1.7e9, np.float32)
    samples[::2] = np.nextafter(samples[::2], np.float32(np.inf))
    assert save_floats(tmp_path / "a.png", samples, 1).size > 0


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
