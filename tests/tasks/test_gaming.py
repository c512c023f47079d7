"""Every known way to game a reward, with the score that it deserves.

The tricks are those seen to pay in the official RISE and Visual-RFT code: empty answers, fragments, lists of classes,
sprayed boxes, boxes in the reasoning, equality by math-verify, confidence numbers, class lists that do not match.
A comment says what the official reward paid.
"""

from __future__ import annotations

import math
import random

import pytest

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import bare_answer, think_answer
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution

FRAME = Thousand()
GT = {"disgust": 1 / 6, "fear": 0.1, "joy": 14 / 30, "sadness": 0.1, "surprise": 1 / 6}
BOX = [100, 0, 300, 200]


def reward(task, row, completion, role="think"):
    return task.score(row.annotation, task.parse_completion(completion, row, FRAME, role).parsed.value)


@pytest.mark.parametrize("role", ["answer", "think", "reconstruct"])
@pytest.mark.parametrize("completion", ["", " ", "\n", "<answer></answer>", "<think></think><answer></answer>"])
def test_an_empty_answer_earns_nothing(role, completion, things, emotions, grounding, record):
    # official: 1.0 in classification (substring), 0.75 in distribution
    for task, row in ((things, record("dog")), (emotions, record(GT)), (grounding, record(BOX, "Where?"))):
        assert reward(task, row, completion, role) == 0.0


@pytest.mark.parametrize("role", ["answer", "think", "reconstruct"])
def test_repeating_the_prompt_earns_nothing_though_it_shows_the_answers_form(role, things, emotions, grounding, record):
    for task, row in ((things, record("dog")), (emotions, record(GT)), (grounding, record(BOX, "Where?"))):
        for shown in ("answer", "think", "reason"):
            prompt = task.prompt(shown, row, FRAME)
            for completion in (prompt, bare_answer(prompt), think_answer(prompt, prompt), bare_answer(task.form)):
                assert reward(task, row, completion, role) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "frying pan, remote control, dog",
        "frying pan or remote control or dog",
        "frying pan\nremote control\ndog",
        "dog or cat",
        "not a frying pan but a dog",
        "do",
        "g",
        "dogdogdog",
        "dog dog",
        "['dog']",
        "dog: 1.00",
    ],
)
def test_lists_fragments_and_repetitions_of_class_names_earn_nothing(answer, things, record):
    # official: 1.0, since the truth is a substring of the answer or the answer one of the truth
    assert reward(things, record("dog"), bare_answer(answer), "answer") == 0.0


def test_names_that_share_a_number_are_not_equal(record):
    # official: math-verify finds 737 = 737 and pays 1.0
    task = Classification(["Boeing 737-200", "Boeing 737-300"])
    assert reward(task, record("Boeing 737-200"), bare_answer("Boeing 737-300"), "answer") == 0.0
    assert reward(task, record("Boeing 737-200"), bare_answer("Boeing 737-200"), "answer") == 1.0


def test_names_of_several_words_are_told_apart(record):
    # official: both dissolve into an empty prediction, uniform against uniform, 1.0
    classes = ["frying pan", "remote control", "analog clock"]
    for task, truth, form in (
        (Classification(classes), "frying pan", "{}"),
        (Distribution(classes), {"frying pan": 1.0}, "{}: 1.00"),
        (Distribution(classes, score="official"), {"frying pan": 1.0}, "{}: 1.00"),
    ):
        right, wrong = (bare_answer(form.format(name)) for name in ("frying pan", "remote control"))
        assert reward(task, record(truth), right, "answer") == pytest.approx(1.0)
        assert reward(task, record(truth), wrong, "answer") == pytest.approx(0.0, abs=1e-4)
        assert reward(task, record(truth), "hello", "answer") == 0.0


def test_a_truth_outside_the_class_list_is_refused_and_never_pays(record):
    # official: any answer earns 1.0 where the data and the reward disagree about the classes, or the truth is missing
    task = Distribution(["backpack", "bottlecap"])
    assert task.check({"analog clock": 1.0}, record(None))
    assert task.check(None, record(None))
    with pytest.raises(UserError):
        task.score({"analog clock": 1.0}, {"backpack": 1.0})
    cls = Classification(["backpack", "bottlecap"])
    assert cls.check("analog clock", record(None))
    assert reward(cls, record("analog clock"), bare_answer("analog clock"), "answer") == 0.0


def test_line_breaks_change_nothing(emotions, things, record):
    # official: a line break in the rationale costs 90 %, one in the answer makes it unparseable (0.75)
    answer = emotions.render(GT, None, FRAME)
    plain = reward(emotions, record(GT), think_answer("A smile.", answer))
    assert plain > 0.999
    assert reward(emotions, record(GT), think_answer("A smile.\nA hat.\n\n", answer)) == plain
    assert reward(emotions, record(GT), think_answer("A smile.", "\n" + answer.replace(", ", ",\n") + "\n")) == plain
    assert reward(things, record("dog"), "<think>\nIt\nbarks\n</think>\n<answer>\ndog\n</answer>") == 1.0


def test_a_distribution_earns_in_the_order_of_its_quality(emotions, record):
    # official: exact 1.000, uniform 0.758, empty 0.750, one-hot on the true best class 0.004
    classes = emotions.classes
    rng = random.Random(0)
    noisy = {name: max(0.0, GT.get(name, 0.0) + rng.gauss(0, 0.05)) for name in classes}
    answers = {
        "exact": emotions.text(GT),
        "noisy": emotions.text(noisy),
        "uniform": emotions.text(dict.fromkeys(classes, 1 / 7)),
        "one-hot": "joy: 1.00",
        "wrong one-hot": "neutral: 1.00",
        "every class certain": ", ".join(f"{name}: 1.00" for name in classes),
        "empty": "",
    }
    score = {name: reward(emotions, record(GT), bare_answer(text), "answer") for name, text in answers.items()}
    assert score["exact"] > 0.9999
    assert score["exact"] > score["noisy"] > score["uniform"] > score["one-hot"] > score["wrong one-hot"]
    assert emotions.score(GT, dict.fromkeys(classes, 1 / 7)) == pytest.approx(0.78498, abs=1e-5)  # by scipy
    assert score["one-hot"] == pytest.approx(0.66176, abs=1e-5)  # by scipy
    assert score["wrong one-hot"] == score["every class certain"] == score["empty"] == 0.0


def test_the_official_score_is_reproduced_but_never_for_an_unparsed_answer(record):
    task = Distribution(["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"], score="official")
    row = record(GT)
    assert task.score(GT, GT) == pytest.approx(1.0)
    assert task.score(GT, dict.fromkeys(task.classes, 1 / 7)) == pytest.approx(0.758, abs=1e-3)
    assert task.score(GT, {"joy": 1.0}) == pytest.approx(0.004, abs=1e-3)
    assert reward(task, row, bare_answer(""), "answer") == 0.0  # official: 0.750
    assert reward(task, row, bare_answer("hello"), "answer") == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "[125, 0, 375, 333], [0, 0, 1000, 1000]",
        "[[125, 0, 375, 333], [0, 0, 1000, 1000]]",
        "[125, 0, 375, 333] [125, 0, 375, 333]",
        "\n".join(f"[{x}, {y}, {x + 100}, {y + 100}]" for x in range(0, 1000, 100) for y in range(0, 1000, 100)),
        "{'Position': [125, 0, 375, 333], 'Confidence': 0}",
        "{'Position': [125, 0, 375, 333], 'Confidence': -5}",
        "{'Position': [125, 0, 375, 333], 'Confidence': nan}",
        "[nan, nan, nan, nan]",
        "No Objects",
        "none",
    ],
)
def test_sprayed_boxes_and_confidences_earn_nothing_even_where_one_is_right(answer, grounding, record):
    # official: spraying boxes of confidence 0 earns the full confidence reward, and NaN makes the training NaN
    row = record(BOX, "Where?")
    assert grounding.score(BOX, grounding.parse("[125, 0, 375, 333]", row, FRAME).value) > 0.99
    assert reward(grounding, row, bare_answer(answer), "answer") == 0.0


def test_a_box_counts_in_the_answer_only(grounding, record):
    # official: the right box in <think> with "none" as the answer earns 1.0, in both places 0.5
    row = record(BOX, "Where?")
    right = grounding.render(BOX, row, FRAME)
    assert reward(grounding, row, think_answer(f"It is at {right}.", "none")) == 0.0
    assert reward(grounding, row, think_answer(f"It is at {right}.", right)) > 0.99


def test_boxes_that_share_one_number_are_not_equal(grounding, record):
    # official: math-verify compares the y1 alone, here 0 in both, and pays 1.0
    assert reward(grounding, record(BOX, "Where?"), bare_answer("[600, 0, 900, 200]"), "answer") == 0.0


def test_the_whole_image_earns_the_share_that_the_box_has_of_it(grounding, record):
    whole = reward(grounding, record(BOX, "Where?"), bare_answer("[0, 0, 1000, 1000]"), "answer")
    assert whole == pytest.approx(200 * 200 / (800 * 600))


def test_x_y_width_height_earns_its_overlap_and_is_refused_as_truth_where_it_shows(grounding, record):
    # official: the two stages disagree on the format, and a perfect answer scores 0.111
    row = record([400, 300, 500, 400], "Where?")
    assert reward(grounding, row, bare_answer("[500, 500, 625, 667]"), "answer") > 0.99
    assert reward(grounding, row, bare_answer("[500, 500, 125, 167]"), "answer") == 0.0
    assert "x, y, width, height" in grounding.check([400, 300, 100, 100], row)


def test_a_completion_without_tags_is_a_reason_and_no_crash(things, emotions, grounding, record):
    # official: TypeError when <think> is absent
    for task, row in ((things, record("dog")), (emotions, record(GT)), (grounding, record(BOX, "Where?"))):
        whole = task.parse_completion("I do not know.", row, FRAME, "think")
        assert whole.parsed.reason == "the completion does not begin with <think>"


def test_every_score_is_finite_whatever_was_parsed(emotions, grounding, record):
    odd = ["joy: 1e400", "joy: 0.999999999999999999999", "joy: 1.", '{"joy": 1e-400, "fear": 1}', '{"joy": 1e400}']
    assert all(math.isfinite(reward(emotions, record(GT), bare_answer(text), "answer")) for text in odd)
    row = record([0, 0, 1e-9, 1e-9], "Where?", size=(1, 1))
    assert math.isfinite(reward(grounding, row, bare_answer("[0, 0, 1000, 1000]"), "answer"))
