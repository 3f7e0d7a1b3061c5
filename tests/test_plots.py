import numpy as np
import pytest
from PIL import Image

from jaxgan import plots
from jaxgan.files import replacing


def test_grid_places_images_row_by_row():
    images = np.linspace(-1, 1, 5)[:, None, None, None] * np.ones((5, 3, 4, 1))
    sheet = plots.grid(images)
    pad = plots.PADDING
    assert sheet.shape == (2 * (3 + pad) + pad, 3 * (4 + pad) + pad)
    for i, grey in enumerate([0, 64, 128, 191, 255]):
        top, left = pad + i // 3 * (3 + pad), pad + i % 3 * (4 + pad)
        assert (sheet[top : top + 3, left : left + 4] == grey).all()
    assert (sheet[pad + 3 + pad :, pad + 2 * (4 + pad) :] == 0).all()


def test_colours_stay_colours(tmp_path):
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
def test_animation_runs_from_the_first_picture_to_the_last(tmp_path, count):
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


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path):
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
