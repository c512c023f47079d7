"""Detection: labelled boxes, strictly read, matched within their class, measured as COCO does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import ResizedPixels, Thousand
from rise_vlm.tasks.detection import MOST_LABELS, Detection

FRAME = Thousand()
NAMES = ["car", "traffic light", "dog"]
TASK = Detection(NAMES)


class Photo:
    id, question = "one", None

    def __init__(self, annotation=(), width=800, height=600):
        self.annotation, self.width, self.height = list(annotation), width, height


def thing(label, *box):
    return {"label": label, "box": list(box)}


CAR, LIGHT = thing("car", 80, 120, 400, 600), thing("traffic light", 480, 60, 560, 300)


def read(text, photo=None):
    return TASK.parse(text, photo or Photo(), FRAME)


@pytest.mark.parametrize(
    "text",
    [
        "car: [100, 200, 500, 1000]; traffic light: [600, 100, 700, 500]",
        " Car:[100,200,500,1000] ;\nTRAFFIC_LIGHT : [ 600, 100.0, 700, 500 ]\n",
        '[{"label": "car", "bbox_2d": [100, 200, 500, 1000]}, {"bbox_2d": [600, 100, 700, 500.0], '
        '"label": "traffic-light"}]',
        '[{"label": "car", "box": [100, 200, 500, 1000]},\n {"label": "Traffic Light", "box": [600, 100, 700, 500]}]',
    ],
)
def test_both_forms_are_read_into_pixels(text):
    value = read(text).value
    assert [one["label"] for one in value] == ["car", "traffic light"]
    assert [one["box"] for one in value] == [pytest.approx(CAR["box"]), pytest.approx(LIGHT["box"])]


@pytest.mark.parametrize("text", ["none", " None\n", "[]", "[ ]"])
def test_nothing_is_an_answer_too(text):
    assert read(text).value == []


FAILURES = [
    "",
    "no objects",
    "none; none",
    "none; car: [100, 200, 500, 1000]",
    "car",
    "car: [100, 200, 500]",
    "car: [100, 200, 500, 1000, 0.9]",
    "car: [[100, 200, 500, 1000]]",
    "car: (100, 200, 500, 1000)",
    "car: [100, 200, 500, 1000], dog: [100, 200, 500, 1000]",
    "car: [100, 200, 500, 1000];",
    "car: [100, 200, 500, 1000] and a dog",
    "There is a car: [100, 200, 500, 1000]",
    "cars: [100, 200, 500, 1000]",
    "light: [100, 200, 500, 1000]",
    ": [100, 200, 500, 1000]",
    "[100, 200, 500, 1000]",
    "car: [500, 200, 100, 1000]",
    "car: [100, 1000, 500, 200]",
    "car: [100, 200, 100, 1000]",
    "car: [100, 200, 500, 1001]",
    "car: [-1, 200, 500, 1000]",
    "car: [nan, 200, 500, 1000]",
    "car: [100, 200, 500, " + "9" * 5000 + "]",
    "car: [x1, y1, x2, y2]",
    TASK.form,
    '{"label": "car", "bbox_2d": [100, 200, 500, 1000]}',
    '[{"label": "car", "bbox_2d": [100, 200, 500, 1000], "score": 0.9}]',
    '[{"label": "car", "bbox_2d": [100, 200, 500, 1000], "bbox_2d": [0, 0, 9, 9]}]',
    '[{"label": "car", "bbox_2d": [100, 200, NaN, 1000]}]',
    '[{"label": "car", "bbox_2d": [100, 200, Infinity, 1000]}]',
    '[{"label": "car", "bbox_2d": [-5, 200, 500, 1000]}]',
    '[{"label": "car", "bbox_2d": [true, 200, 500, 1000]}]',
    '[{"label": "car", "bbox_2d": ["100", 200, 500, 1000]}]',
    '[{"label": ["car"], "bbox_2d": [100, 200, 500, 1000]}]',
    '[{"label": "car", "bbox_2d": [100, 200, 500, ' + "9" * 5000 + "]}]",
    '```json\n[{"label": "car", "bbox_2d": [100, 200, 500, 1000]}]\n```',
    "[[]]",
    "[" * 100000,
    "car: [" * 20000,
    "car:" + " " * 50000 + "[",
]


@pytest.mark.parametrize("text", FAILURES, ids=range(len(FAILURES)))
def test_anything_else_is_a_failure_with_a_reason(text):
    parsed = read(text)
    assert parsed.value is None
    assert parsed.reason


boxes = st.tuples(*[st.integers(0, 370)] * 2, *[st.integers(20, 400)] * 2).map(
    lambda n: [n[0], n[1], n[0] + n[2], n[1] + min(n[3], 590 - n[1])]
)
annotations = st.lists(st.builds(lambda label, box: thing(label, *box), st.sampled_from(NAMES), boxes), max_size=6)


@settings(max_examples=30)
@given(annotations, st.sampled_from([FRAME, ResizedPixels()]))
def test_render_is_read_back_within_the_frames_rounding(annotation, frame):
    photo = Photo(annotation)
    value = TASK.parse(TASK.render(annotation, photo, frame), photo, frame).value
    assert len(value) == len(annotation)
    assert TASK.score(annotation, value) > 0.85
    assert TASK.render(value, photo, frame) == TASK.render(annotation, photo, frame)
    assert TASK.render(annotation[::-1], photo, frame) == TASK.render(annotation, photo, frame)


def test_the_canonical_text_runs_from_left_to_right():
    assert TASK.render([LIGHT, CAR], Photo(), FRAME) == read_both()
    assert TASK.render([], Photo(), FRAME) == "none"


def read_both():
    return "car: [100, 200, 500, 1000]; traffic light: [600, 100, 700, 500]"


def test_prompts_of_the_four_roles():
    photo = Photo([LIGHT, CAR])
    find = "Classes: car, traffic light, dog.\nFind every thing of these classes, or answer none. " + FRAME.hint
    asked = f"{TASK.default_question}\n{find}"
    form = "<answer>class: [x1, y1, x2, y2]; ...</answer>."
    assert TASK.prompt("answer", photo, FRAME) == f"{asked}\nReply only with {form}"
    assert TASK.prompt("think", photo, FRAME).endswith(f"in <think>...</think>, then {form}")
    reason = TASK.prompt("reason", photo, FRAME)
    assert f"The right answer is: {read_both()}\n" in reason
    assert reason.endswith("Do not name a class. Do not give coordinates or numbers.")
    rebuild = TASK.prompt("reconstruct", photo, FRAME, "Something low and red.")
    assert "like this:\nSomething low and red.\nClasses: car" in rebuild
    assert TASK.default_question not in rebuild


def test_metrics_by_hand():
    near = thing("car", 80, 120, 400, 580)
    pairs = [([CAR, LIGHT], [near]), ([], []), ([LIGHT], [CAR, LIGHT]), ([CAR], None), ([], [CAR])]
    metrics = TASK.metrics(pairs)
    overlap = 460 / 480
    assert metrics["score"] == pytest.approx((overlap / 2 + 1 + 0.5 + 0 + 0) / 5)
    assert metrics["parsed"] == pytest.approx(4 / 5)
    assert metrics["precision"] == pytest.approx(2 / 4)
    assert metrics["recall"] == pytest.approx(2 / 4)
    assert metrics["f1"] == pytest.approx(2 * 2 / 8)
    empty = TASK.metrics([([], []), ([], [])])
    assert (empty["score"], empty["f1"], empty["precision"], empty["recall"]) == (1, 1, 1, 1)
    with pytest.raises(UserError, match="empty"):
        TASK.metrics([])


def test_unreadable_answers_find_nothing_and_are_not_taken_for_a_right_none():
    box = [0.0, 0.0, 64.0, 48.0]
    car = {"label": "car", "box": box}
    metrics = TASK.metrics([([car], [car]), ([car], None)])
    assert (metrics["score"], metrics["parsed"]) == (0.5, 0.5)
    assert (metrics["recall"], metrics["precision"]) == (0.5, 1.0)
    assert metrics["f1"] == pytest.approx(2 / 3)
    # All 10 thresholds: precision is 1 up to recall 0.5, which 51 of COCO's 101 points reach.
    assert TASK.split_metrics([([car], [car]), ([car], None)])["ap"] == pytest.approx(51 / 101)
    empty = TASK.metrics([([], None), ([], None), ([], []), ([], None)])
    assert empty["f1"] == empty["precision"] == empty["recall"] == empty["score"] == 0.25


def test_floors_are_nothing_and_the_usual_box():
    truth = [[], [thing("car", 0, 0, 10, 10)], [thing("car", 10, 0, 20, 10), thing("dog", 0, 0, 5, 5)]]
    floors = TASK.floors(truth)
    assert floors["nothing"] == pytest.approx(1 / 3)
    assert floors["mean_box"] == pytest.approx((0 + 50 / 150 + (50 / 150) / 2) / 3)
    assert TASK.floors(truth, train=[[], []]) == {"nothing": pytest.approx(1 / 3), "mean_box": pytest.approx(1 / 3)}


def test_check_names_what_is_wrong():
    photo = Photo()
    assert TASK.check([], photo) is None
    assert TASK.check([CAR, LIGHT], photo) is None
    for bad in (None, "car", CAR, 5):
        assert "must be a list" in TASK.check(bad, photo)
    for bad in (None, "car", ["car", [0, 0, 1, 1]], {"label": "car"}, CAR | {"score": 1}):
        assert 'object 2: must be {"label"' in TASK.check([CAR, bad], photo)
    assert "unknown class 'cat'. Did you mean 'car'?" in TASK.check([thing("cat", 0, 0, 9, 9)], photo)
    assert "unknown class 'Car'" in TASK.check([thing("Car", 0, 0, 9, 9)], photo)
    assert "unknown class '['car']'" in TASK.check([{"label": ["car"], "box": [0, 0, 9, 9]}], photo)
    assert "swapped" in TASK.check([thing("car", 400, 100, 50, 60)], photo)
    assert "no area" in TASK.check([thing("car", 10, 10, 10, 60)], photo)
    assert "leaves the image of 800 x 600" in TASK.check([thing("car", 10, 10, 810, 60)], photo)
    assert "not a finite number" in TASK.check([thing("car", 0, 0, math.nan, 10)], photo)
    assert "listed twice" in TASK.check([CAR, LIGHT, dict(CAR)], photo)
    assert TASK.check([CAR, thing("dog", *CAR["box"])], photo) is None


LEAKS = {
    "A car is parked.": "names class 'car'",
    "Two dogs play.": "names class 'dog'",
    "The traffic-lights glow.": "names class 'traffic light'",
    "Its left edge is at 480.": "true coordinate in pixels",
    "It begins at 100 of a thousand.": "true coordinate in thousandths",
    "It lies at [1, 2, 3, 4].": "three or more numbers in a row",
    "x=3": "labels a number x or y",
    "It begins four hundred and eighty pixels in.": "true coordinate",
}


@pytest.mark.parametrize("text", LEAKS)
def test_names_and_coordinates_of_any_of_the_boxes_leak(text):
    assert LEAKS[text] in " ".join(TASK.leaks(text, Photo([CAR, LIGHT]), FRAME))


def test_a_description_is_clean_and_an_empty_truth_has_leaks_too():
    text = "Two wheels and a low red body on the left, and a tall post with a lit lamp on the right."
    assert TASK.leaks(text, Photo([CAR, LIGHT]), FRAME) == []
    assert TASK.leaks(text, Photo(), FRAME) == []
    assert TASK.leaks("no dog, at [1, 2, 3, 4]", Photo(), FRAME) == [
        "names class 'dog' ('dog')",
        "holds three or more numbers in a row",
    ]


RED, BLUE = "#d62728", "#1f77b4"


def shows(image, colour):
    return bool((np.asarray(image) == np.array(ImageColor.getrgb(colour))).all(axis=-1).any())


def test_a_drawing_shows_both_answers_and_says_whose_they_are():
    image = Image.new("RGB", (800, 600), "#88aa88")
    drawn = TASK.draw(image, [("truth", [CAR, LIGHT], RED), ("rise", [CAR], BLUE)])
    assert drawn.height > 600
    assert shows(drawn.crop((0, 0, 800, 600)), RED) and shows(drawn.crop((0, 0, 800, 600)), BLUE)
    assert shows(drawn.crop((0, 600, 800, drawn.height)), RED)
    missing = TASK.draw(image, [("truth", [], RED), ("rise", None, BLUE)])
    assert missing.crop((0, 0, 800, 600)).tobytes() == image.tobytes()
    assert TASK.draw(image, []).tobytes() == image.tobytes()


def test_hundreds_of_boxes_are_drawn_without_their_names():
    image = Image.new("RGB", (800, 600), "white")
    many = [thing("car", 20 * (i % 40), 20 * (i // 40), 20 * (i % 40) + 18, 20 * (i // 40) + 18) for i in range(300)]
    plates = (np.asarray(TASK.draw(image, [("truth", many[: MOST_LABELS - 1], RED)])) == [214, 39, 40]).all(-1).sum()
    assert TASK.draw(image, [("truth", many, RED)]).height > 600
    assert plates > 0
