"""Images that look the same are found, others are not, and the search misses no pair of near hashes."""

from __future__ import annotations

import io
import random
from itertools import combinations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from rise_vlm.data.hashing import LOOK, MOST_BITS, Look, alike, alike_or_mirrored, look_of


def scene(seed: int, size: tuple[int, int] = (200, 150)) -> Image.Image:
    """Shapes on one plain background, so that only the shapes tell two scenes apart."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, (190, 200, 210))
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, r = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(15, 40)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES = {
    "compressed": lambda image: compressed(image, 40),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "larger": lambda image: image.resize((image.width * 2, image.height * 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "smaller and compressed": lambda image: compressed(image.resize((100, 75)), 60),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_are_found_and_nothing_else(copy) -> None:  # type: ignore[no-untyped-def]
    scenes = [scene(seed) for seed in range(25)]
    looks = [look_of(image) for image in scenes] + [look_of(copy(image)) for image in scenes]
    assert sorted(alike(looks)) == [(at, at + 25) for at in range(25)]


def test_the_same_shapes_in_other_colours_are_another_picture() -> None:
    image = scene(1)
    red, green, blue = image.split()
    assert list(alike([look_of(image), look_of(Image.merge("RGB", (blue, red, green)))])) == []


def test_pictures_of_one_colour_have_no_hash_and_are_like_none() -> None:
    looks = [look_of(Image.new("RGB", (40, 30), "white")), look_of(Image.new("RGB", (30, 30), "white"))]
    assert [look.hash for look in looks] == [None, None] and list(alike(looks)) == []


def test_any_size_has_a_look() -> None:
    for size in ((1, 1), (1, 500), (700, 2)):
        assert len(look_of(Image.new("RGB", size, "red")).small) == LOOK


def test_mirror_images_are_found_and_told_apart_from_copies() -> None:
    scenes = [scene(seed) for seed in range(10)]
    mirrored = [compressed(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 60) for image in scenes]
    looks = [look_of(image) for image in [*scenes, *mirrored, compressed(scenes[0], 40)]]
    assert alike_or_mirrored(looks) == [(0, 20, False), *((at, at + 10, True) for at in range(10)), (10, 20, True)]
    assert looks[0].mirror().mirror() == looks[0] and Look(None, bytes(LOOK)).mirror().hash is None


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_the_search_finds_what_comparing_all_with_all_finds(hashes: list[int], rng: random.Random) -> None:
    near = []
    for value in hashes:  # each gets a neighbour at 0 to 9 bits
        for bit in rng.sample(range(64), rng.randrange(10)):
            value ^= 1 << bit
        near.append(value)
    looks = [Look(value, bytes(LOOK)) for value in [*hashes, *near]]
    expected = {
        (a, b)
        for (a, one), (b, other) in combinations(enumerate([*hashes, *near]), 2)
        if (one ^ other).bit_count() <= MOST_BITS
    }
    found = list(alike(looks))
    assert set(found) == expected and len(found) == len(expected)


def test_thousands_of_equal_hashes_stay_affordable() -> None:
    rng = numpy.random.default_rng(0)
    small = rng.bytes(LOOK)
    looks = [Look(12345, small) for _ in range(700)]
    found = set(alike(looks))
    assert all((at, at + 1) in found for at in range(699))  # each is tied to its neighbour, so to all
    assert len(found) <= 700 * 512
