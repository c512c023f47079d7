"""Box frames: round trips, bounds, and the processors' own rule of resizing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.policy.frames import FAMILIES, FRAMES, ResizedPixels, Thousand, frame_for, smart_resize

sides = st.integers(1, 8000)


@st.composite
def photos_and_boxes(draw):
    width, height = draw(sides), draw(sides)
    cuts = [draw(st.floats(0, 1)) for _ in range(4)]
    x, y = sorted(cuts[:2]), sorted(cuts[2:])
    return width, height, [x[0] * width, y[0] * height, x[1] * width, y[1] * height]


@given(photos_and_boxes())
def test_thousandths_come_back_within_a_thousandth(drawn):
    width, height, box = drawn
    frame = Thousand()
    back = frame.decode(frame.encode(box, width, height), width, height)
    for a, b, side in zip(back, box, (width, height) * 2, strict=True):
        assert abs(a - b) <= side / 1000 + 1e-9


@given(photos_and_boxes())
def test_resized_pixels_come_back_within_a_pixel_of_the_resized_image(drawn):
    width, height, box = drawn
    frame = ResizedPixels()
    across, down = smart_resize(width, height, 28, 56 * 56, 28 * 28 * 1280)
    back = frame.decode(frame.encode(box, width, height), width, height)
    for a, b, side, resized in zip(back, box, (width, height) * 2, (across, down) * 2, strict=True):
        assert abs(a - b) <= side / resized + 1e-9


@given(photos_and_boxes(), st.sampled_from(sorted(FRAMES)))
def test_encoded_boxes_have_area_and_stay_in_the_image(drawn, name):
    width, height, box = drawn
    frame = FRAMES[name]()
    full = frame.encode([0, 0, width, height], width, height)
    over = [box[0] - 0.5, box[1] - 0.5, box[2] + 0.5, box[3] + 0.5]
    for candidate in (box, over):
        x1, y1, x2, y2 = frame.encode(candidate, width, height)
        assert 0 <= x1 < x2 <= full[2]
        assert 0 <= y1 < y2 <= full[3]


@given(photos_and_boxes(), st.sampled_from(sorted(FRAMES)))
def test_what_was_decoded_encodes_to_the_same_numbers(drawn, name):
    width, height, box = drawn
    frame = FRAMES[name]()
    written = frame.encode(box, width, height)
    assert frame.encode(frame.decode(written, width, height), width, height) == written


def test_examples():
    assert Thousand().encode([80, 60, 400, 300], 800, 600) == [100, 100, 500, 500]
    assert Thousand().decode([100, 100, 500, 500], 800, 600) == [80, 60, 400, 300]
    assert ResizedPixels().encode([80, 60, 400, 300], 800, 600) == [81, 59, 406, 294]  # 812 x 588
    assert Thousand().encode([10, 10, 10, 10], 800, 600) == [12, 16, 13, 17]
    assert Thousand().encode([800, 600, 800, 600], 800, 600) == [999, 999, 1000, 1000]


@pytest.mark.parametrize(
    ("family", "frame"),
    [("qwen2_vl", Thousand), ("qwen3_vl", Thousand), ("other", Thousand), ("qwen2_5_vl", ResizedPixels)],
)
def test_frame_of_a_family(family, frame):
    assert isinstance(frame_for(family), frame)
    assert set(FAMILIES.values()) <= set(FRAMES)


def test_the_processors_numbers_reach_the_frame():
    frame = frame_for("qwen2_5_vl", factor=32, min_pixels=64 * 64, max_pixels=320 * 320)
    assert frame.encode([0, 0, 4000, 3000], 4000, 3000) == [0, 0, 352, 256]


def test_resizing_is_the_processors_own():
    qwen = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")

    @given(sides, sides, st.sampled_from([(28, 56 * 56, 401_408), (32, 64 * 64, 10**6), (14, 1, 14 * 14 * 9)]))
    def agree(width, height, settings):
        if max(width, height) / min(width, height) <= 200:
            high, wide = qwen.smart_resize(height, width, *settings)
            assert smart_resize(width, height, *settings) == (wide, high)

    agree()
