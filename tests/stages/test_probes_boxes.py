"""A false annotation for the control keeps its boxes' place and size as shares of the picture."""

from __future__ import annotations

from rise_vlm.data import Record
from rise_vlm.stages.probes import scaled


def row(annotation, width, height):
    return Record(id="one", images=("one.png",), annotation=annotation, width=width, height=height)


def test_boxes_are_scaled_to_the_picture_and_other_annotations_are_kept():
    here = row("dog", 200, 50)
    assert scaled(row("car", 100, 100), here) == "car"
    assert scaled(row({"joy": 1.0}, 100, 100), here) == {"joy": 1.0}
    assert scaled(row([10, 20, 30, 40], 100, 100), here) == [20, 10, 60, 20]
    assert scaled(row([{"label": "car", "box": [10, 20, 30, 40]}], 100, 100), here) == [
        {"label": "car", "box": [20, 10, 60, 20]}
    ]
    assert scaled(row([], 100, 100), here) == []
    assert scaled(row(["left", "up"], 100, 100), here) == ["left", "up"]
