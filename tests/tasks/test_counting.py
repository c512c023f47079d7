"""Counting: what is read as a number, what it earns, and the tricks that earned more elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import ROLES, bare_answer, think_answer
from rise_vlm.tasks.counting import Counting

FRAME = Thousand()
TASK, OFFICIAL = Counting(), Counting(score="official")
ASK = "Subtract all cubes. How many things are left?"


def reward(completion, record, truth=3, role="answer", task=TASK):
    return task.score(truth, task.parse_completion(completion, record(truth, ASK), FRAME, role).parsed.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), (" 2 \n", 2), ("2.0", 2), ("two", 2), ("Two", 2), ("twenty-one", 21), ("1,024", 1024), ("-3", -3),
     ("0", 0), ("zero", 0), ("２", 2), ("2.5", 2.5), ("+4", 4), ("1e3", 1000),
     ("7.", 7), ("Seven.", 7), ("$7$", 7), (r"\(7\)", 7), (r"$\boxed{7}$", 7)],
)  # fmt: skip
def test_a_number_is_read_in_digits_or_words(text, value):
    assert TASK.parse(text, None, FRAME).value == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "many", "2 or 3", "2, 3", "2 3", "2-3", "[2]", "2 cubes", "about 2", "1+1", "3/4", "10^400", "1e400",
     "9" * 401, "9" * 30, "nan", "inf", "1,5", "five six", "two cubes and a ball", "0x2", "2°"],
)  # fmt: skip
def test_anything_else_is_a_failure_with_a_reason(text):
    parsed = TASK.parse(text, None, FRAME)
    assert parsed.value is None
    assert parsed.reason


@given(st.text(max_size=120))
def test_no_text_whatever_raises(text):
    for task in (TASK, OFFICIAL):
        parsed = task.parse(text, None, FRAME)
        assert parsed.value is None or 0.0 <= task.score(2, parsed.value) <= 1.0


@given(st.integers(0, 10**6))
def test_render_is_read_back(number):
    for task in (TASK, OFFICIAL):
        assert task.score(number, task.parse(task.render(number, None, FRAME), None, FRAME).value) == 1.0


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_score_is_one_at_equality_and_zero_elsewhere(truth, guess):
    assert TASK.score(truth, guess) == float(truth == guess)
    assert TASK.score(truth, None) == 0.0


@pytest.mark.parametrize("completion", ["", "3", "The answer is 3.", "<think>3</think>", "<answer></answer>",
                                        "<answer>2</answer><answer>3</answer>", "<answer>3</answer> or 4",
                                        "<answer><answer>3</answer></answer>", "<answer>3", "<answer>3 or 4</answer>",
                                        "<answer>0, 1, 2, 3, 4, 5</answer>"])  # fmt: skip
def test_no_tag_two_answers_nested_tags_and_lists_earn_nothing(completion, record):
    # official: the first of two answers counts, and without a tag math-verify finds the number in any text
    assert reward(completion, record) == 0.0


def test_a_number_in_the_reasons_counts_for_nothing(record):
    # official evaluation with `enhance`: right where the truth is a substring of the whole output
    assert reward(think_answer("There are 3 left.", "4"), record, role="think") == 0.0
    assert reward(think_answer("There are 4 left.", "3"), record, role="think") == 1.0


def test_the_prompt_repeated_earns_nothing(record):
    for role in ("answer", "think", "reason"):
        prompt = TASK.prompt(role, record(3, ASK), FRAME)
        for completion in (prompt, bare_answer(prompt), bare_answer(TASK.form)):
            assert reward(completion, record) == 0.0


def test_official_is_equality_of_characters(record):
    for text, ours, theirs in (("3", 1, 1), ("3.0", 1, 0), ("three", 1, 0), ("03", 1, 0), ("4", 0, 0)):
        assert reward(bare_answer(text), record) == ours
        assert reward(bare_answer(text), record, task=OFFICIAL) == theirs
    with pytest.raises(UserError, match="no score 'offical'.*Did you mean 'official'"):
        Counting(score="offical")


def test_metrics_and_floors_by_hand():
    pairs = [(3, 3), (3, 4), (2, 9), (1, None)]
    assert TASK.metrics(pairs) == {"score": 0.25, "parsed": 0.75, "accuracy": 0.25, "off_by_one": 0.5}
    assert TASK.floors([3, 3, 2, 1], train=[2, 2, 3, 5]) == {"majority": 0.25, "random": (0.25 + 0.25 + 0.5) / 4}
    for measure in (TASK.metrics, TASK.floors):
        with pytest.raises(UserError, match="no answers to measure"):
            measure([])


def test_check_names_what_is_wrong(record):
    assert TASK.check(0, record(0)) is None
    assert TASK.check(7, record(7)) is None
    for wrong in (-1, 2.5, 2.0, "2", True, None, 10**400, [2]):
        assert "whole number" in TASK.check(wrong, record(1))


def test_leaks_are_the_number_in_any_writing(record):
    for text in ("3 are left", "three cubes", "so it is ３", "the third is 3.0"):
        assert any("names the number" in leak for leak in TASK.leaks(text, record(3), FRAME)), text
    for text in ("There are 2 cubes and 4 balls.", "A red cube, a blue cube, a ball.", "30 of them", "thirteen"):
        assert TASK.leaks(text, record(3), FRAME) == [], text
    assert TASK.leaks("<answer>", record(3), FRAME)


def test_prompts_hold_the_question_and_only_the_reason_prompt_the_truth(record):
    row = record(7, ASK)
    for role in ROLES:
        prompt = TASK.prompt(role, row, FRAME, "Cubes.")
        assert ASK in prompt
        assert ("7" in prompt) is (role == "reason")
    assert TASK.prompt("answer", row, FRAME) == (
        f"{ASK}\nGive one whole number.\nReply only with <answer>number</answer>."
    )


def test_drawing_shows_every_answer():
    drawn = TASK.draw(Image.new("RGB", (500, 300)), [("truth", 3, "green"), ("model", None, "red")])
    assert drawn.height > 330
