"""A picture file becomes the square a person would see, whatever its mode, rotation or format."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlens.data.decode import Header, decode, measure, squash, stored_side

RED, GREEN, BLUE, WHITE = (200, 30, 40), (20, 180, 60), (30, 40, 220), (255, 255, 255)


def quarters(width: int = 16, height: int = 8) -> Image.Image:
    """Red, green over blue, white."""
    image = Image.new("RGB", (width, height))
    for i, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        column, row = i % 2 * width // 2, i // 2 * height // 2
        image.paste(colour, (column, row, column + width // 2, row + height // 2))
    return image


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(pixels[y, x].tolist()) for y in (0, -1) for x in (0, -1)]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_wide_picture_is_squashed_with_its_aspect_beside_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    quarters().save(path, **({"lossless": True} if suffix == "webp" else {}))
    made = decode(path, 8, 3)
    assert made is not None
    assert made[0].shape == (8, 8, 3)
    assert corners(made[0]) == [RED, GREEN, BLUE, WHITE]
    assert made[1] == 2.0


@pytest.mark.parametrize(
    ("orientation", "seen", "aspect"),
    [  # EXIF 2.32: where the 0th row and the 0th column of the stored picture lie in the one that is seen
        (1, [RED, GREEN, BLUE, WHITE], 2.0),
        (2, [GREEN, RED, WHITE, BLUE], 2.0),
        (3, [WHITE, BLUE, GREEN, RED], 2.0),
        (4, [BLUE, WHITE, RED, GREEN], 2.0),
        (5, [RED, BLUE, GREEN, WHITE], 0.5),
        (6, [BLUE, RED, WHITE, GREEN], 0.5),
        (7, [WHITE, GREEN, BLUE, RED], 0.5),
        (8, [GREEN, WHITE, RED, BLUE], 0.5),
    ],
)
def test_exif_orientation_is_undone(
    tmp_path: Path, orientation: int, seen: list[tuple[int, ...]], aspect: float
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(tmp_path / "a.png", exif=exif)
    made = decode(tmp_path / "a.png", 8, 3)
    assert made is not None
    assert corners(made[0]) == seen
    assert made[1] == aspect


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    values = np.array([[0, 257, 300, 65535], [128, 129, 32768, 65407]], dtype=np.uint16).repeat(2, axis=0)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert measure(tmp_path / "a.png") == Header(4, 4, grey=True)
    made = decode(tmp_path / "a.png", 4, 1)
    assert made is not None
    assert made[0][::2, :, 0].tolist() == [[0, 1, 1, 255], [0, 1, 128, 255]]  # the nearest of value / 257


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB with a transparent colour"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([*BLUE, *RED])
        image.paste(0, (0, 0, 8, 4))
        image.save(tmp_path / "a.png", transparency=0)
        opaque: tuple[int, ...] = RED
    elif mode.startswith("RGB w"):
        image = Image.new("RGB", (8, 8), RED)
        image.paste(BLUE, (0, 0, 8, 4))
        image.save(tmp_path / "a.png", transparency=BLUE)
        opaque = RED
    else:
        opaque = RED if mode == "RGBA" else (90,)
        image = Image.new(mode, (8, 8), (*opaque, 255))
        image.paste((*BLUE[: len(opaque)], 0), (0, 0, 8, 4))
        image.save(tmp_path / "a.png")
    made = decode(tmp_path / "a.png", 8, len(opaque))
    assert made is not None
    assert corners(made[0]) == [(255,) * len(opaque)] * 2 + [opaque] * 2


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 100, 200, 51)).save(tmp_path / "a.png")  # 51 / 255 = a fifth
    made = decode(tmp_path / "a.png", 8, 3)
    assert made is not None
    assert corners(made[0])[0] == (204, 224, 244)


def test_cmyk_and_bilevel_are_understood(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    made = decode(tmp_path / "a.jpg", 8, 3)
    assert made is not None
    assert np.abs(made[0].astype(int) - [255, 0, 0]).max() <= 4
    Image.new("1", (8, 8), 1).save(tmp_path / "b.png")
    assert measure(tmp_path / "b.png") == Header(8, 8, grey=True)
    made = decode(tmp_path / "b.png", 8, 1)
    assert made is not None
    assert (made[0] == 255).all()


def test_grey_keeps_its_values_in_one_channel_and_in_three(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(values).save(tmp_path / "a.png")
    for channels in (1, 3):
        made = decode(tmp_path / "a.png", 8, channels)
        assert made is not None
        assert (made[0] == values[:, :, None]).all()


def test_a_large_jpeg_decoded_at_a_fraction_is_close_to_the_mean_of_its_blocks(tmp_path: Path) -> None:
    y, x = np.mgrid[0:512, 0:768]
    smooth = np.stack([x / 3, y / 2.01, 128 + 100 * np.sin(x / 60)], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    made = decode(tmp_path / "a.jpg", 32, 3)
    assert made is not None
    assert made[1] == 1.5  # of the original, not of what was decoded
    blocks = smooth.astype(np.float64).reshape(32, 16, 32, 24, 3).mean(axis=(1, 3))
    assert np.abs(made[0] - blocks)[1:-1, 1:-1].mean() < 2


def test_squashing_keeps_the_mean() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 240), dtype=np.uint8)
    small = np.asarray(squash(Image.fromarray(noise), 16))
    assert abs(small.mean() - noise.mean()) < 1
    assert small.std() < 15  # nearest neighbours would keep the 74 of the noise


def broken(kind: str) -> bytes:
    whole = io.BytesIO()
    quarters(256, 256).save(whole, "PNG" if kind == "truncated png" else "JPEG")
    match kind:
        case "text":
            return b"not a picture, whatever the name says"
        case "empty":
            return b""
        case "gif":
            quarters().save(other := io.BytesIO(), "GIF")
            return other.getvalue()
        case _:
            return whole.getvalue()[: len(whole.getvalue()) // 2]


@pytest.mark.parametrize("kind", ["text", "empty", "gif", "truncated jpeg", "truncated png"])
def test_what_cannot_be_read_is_none(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.jpg").write_bytes(broken(kind))
    assert decode(tmp_path / "a.jpg", 8, 3) is None
    assert (measure(tmp_path / "a.jpg") is None) == (not kind.startswith("truncated"))
    assert decode(tmp_path / "missing.jpg", 8, 3) is None


def test_a_decompression_bomb_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quarters(100, 100).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100 * 100 // 2 - 1)
    assert measure(tmp_path / "a.png") is None
    assert decode(tmp_path / "a.png", 8, 3) is None


@pytest.mark.parametrize(
    ("sizes", "size", "side"),
    [
        ([(32, 32)] * 3, None, 32),  # one small square stays as it is
        ([(30, 30)] * 3, 224, 30),
        ([(97, 97)] * 3, None, 96),  # too large to stay; 96 = 1.5 * 64
        ([(640, 480), (480, 640)], None, 96),
        ([(640, 480), (480, 640)], 224, 336),
        ([(640, 480), (480, 640)], 65, 96),  # ceil(97.5) = 98, the nearest multiple of 8
        ([(200, 100), (100, 300), (50, 60)], 224, 104),  # the median shorter side, 100, rounded half up
        ([(3, 5), (4, 2)], None, 8),
    ],
)
def test_the_stored_side(sizes: list[tuple[int, int]], size: int | None, side: int) -> None:
    assert stored_side(np.array(sizes), size) == side


def test_a_crop_of_44_percent_of_the_area_is_not_enlarged() -> None:
    side = stored_side(np.array([(4000, 3000)]), 64)
    assert math.sqrt(0.4445) * side >= 64
