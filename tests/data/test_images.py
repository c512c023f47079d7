"""Images of every common kind come out RGB, upright and whole, and all others are refused with a reason."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data.images import TURNS, ImageSize, read_image, read_size, safe_join, to_rgb, turn_box
from rise_vlm.errors import DataError


def noise(width: int = 40, height: int = 30) -> Image.Image:
    values = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    return Image.fromarray(values)


def with_orientation(image: Image.Image, path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "gif", "tif", "ppm"])
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (7, 5), (255, 0, 0)).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (7, 5))
    red, green, blue = image.getpixel((3, 2))
    assert red > 240 and green < 15 and blue < 15


def test_the_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg_1088Wx1632H"
    noise().save(path, format="WEBP", lossless=True)
    assert numpy.array_equal(read_image(path), noise())


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste((255, 0, 0), (0, 0, 8, 8))  # red in the upper left corner only
    turn = TURNS.get(orientation)
    back = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    stored = upright if turn is None else upright.transpose(back.get(turn, turn))
    path = with_orientation(stored, tmp_path / f"turned.{suffix}", orientation)
    image = read_image(path)
    assert image.size == (32, 16)
    assert image.getpixel((3, 3))[1] < 60 and image.getpixel((28, 12))[1] > 200
    size = read_size(path)
    assert size == ImageSize(*stored.size, orientation) and size.upright == (32, 16)


@given(st.integers(1, 8), st.integers(2, 30), st.integers(2, 30), st.data())
def test_a_box_turns_with_its_picture(orientation: int, width: int, height: int, data: st.DataObject) -> None:
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    stored = Image.new("L", (width, height))
    stored.paste(255, (x1, y1, x2, y2))
    turn = TURNS.get(orientation)
    upright = stored if turn is None else stored.transpose(turn)
    turned = turn_box([x1, y1, x2, y2], ImageSize(width, height, orientation))
    assert tuple(turned) == upright.getbbox()


def test_a_png_with_its_exif_at_the_end_is_turned_too(tmp_path: Path) -> None:
    path = with_orientation(noise(8, 4), tmp_path / "a.png", 6)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    (length,) = struct.unpack(">I", content[start : start + 4])
    exif = content[start : start + 12 + length]
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:start] + content[start + 12 + length : end] + exif + content[end:])
    assert read_image(path).size == read_size(path).upright == (4, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (4, 2), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128) if mode == "RGBA" else (0, 128))
    image.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert [read.getpixel((x, 0)) for x in range(3)] == [(255,) * 3, (127,) * 3, (0,) * 3]


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    read = read_image(tmp_path / "a.png")
    assert [read.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (200, 100, 50)]


def test_a_transparent_rgb_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    read = read_image(tmp_path / "a.png")
    assert [read.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (9, 9, 9)]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    values = numpy.array([[0, 257 * 10, 257 * 100 + 100, 65535]], dtype=numpy.uint16)
    Image.fromarray(values).save(tmp_path / name)
    read = read_image(tmp_path / name)
    assert [read.getpixel((x, 0)) for x in range(4)] == [(v,) * 3 for v in (0, 10, 100, 255)]


def test_32_bit_integers_count_as_16_bits_where_they_fit_and_are_refused_elsewhere() -> None:
    fits = Image.fromarray(numpy.array([[0, 65535]], dtype=numpy.int32))
    assert [to_rgb(fits).getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), (255, 255, 255)]
    for values in ([[0, 70000]], [[-1, 5]]):
        with pytest.raises(DataError, match="beyond 16 bits"):
            to_rgb(Image.fromarray(numpy.array(values, dtype=numpy.int32)), "scan.tif")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(numpy.zeros((2, 2), dtype=numpy.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_cmyk_and_one_bit_images_are_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg").getpixel((4, 4))
    assert red > 240 and green < 15 and blue < 15
    Image.new("1", (3, 3), 1).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").getpixel((1, 1)) == (255, 255, 255)


def test_a_1x1_image_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (2_000_000, 60)])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = png_header(tmp_path / "bomb.png", *size)
    for read in (read_image, read_size):
        with pytest.raises(DataError, match=r"bomb\.png: .*100 million.*scale the image down"):
            read(path)


def test_the_largest_allowed_header_is_not_taken_for_a_bomb(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(DataError) as error:  # refused for what it lacks, not for its size
        read_image(png_header(tmp_path / "large.png", 10_000, 10_000))
    assert "million" not in str(error.value)
    assert not recwarn.list


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise(64, 64).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=rf"cut\.{suffix}"):
        read_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\xff\xd8", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.jpg: this is no image"):
        read_image(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such image file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_random_damage_gives_an_image_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "a.png"
    noise(8, 8).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    try:
        assert read_image(path).mode == "RGB"
    except DataError as error:
        assert "a.png" in str(error)


def test_names_with_blanks_and_foreign_letters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "Фото из отпуска é 🐈.png"
    noise().save(path)
    assert read_image(path).size == (40, 30)


def test_safe_join_keeps_paths_inside(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "inner.png").symlink_to(root / "images")
    assert safe_join(root, "images/ä b.png") == root / "images/ä b.png"
    assert safe_join(root, "images/../images/a.png").resolve() == (root / "images/a.png").resolve()
    assert safe_join(root, "inner.png") == root / "inner.png"
    for bad in (
        "/etc/passwd",
        "../secret.png",
        "images/../../secret.png",
        "link.png",
        "folder/secret.png",
        "C:\\x.png",
        "a\0b",
    ):
        with pytest.raises(DataError, match=r"leaves the folder|not a relative path"):
            safe_join(root, bad)


@given(st.text(max_size=30))
def test_safe_join_never_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, relative: str) -> None:
    root = tmp_path_factory.getbasetemp() / "root"
    try:
        joined = safe_join(root, relative)
    except DataError:
        return
    assert joined.resolve().is_relative_to(root.resolve())


def test_naturally_odd_files_are_read(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("bad-naturally-broken")
    with Image.open(folder / "black3.jpg_1088Wx1632H") as odd:
        assert odd.format == "WEBP" and read_image(folder / "black3.jpg_1088Wx1632H").size == odd.size
    with Image.open(folder / "with_mask129.jpg") as odd:
        assert odd.mode == "RGBA" and read_image(folder / "with_mask129.jpg").mode == "RGB"
