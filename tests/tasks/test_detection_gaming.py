"""Every known way to game a detection reward, and every awkward data set, with the score that it deserves.

The tricks are those that pay in the official RISE and Visual-RFT code; a comment says what was paid there.
"""

from __future__ import annotations

import math
import time

import pytest

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import bare_answer, think_answer
from rise_vlm.tasks.detection import Detection

FRAME = Thousand()
FIVE = [(name, [40 + 150 * i, 60, 160 + 150 * i, 240]) for i, name in enumerate(("car", "car", "dog", "bus", "dog"))]


def things(*pairs):
    return [{"label": label, "box": list(box)} for label, box in pairs]


@pytest.fixture
def task():
    return Detection(["car", "dog", "bus", "traffic light"])


@pytest.fixture
def row(record):
    return record(things(*FIVE))


def reward(task, row, completion, role="answer"):
    return task.score(row.annotation, task.parse_completion(completion, row, FRAME, role).parsed.value)


def answer(task, row, *pairs):
    return bare_answer(task.render(things(*pairs), row, FRAME))


def test_the_truth_earns_all_in_any_order(task, row):
    text = task.render(row.annotation, row, FRAME)
    assert reward(task, row, bare_answer(text)) > 0.98
    assert reward(task, row, bare_answer("; ".join(text.split("; ")[::-1]))) == reward(task, row, bare_answer(text))


@pytest.mark.parametrize("role", ["answer", "think", "reconstruct"])
@pytest.mark.parametrize("completion", ["", " ", "<answer></answer>", "<think></think><answer></answer>", "none", "[]"])
def test_an_empty_answer_earns_nothing_even_where_nothing_is_true(task, row, record, role, completion):
    assert reward(task, row, completion, role) == 0
    assert reward(task, record([]), completion, role) == 0


def test_none_earns_all_where_nothing_is_true_and_nothing_elsewhere(task, row, record):
    # official (Visual-RFT): a truth without objects always scores 0, so that negatives cannot be learned
    assert reward(task, record([]), bare_answer("none")) == 1
    assert reward(task, record([]), think_answer("An empty road.", "[]"), "think") == 1
    assert reward(task, row, bare_answer("none")) == 0
    assert reward(task, record([]), answer(task, record([]), FIVE[0])) == 0


def test_every_class_listed_earns_nothing(task, row, record):
    box = "[50, 100, 200, 400]"
    for text in ("car, dog, bus, traffic light", "car; dog; bus; traffic light", "car", f"car, dog, bus: {box}"):
        assert reward(task, row, bare_answer(text)) == 0
        assert reward(task, record([]), bare_answer(text)) == 0


def test_one_box_under_every_class_is_divided_by_their_number(task, record):
    one = record(things(FIVE[0]))
    listed = answer(task, one, *[(name, FIVE[0][1]) for name in task.classes])
    assert reward(task, one, listed) == pytest.approx(reward(task, one, answer(task, one, FIVE[0])) / len(task.classes))


def test_one_perfect_box_of_five_earns_a_fifth(task, row):
    # official: 1.0, since the sum is divided by the boxes found alone
    assert reward(task, row, answer(task, row, FIVE[0])) == pytest.approx(1 / 5, abs=0.005)


def test_junk_beside_the_truth_costs_its_share(task, row):
    junk = [("bus", [700 - 3 * i, 400, 790 - 3 * i, 590]) for i in range(5)]
    assert reward(task, row, answer(task, row, *FIVE, *junk)) == pytest.approx(5 / 10, abs=0.01)


def test_duplicates_are_paid_once(task, row, record):
    one = record(things(FIVE[0]))
    for copies in (2, 5, 50):
        assert reward(task, one, answer(task, one, *[FIVE[0]] * copies)) == pytest.approx(1 / copies, abs=0.01)
    assert reward(task, row, answer(task, row, *FIVE, *FIVE)) == pytest.approx(0.5, abs=0.01)


def test_sprayed_boxes_earn_less_the_more_there_are(task, row):
    # official: spraying boxes of low confidence earns the full confidence reward
    def grid(n):
        cells = [(800 * i / n, 600 * j / n, 800 * (i + 1) / n, 600 * (j + 1) / n) for i in range(n) for j in range(n)]
        return [(name, cell) for cell in cells for name in ("car", "dog", "bus")]

    earned = [reward(task, row, answer(task, row, *grid(n))) for n in (1, 4, 8, 16)]
    assert earned[0] < 0.12
    assert max(earned[1:]) < 0.06
    assert earned[-1] < 0.01


@pytest.mark.parametrize(
    "box", ["[200, 100, 50, 400]", "[50, 400, 200, 100]", "[200, 400, 50, 100]", "[50, 100, 50, 400]"]
)
def test_swapped_corners_spoil_the_answer(task, row, box):
    right = task.render(row.annotation[1:], row, FRAME)
    assert reward(task, row, bare_answer(f"car: {box}")) == 0
    assert reward(task, row, bare_answer(f"{right}; car: {box}")) == 0


def test_the_right_box_of_the_wrong_class_earns_nothing(task, record):
    # official: one class per record, so that the class never mattered
    assert reward(task, record(things(FIVE[0])), answer(task, record([]), ("dog", FIVE[0][1]))) == 0


def test_the_whole_image_earns_the_share_that_the_box_has_of_it(task, record):
    whole = answer(task, record([]), ("car", [0, 0, 800, 600]))
    assert reward(task, record(things(FIVE[0])), whole) == pytest.approx(120 * 180 / (800 * 600))


@pytest.mark.parametrize("role", ["answer", "think", "reconstruct"])
def test_repeating_the_prompt_earns_nothing_though_it_shows_the_answer(task, row, record, role):
    for one in (row, record([])):
        for shown in ("answer", "think", "reason"):
            prompt = task.prompt(shown, one, FRAME)
            for text in (prompt, bare_answer(prompt), think_answer(prompt, prompt), bare_answer(task.form)):
                assert reward(task, one, text, role) == 0


def test_boxes_count_in_the_answer_only(task, row):
    # official: boxes are collected from the whole completion, and "none" after the right box in <think> earns 1.0
    right = task.render(row.annotation, row, FRAME)
    assert reward(task, row, think_answer(right, "none"), "think") == 0
    assert reward(task, row, think_answer(right, right), "think") > 0.98


@pytest.mark.parametrize(
    "text",
    [
        "car: [50, 100, 200, 400] 0.99",
        "car (0.99): [50, 100, 200, 400]",
        '[{"label": "car", "bbox_2d": [50, 100, 200, 400], "confidence": 0}]',
        '[{"label": "car", "bbox_2d": [50, 100, 200, 400], "confidence": NaN}]',
        "{'Position': [50, 100, 200, 400], 'Confidence': 0}",
        "[[50, 100, 200, 400]]",
        "car: [nan, nan, nan, nan]",
        "No Objects",
    ],
)
def test_confidences_nan_and_bare_boxes_earn_nothing(task, record, text):
    # official: boxes of confidence 0 that miss earn the full confidence reward, NaN makes the training NaN
    assert reward(task, record(things(FIVE[0])), bare_answer(text)) == 0


def test_x_y_width_height_is_no_way_to_write_the_truth(task, record):
    # official: the two stages disagree on the format, and a perfect answer scores 0.111
    right = record(things(("car", [400, 300, 500, 400])))
    assert reward(task, right, bare_answer("car: [500, 500, 125, 167]")) == 0
    assert "x, y, width, height" in task.check(things(("car", [400, 300, 100, 100])), right)


# Awkward data ---------------------------------------------------------------------------------------------------------


def test_overlapping_names_are_told_apart(record):
    task = Detection(["cat", "catfish", "cat tree"])
    box = [50, 50, 150, 150]
    for name in task.classes:
        one = record(things((name, box)))
        for other in task.classes:
            assert (reward(task, one, answer(task, one, (other, box))) > 0.98) == (name == other)
    assert task.leaks("A catfish swims.", record(things(("cat", box))), FRAME) == ["names class 'catfish' ('catfish')"]
    assert task.leaks("Catkins hang down.", record(things(("cat", box))), FRAME) == []


NAMES = ["fire hydrant", "hot-dog", "Band Aid", "信号機", "собака", "été", "नमस्ते", "class: a", "a, b", "10", "?"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_several_words_and_of_any_script_are_written_and_read_back(name, record):
    task = Detection([name, "car"])
    one = record(things((name, [80, 60, 400, 300]), ("car", [160, 60, 400, 300])))
    value = task.parse(task.render(one.annotation, one, FRAME), one, FRAME).value
    assert value == one.annotation
    text = f'[{{"label": "{name}", "bbox_2d": [100, 100, 500, 500]}}]'
    assert task.parse(text, one, FRAME).value == things((name, [80, 60, 400, 300]))


@pytest.mark.parametrize("name", ["信号機", "собака", "fire hydrant"])
def test_names_of_any_script_leak(name, record):
    task = Detection([name, "car"])
    assert task.leaks(f"Da ist {name}.", record([]), FRAME) == [f"names class '{name}' ('{name}')"]


def test_an_everyday_word_as_a_name_is_a_leak_and_no_part_of_another_answer(record):
    """The colour cannot be told from the fruit by its form, and leak rules err towards calling a leak."""
    task = Detection(["orange", "apple"])
    one = record(things(("orange", [80, 60, 400, 300])))
    assert task.leaks("An orange wall.", one, FRAME) == ["names class 'orange' ('orange')"]
    assert task.leaks("A round fruit with pores lies before a red wall.", one, FRAME) == []
    assert reward(task, one, bare_answer("orange apple: [100, 100, 500, 500]")) == 0
    assert reward(task, one, bare_answer("an orange: [100, 100, 500, 500]")) == 0
    assert reward(task, one, bare_answer("orange: [100, 100, 500, 500]")) > 0.98


def test_a_class_may_be_called_none_or_class(record):
    task = Detection(["none", "class"])
    one = record(things(("none", [80, 60, 400, 300])))
    assert reward(task, one, answer(task, one, ("none", [80, 60, 400, 300]))) > 0.98
    assert reward(task, one, bare_answer("none")) == 0
    assert reward(task, one, bare_answer(task.form)) == 0


@pytest.mark.parametrize("name", ["cup [red]", "cup; saucer", "a]b", ""])
def test_names_that_the_answers_could_not_hold_are_refused(name):
    with pytest.raises(UserError, match="classes: "):
        Detection([name, "car"])


def test_one_class_is_enough_and_none_is_not(record):
    task = Detection(["car"])
    assert reward(task, record(things(FIVE[0])), answer(task, record([]), FIVE[0])) > 0.98
    with pytest.raises(UserError, match="at least one class"):
        Detection([])


def test_a_thousand_classes_take_no_longer_than_their_prompt(record):
    names = [f"thing {i}" for i in range(1000)]
    start = time.process_time()
    task = Detection(names)
    one = record(things(*[(name, [10, 10, 200, 100]) for name in names[::10]]))
    for _ in range(5):
        assert reward(task, one, bare_answer(task.render(one.annotation, one, FRAME))) > 0.9
        assert task.leaks("Grey boxes in a row on a grey floor.", one, FRAME) == []
    assert ", thing 999.\n" in task.prompt("answer", one, FRAME)
    assert time.process_time() - start < 3


def test_three_hundred_things_in_an_image(record):
    many = [("car", [25 * (i % 30), 60 * (i // 30), 25 * (i % 30) + 24, 60 * (i // 30) + 58]) for i in range(300)]
    task, one = Detection(["car", "dog"]), record(things(*many))
    start = time.process_time()
    assert task.check(one.annotation, one) is None
    assert reward(task, one, answer(task, one, *many)) > 0.9
    assert reward(task, one, answer(task, one, *[many[0]] * 300)) == pytest.approx(1 / 300, abs=0.001)
    assert task.leaks("Dozens of low roofs in 10 rows.", one, FRAME) == []
    assert task.leaks("Dozens of low roofs in 40 rows.", one, FRAME)
    assert time.process_time() - start < 4


def test_boxes_that_touch_the_border_are_right_and_read_back(record):
    task = Detection(["car"])
    edges = [[0, 0, 800, 600], [0, 0, 5, 5], [795, 595, 800, 600], [-0.5, -0.5, 800.5, 600.5], [799.5, 0, 800, 1]]
    one = record(things(*[("car", box) for box in edges]))
    assert task.check(one.annotation, one) is None
    value = task.parse(task.render(one.annotation, one, FRAME), one, FRAME).value
    assert len(value) == len(edges)
    assert all(0 <= n <= 800 for thing in value for n in thing["box"])


def test_duplicate_truth_is_refused_by_the_check_and_still_has_a_score(record):
    task = Detection(["car", "dog"])
    double = record(things(FIVE[0], FIVE[0]))
    assert "object 2: the same 'car'" in task.check(double.annotation, double)
    assert reward(task, double, answer(task, double, FIVE[0])) == pytest.approx(0.5, abs=0.01)
    assert reward(task, double, answer(task, double, FIVE[0], FIVE[0])) > 0.98


def test_every_score_is_finite_whatever_the_boxes(record):
    task = Detection(["car"])
    tiny = record(things(("car", [0, 0, 1e-9, 1e-9])), size=(1, 1))
    assert math.isfinite(reward(task, tiny, bare_answer("car: [0, 0, 1000, 1000]")))
    assert math.isfinite(task.metrics([(tiny.annotation, None), ([], None)])["f1"])
