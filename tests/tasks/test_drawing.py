"""Drawings hold every answer in its colour, on any size of image, and leave the image itself alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from rise_vlm.tasks.drawing import LEAST_SIDE, beside, contrast, font_for, wrap
from rise_vlm.tasks.transformation import Transformation

RED, BLUE = "#d62728", "#1f77b4"


def has_colour(image, colour, box=None):
    pixels = np.asarray(image.crop(box) if box else image)
    return bool((pixels == np.array(ImageColor.getrgb(colour))).all(axis=-1).any())


@pytest.mark.parametrize("size", [(1, 1), (20, 900), (64, 48), (640, 480), (3000, 40), (2400, 1600)])
def test_both_boxes_and_their_labels_are_seen_on_any_size(size, grounding):
    width, height = size
    image = Image.new("RGB", size, "#88aa88")
    before = image.tobytes()
    truth, answer = [0, 0, width * 0.6, height * 0.6], [width * 0.3, height * 0.3, width, height]
    drawn = grounding.draw(image, [("truth", truth, RED), ("rise", answer, BLUE)])
    assert image.tobytes() == before
    assert drawn.mode == "RGB"
    assert max(drawn.size) == max(LEAST_SIDE, *size)
    assert has_colour(drawn, RED)
    assert has_colour(drawn, BLUE)


def test_lines_lie_on_the_edges_of_the_box_and_not_inside(grounding):
    image = Image.new("RGB", (1000, 800), "white")
    drawn = grounding.draw(image, [("t", [300, 300, 700, 600], RED)])
    for edge in ((294, 400, 301, 500), (699, 400, 706, 500), (400, 599, 600, 606)):
        assert has_colour(drawn, RED, edge)
    assert not has_colour(drawn, RED, (310, 310, 690, 590))


def test_labels_of_equal_boxes_do_not_cover_each_other(grounding):
    box = [200, 200, 400, 400]
    answers = [(f"model {i}", box, colour) for i, colour in enumerate((RED, BLUE, "#2ca02c", "#ffbf00"))]
    drawn = grounding.draw(Image.new("RGB", (800, 600), "white"), answers)
    for _, _, colour in answers:
        plate = (np.asarray(drawn) == np.array(ImageColor.getrgb(colour))).all(axis=-1).sum()
        assert plate > 500


def test_an_answer_without_a_box_is_named_below_the_image(grounding):
    image = Image.new("RGB", (640, 480), "white")
    drawn = grounding.draw(image, [("truth", [10, 10, 90, 90], RED), ("rise", None, BLUE)])
    assert drawn.height > 480
    assert has_colour(drawn, BLUE, (0, 480, 640, drawn.height))
    assert not has_colour(drawn, BLUE, (0, 0, 640, 480))


@pytest.mark.parametrize("size", [(1, 1), (20, 900), (640, 480)])
def test_class_and_distribution_answers_stand_in_a_strip_below(size, things, emotions):
    image = Image.new("RGB", size, "#88aa88")
    for task, value in ((things, "dog"), (emotions, {"joy": 0.6, "fear": 0.4})):
        drawn = task.draw(image, [("truth", value, RED), ("rise", None, BLUE)])
        picture = round(size[1] * max(1, LEAST_SIDE / max(size)))
        assert drawn.height > picture
        assert has_colour(drawn, RED, (0, picture, drawn.width, drawn.height))
        assert has_colour(drawn, BLUE, (0, picture, drawn.width, drawn.height))


def test_without_answers_the_image_is_unchanged(things, grounding):
    image = Image.effect_noise((640, 480), 60).convert("RGB")
    for task in (things, grounding):
        assert task.draw(image, []).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_other_modes_are_drawn_on_too(mode, grounding):
    drawn = grounding.draw(Image.new(mode, (640, 480)), [("truth", [10, 10, 90, 90], RED)])
    assert has_colour(drawn, RED)


def test_the_images_of_a_record_are_drawn_side_by_side_at_one_height():
    first, second = Image.new("RGB", (640, 480), RED), Image.new("RGBA", (320, 120), BLUE)
    both = beside([first, second])
    assert both.height == 480 and both.width > 640 + 1280
    assert has_colour(both, RED, (0, 0, 640, 480)) and has_colour(both, BLUE, (both.width - 1280, 0, both.width, 480))
    assert beside([first]) is first
    drawn = Transformation().draw(both, [("truth", "change_color(0, cyan)", RED)])
    assert drawn.width == both.width and drawn.height > 480


def test_lines_are_wrapped_to_the_width_and_no_more_than_eight():
    font = font_for(Image.new("RGB", (640, 480)))
    lines = wrap("a few words and onewordthatistoolongforanylineatall " * 4, font, 200)
    assert all(font.getlength(line) <= 200 for line in lines)
    assert lines[0] == "a few words and"
    assert len(wrap("word " * 4000, font, 40)) == 8
    assert wrap("", font, 40) == [""]


def test_text_is_dark_on_light_and_light_on_dark():
    assert (contrast("white"), contrast("#ffbf00"), contrast("black"), contrast(BLUE)) == (
        "black",
        "black",
        "white",
        "white",
    )
