"""Box overlap against a raster and by its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.rewards.boxes import area, intersection, iou

numbers = st.integers(0, 20)
any_boxes = st.tuples(numbers, numbers, numbers, numbers)
boxes = any_boxes.map(lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1])


def raster(box):
    grid = np.zeros((24, 24), dtype=bool)
    grid[box[1] : box[3], box[0] : box[2]] = True
    return grid


@given(boxes, boxes)
def test_iou_is_that_of_the_pixels(a, b):
    first, second = raster(a), raster(b)
    assert area(a) == first.sum()
    assert intersection(a, b) == (first & second).sum()
    assert iou(a, b) == pytest.approx((first & second).sum() / (first | second).sum())


@given(boxes, boxes, st.floats(0.01, 100), st.integers(-50, 50))
def test_iou_is_symmetric_and_knows_no_unit_or_origin(a, b, scale, shift):
    moved = [[n * scale + shift for n in box] for box in (a, b)]
    assert iou(a, b) == iou(b, a) == pytest.approx(iou(*moved), abs=1e-9)
    assert iou(a, a) == 1


@given(any_boxes, boxes)
def test_a_box_with_swapped_or_equal_corners_overlaps_nothing(bad, good):
    if bad[0] >= bad[2] or bad[1] >= bad[3]:
        assert iou(bad, good) == iou(good, bad) == iou(bad, bad) == 0
