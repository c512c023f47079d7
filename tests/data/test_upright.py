"""Boxes end in the frame of the upright picture, or are refused where nothing tells in which they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data.checking import BadRow
from rise_vlm.data.images import TURNS, ImageSize
from rise_vlm.data.upright import upright_box


@given(st.integers(1, 8), st.tuples(st.integers(2, 20), st.integers(2, 20)).filter(lambda s: s[0] != s[1]), st.data())
def test_boxes_of_a_stored_or_an_upright_size_end_in_the_upright_frame(
    orientation: int, stored: tuple[int, int], data: st.DataObject
) -> None:
    """The oracle paints the box, turns the picture and looks where the paint is."""
    size = ImageSize(*stored, orientation)
    upright = size.upright
    for frame, rule in ((stored, "stored"), (upright, "upright")):
        x1, y1 = data.draw(st.integers(0, frame[0] - 1)), data.draw(st.integers(0, frame[1] - 1))
        box = [x1, y1, data.draw(st.integers(x1 + 1, frame[0])), data.draw(st.integers(y1 + 1, frame[1]))]
        image = Image.new("L", frame)
        image.paste(255, tuple(box))
        if rule == "stored" and orientation in TURNS:
            image = image.transpose(TURNS[orientation])
        assert tuple(upright_box(box, frame, size, rule)) == image.getbbox()
        if orientation == 1 or orientation >= 5:  # else the two sizes are the same and tell nothing
            assert tuple(upright_box(box, frame, size, "auto")) == image.getbbox()


def test_boxes_that_cannot_be_placed_are_refused() -> None:
    turned, flipped = ImageSize(20, 10, 6), ImageSize(20, 10, 3)
    with pytest.raises(BadRow, match="for an image of 30 x 40, but the image has 10 x 20"):
        upright_box([1, 1, 5, 5], (30, 40), turned, "auto")
    for size, stated in ((turned, None), (flipped, (20, 10)), (ImageSize(9, 9, 6), (9, 9))):
        with pytest.raises(BadRow, match="--boxes upright or --boxes stored"):
            upright_box([1, 1, 5, 5], stated, size, "auto")
    assert upright_box([1, 1, 5, 5], None, ImageSize(20, 10, 1), "auto") == [1, 1, 5, 5]
    assert upright_box([1, 1, 5, 4], (20, 10), flipped, "stored") == [15, 6, 19, 9]
    assert upright_box([1, 1, 5, 4], (20, 10), flipped, "upright") == [1, 1, 5, 4]
