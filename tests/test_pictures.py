"""Decoding of pictures of all kinds."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxgan.data import pictures
from jaxgan.data.pictures import Decoding, check_background, decode, known_suffixes
from jaxgan.errors import UsageError

RNG = np.random.default_rng(0)
COLORED = RNG.integers(0, 256, (7, 10, 3), np.uint8)
GRAY = RNG.integers(0, 256, (7, 10), np.uint8)
DEFAULT = Decoding()
ORIENTATION = 0x0112
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""What a viewer shows of the stored pixels, by the orientation that the camera recorded."""


def encode(picture, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(file, kind, **options)
    return file.getvalue()


def shown(picture, kind: str = "PNG", how: Decoding = DEFAULT, **options) -> np.ndarray:
    return decode(encode(picture, kind, **options), how).pixels


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_orientation_of_the_camera_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = shown(COLORED, kind)
    turned = shown(COLORED, kind, exif=exif)
    np.testing.assert_array_equal(turned, TURNED[orientation](stored))
    small = shown(COLORED, kind, Decoding(size=5), exif=exif)
    expected = ImageOps.fit(Image.fromarray(turned), (5, 5), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(small, expected)


@pytest.mark.parametrize(
    ("background", "behind"),
    [(None, 0), ("white", 255), ("#102030", [16, 32, 48]), ("red", [255, 0, 0])],
)
def test_transparent_pixels_show_the_background(background, behind):
    how = DEFAULT if background is None else Decoding(background=background)
    alpha = RNG.integers(0, 256, (7, 10, 1), np.uint8)
    alpha[0], alpha[1] = 0, 255
    found = decode(encode(np.concatenate([COLORED, alpha], -1)), how)
    share = alpha / 255
    expected = share * COLORED + (1 - share) * np.broadcast_to(behind, (7, 10, 3))
    np.testing.assert_allclose(found.pixels, expected, atol=1)
    np.testing.assert_array_equal(found.pixels[:2], expected[:2])
    assert found.transparent
    alpha[:] = 255
    opaque = decode(encode(np.concatenate([COLORED, alpha], -1)), how)
    np.testing.assert_array_equal(opaque.pixels, COLORED)
    assert not opaque.transparent


def test_every_kind_of_transparency_shows_the_background():
    white = Decoding(background="white")
    layered = Image.fromarray(GRAY).convert("LA")
    layered.putalpha(Image.fromarray(np.where(GRAY < 128, 0, 255).astype(np.uint8)))
    found = decode(encode(layered), white)
    np.testing.assert_array_equal(found.pixels[..., 0], np.where(GRAY < 128, 255, GRAY))
    assert found.pixels.shape == (7, 10, 1)
    assert shown(layered, how=Decoding(background="red")).shape == (7, 10, 3)
    palette = Image.fromarray(np.arange(70, dtype=np.uint8).reshape(7, 10) % 3, "P")
    palette.putpalette([0, 0, 0, 10, 20, 30, 200, 100, 0])
    for kind in ("PNG", "GIF"):
        found = decode(encode(palette, kind, transparency=1), white)
        assert found.transparent
        np.testing.assert_array_equal(
            found.pixels[0, :3], [[0, 0, 0], [255, 255, 255], [200, 100, 0]]
        )
    key = tuple(int(value) for value in COLORED[2, 3])
    found = decode(encode(COLORED, transparency=key), white)
    assert found.transparent
    expected = COLORED.copy()
    expected[(expected == key).all(-1)] = 255
    np.testing.assert_array_equal(found.pixels, expected)


def test_transparency_of_16_bits_shows_the_background():
    deep, key = GRAY.astype(np.uint16) * 257, GRAY[2, 3]
    found = decode(encode(deep, transparency=int(deep[2, 3])), Decoding(background="white"))
    np.testing.assert_array_equal(found.pixels[..., 0], np.where(key == GRAY, 255, GRAY))
    assert found.transparent


def test_unknown_color_is_refused():
    assert [check_background(color) for color in ("white", "#010203")] == ["white", "#010203"]
    with pytest.raises(UsageError, match="--background blak is not a color: .*white.*#rrggbb"):
        check_background("blak")


def test_channels_follow_the_colors_not_the_mode():
    indices = np.arange(70, dtype=np.uint8).reshape(7, 10) % 3
    colors = np.array([[0, 0, 0], [90, 90, 90], [255, 255, 255]], np.uint8)
    for kind in ("PNG", "GIF", "BMP"):
        palette = Image.fromarray(indices, "P")
        palette.putpalette(colors.ravel().tolist())
        found = decode(encode(palette, kind), DEFAULT)
        assert found.gray
        np.testing.assert_array_equal(found.pixels, colors[indices][..., :1])
        palette.putpalette([*colors[:2].ravel().tolist(), 255, 255, 254])
        found = decode(encode(palette, kind), DEFAULT)
        assert not found.gray
        np.testing.assert_array_equal(found.pixels[0, 2], [255, 255, 254])
        assert found.pixels.shape == (7, 10, 3)
    same = np.repeat(GRAY[..., None], 3, -1)
    np.testing.assert_array_equal(shown(same), GRAY[..., None])
    np.testing.assert_array_equal(shown(GRAY), GRAY[..., None])
    one_bit = Image.fromarray(np.where(GRAY < 128, 0, 255).astype(np.uint8)).convert("1")
    np.testing.assert_array_equal(shown(one_bit)[..., 0], np.asarray(one_bit) * 255)
    same[3, 4, 2] ^= 1
    np.testing.assert_array_equal(shown(same), same)


def test_channels_can_be_chosen():
    one, three = Decoding(channels=1), Decoding(channels=3)
    expected = np.asarray(Image.fromarray(COLORED).convert("L"))
    found = decode(encode(COLORED), one)
    np.testing.assert_array_equal(found.pixels, expected[..., None])
    assert not found.gray
    same = np.repeat(GRAY[..., None], 3, -1)
    for picture in (GRAY, same):
        np.testing.assert_array_equal(shown(picture, how=one), GRAY[..., None])
        np.testing.assert_array_equal(shown(picture, how=three), same)
    np.testing.assert_array_equal(shown(COLORED, how=three), COLORED)


def ppm(values: np.ndarray) -> bytes:
    height, width = values.shape
    return b"P5 %d %d 65535\n" % (width, height) + values.astype(">u2").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, the other byte order", "PPM"])
def test_gray_pictures_of_16_bits_are_scaled(kind):
    values = np.concatenate([[0, 65535, 128, 129, 257, 385, 386], np.arange(99, 65436, 132)])
    values = values[: len(values) // 4 * 4].reshape(4, -1).astype(np.uint16)
    if kind == "PPM":
        data = ppm(values)
    else:
        order = values.astype(">u2") if "other" in kind else values
        data = encode(order, kind.partition(",")[0])
    found = decode(data, DEFAULT)
    np.testing.assert_array_equal(found.pixels[..., 0], np.rint(values / 257))
    assert (found.pixels[0, :2, 0] == [0, 255]).all()


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.int32, "integers of 32 bits"), (np.float32, "floating-point")]
)
def test_pictures_of_other_numbers_are_refused(dtype, words):
    with pytest.raises(ValueError, match=f"its pixels are {words}.*: save it with 8 or 16 bits"):
        shown(GRAY.astype(dtype), "TIFF")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_read_as_rgb(kind):
    flat = np.broadcast_to(np.array([200, 100, 20], np.uint8), (16, 16, 3))
    data = encode(Image.fromarray(flat).convert("CMYK"), kind)
    pixels = decode(data, DEFAULT).pixels
    np.testing.assert_allclose(pixels, flat, atol=3)
    np.testing.assert_array_equal(pixels, Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (6, 5), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(
        encode(frames[0], kind, save_all=True, append_images=frames[1:], **options), DEFAULT
    )
    assert found.animated
    np.testing.assert_array_equal(found.pixels, np.asarray(frames[0]))
    assert not decode(encode(frames[0], kind), DEFAULT).animated


@pytest.mark.parametrize(("width", "height"), [(10, 7), (7, 10), (40, 9), (8, 8), (3, 30)])
def test_resized_pictures_equal_pillow(width, height):
    original = Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))
    found = decode(encode(original), Decoding(size=8))
    expected = ImageOps.fit(original, (8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.enlarged == (min(width, height) < 8)
    gray = shown(original.convert("L"), how=Decoding(size=8))[..., 0]
    expected = ImageOps.fit(original.convert("L"), (8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(gray, expected)


def test_resized_pictures_of_few_colors_have_intermediate_ones():
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((3, 3))).astype(np.uint8)
    palette = Image.fromarray(squares, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    one_bit = Image.fromarray(squares * 255).convert("1")
    for picture in (palette, one_bit):
        assert len(np.unique(shown(picture, how=Decoding(size=10)))) > 3


def test_single_pixel_is_enlarged():
    found = decode(encode(COLORED[:1, :1]), Decoding(size=8))
    np.testing.assert_array_equal(found.pixels, np.broadcast_to(COLORED[0, 0], (8, 8, 3)))
    assert found.enlarged
    np.testing.assert_array_equal(shown(COLORED[:1, :1]), COLORED[:1, :1])


@pytest.mark.parametrize("turned", [False, True])
def test_very_long_picture_is_cropped_to_its_center(turned):
    strip = np.zeros((3, 100_000), np.uint8)
    strip[:, 49_990:50_010] = 200
    found = shown(strip.T if turned else strip, how=Decoding(size=8))
    np.testing.assert_array_equal(found, np.full((8, 8, 1), 200))


def test_pictures_beyond_the_limit_are_refused_in_one_line(monkeypatch):
    chunks = [(b"IHDR", struct.pack(">2I5B", 50_000, 50_000, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    for data, limit in ((png, None), (encode(COLORED), 30)):
        if limit is not None:
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match="^it has more than .* pixels") as error:
            decode(data, DEFAULT)
        assert f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels" in str(error.value)
        assert "\n" not in str(error.value)


def test_large_pictures_are_read_without_warnings(monkeypatch):
    pictures._ignore_warnings.cache_clear()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", COLORED.size // 3 - 1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(shown(COLORED), COLORED)
    assert warned == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_damaged_pictures_raise_value_errors(kind):
    data = encode(RNG.integers(0, 256, (40, 40, 3), np.uint8), kind)
    for part in (0, 3, 20, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            decode(data[:part], DEFAULT)
        assert str(error.value)
        assert "\n" not in str(error.value)
        assert " object at " not in str(error.value)  # An address means nothing to a user.
    damaged = np.frombuffer(data, np.uint8).copy()
    for _ in range(50):  # A damaged picture may look like one. Other errors fail this test.
        places = RNG.integers(0, len(data), 20)
        damaged[places] = RNG.integers(0, 256, 20)
        try:
            found = decode(damaged.tobytes(), Decoding(size=4))
        except ValueError:
            continue
        assert found.pixels.shape[:2] == (4, 4)


@pytest.mark.parametrize("data", [b"", b"\0", b"text", b"<svg></svg>", RNG.bytes(1000)])
def test_other_files_raise_value_errors(data):
    with pytest.raises(ValueError, match="no format that Pillow knows"):
        decode(data, DEFAULT)


def test_known_suffixes_are_of_pictures_that_pillow_decodes():
    known = known_suffixes()
    assert {".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"} <= known
    assert not known & {".txt", ".npy", ".pdf", ".svg", ".eps", ".wmf", ".h5", ".mpg", ".json"}
