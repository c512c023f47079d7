"""Structure perception: letters and numbers, their scores on the official curve, and tricks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.rewards.numbers import same_number, tolerant_number
from rise_vlm.tasks.base import ROLES, bare_answer
from rise_vlm.tasks.structure import Structure

FRAME = Thousand()
TASK, EXACT, OFFICIAL = Structure(), Structure(score="exact"), Structure(score="official")
CHOICES = "Find x. Choices: A. 12 B. 13 C. 14 D. 15"
PROBLEMS = Path(__file__).parents[3] / "shared" / "data" / "geo-geometry3k-samples" / "problems"


def reward(task, truth, text):
    return task.score(truth, task.parse(text, None, FRAME).value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("Yes", "Yes"), ("no", "No"), ("YES.", "Yes"),
     ("B", "B"), ("b", "B"), ("(B)", "B"), ("B.", "B"), ("B:", "B"), ("12", 12), ("12.0", 12), ("twelve", 12),
     ("3/4", 0.75), (r"\frac{3}{4}", 0.75), (r"$\frac{3}{4}$", 0.75), ("½", 0.5), (r"5\sqrt{3}", 5 * math.sqrt(3)),
     ("5√3", 5 * math.sqrt(3)), (r"\frac{5\sqrt{3}}{2}", 5 * math.sqrt(3) / 2), (r"12\pi", 12 * math.pi),
     ("3+5√2", 3 + 5 * math.sqrt(2)), ("140 degrees", 140), ("140°", 140), (r"140^\circ", 140), ("x = 7", 7),
     (r"\frac34", 0.75), (r"\dfrac{3}4", 0.75), (r"\boxed{7}", 7), (r"$\boxed{\frac{3}{4}}$", 0.75), ("1 1/2", 1.5),
     (r"1\frac{1}{2}", 1.5), ("-1½", -1.5), (r"2\times10^3", 2000), ("2.5 × 10^{-1}", 0.25), ("2×10³", 2000),
     ("50%", 50), (r"50\%", 50), ("12.5 percent", 12.5), ("minus two", -2), ("Answer: 7", 7), ("Answer: B", "B"),
     (r"\boxed{B}", "B"), ("$B$", "B"), (r"\text{B}", "B"), (r"\boxed{\text{B}}", "B"), (r"$\mathrm{(b)}$", "B"),
     (r"\(B\)", "B"), (r"\boxed{\text{Yes}}", "Yes"), ("$7$", 7), ("140º", 140), ("140˚", 140), ("–5", -5), ("−5", -5),
     ("5 cm²", 5), ("5 cm", 5), ("24 square units", 24), ("-5", -5), ("1,024", 1024)],
)  # fmt: skip
def test_a_letter_or_a_number_is_read(text, value):
    assert TASK.parse(text, None, FRAME).value == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "F", "yes or no", "yes, 12", "nope",
     "5–6", "AB", "A, B", "A or B", "ABCD", "not A", "B. 13", "the answer is B", "2+2", "3*4", "10^400", "1e400",
     "12 or 13", r"\boxed{7}+\boxed{8}", r"\boxed{}", "10³", "5²", "1 3/2", "1 1/0", "minus", "minus 2+2",
     "x = Answer: 7", "answer", r"2\times10^400", r"\frac345", "5 apples", "√", "1/0", "((((((((((((",
     r"\frac{3}{", "x", "x = y", "nan", "x" * 5000],
)  # fmt: skip
def test_anything_else_is_a_failure_with_a_reason(text):
    parsed = TASK.parse(text, None, FRAME)
    assert parsed.value is None
    assert parsed.reason


@given(st.text(alphabet="0123456789.,/\\{}()+-*√π° abxsqrtfrcpi$=^", max_size=60))
def test_no_text_whatever_raises(text):
    for task in (TASK, EXACT, OFFICIAL):
        value = task.parse(text, None, FRAME).value
        assert 0.0 <= task.score(12, value) <= 1.0
        assert 0.0 <= task.score("B", value) <= 1.0


@pytest.mark.parametrize(
    ("guess", "worth"),
    [(100, 1), (105, 1), (95, 1), (112.5, 0.5), (87.5, 0.5), (120, 0), (80, 0), (121, 0), (-100, 0), (1e300, 0)],
)
def test_the_tolerant_score_is_the_official_curve(guess, worth):
    # inside 5 % one, beyond 20 % nothing, half a cosine between: its middle is at 12.5 %
    assert TASK.score(100, guess) == pytest.approx(worth, abs=1e-12)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_nearer_never_earns_less(truth, a, b):
    near, far = sorted((a, b), key=lambda guess: abs(guess - truth))
    assert 0.0 <= tolerant_number(truth, far) <= tolerant_number(truth, near) <= 1.0
    assert tolerant_number(truth, truth) == same_number(truth, truth) == 1.0


def test_a_truth_of_zero_is_met_by_zero_alone():
    # official: 0 / 0, an exception, no reward for anybody
    assert [TASK.score(0, guess) for guess in (0, 0.001, -1)] == [1, 0, 0]


def test_letters_and_numbers_never_meet():
    assert reward(TASK, "B", "12") == reward(TASK, 12, "B") == 0.0
    assert reward(TASK, "B", "B") == reward(TASK, "B", "(b)") == 1.0
    assert reward(TASK, "B", "C") == 0.0


@pytest.mark.parametrize(
    ("truth", "text", "tolerant", "exact", "official"),
    [("8.7", "8.7", 1, 1, 1), ("8.7", "8.66", 1, 1, 0), ("8.7", "8.8", 1, 0, 0), (12, "12.0", 1, 1, 0),
     (12, "12.4", 1, 0, 0), ("0.1", "0.05", 0, 0, 0), ("2.0", "2.04", 1, 0, 0), ("Yes", "yes", 1, 1, 0),
     ("No", "No", 1, 1, 1), ("No", "yes", 0, 0, 0), ("No", "0", 0, 0, 0),
     (r"5\sqrt{3}", "8.6602540", 1, 1, 0), (140, "140°", 1, 1, 0), ("B", "b", 1, 1, 0)],
)  # fmt: skip
def test_the_three_scores_side_by_side(truth, text, tolerant, exact, official):
    assert [reward(task, truth, text) for task in (TASK, EXACT, OFFICIAL)] == [tolerant, exact, official]
    with pytest.raises(UserError, match="no score 'cosine'"):
        Structure(score="cosine")


def test_every_letter_at_once_and_the_prompt_earn_nothing(record):
    row = record("B", CHOICES)
    answers = ["A B C D", "A, B, C, D", "ABCD", "A. 12 B. 13 C. 14 D. 15", CHOICES, TASK.form]
    answers += [TASK.prompt(role, row, FRAME, "B") for role in ROLES]
    for answer in answers:
        for completion in (answer, bare_answer(answer)):
            assert TASK.score("B", TASK.parse_completion(completion, row, FRAME, "answer").parsed.value) == 0.0


def test_metrics_are_split_by_kind():
    pairs = [("A", "A"), ("B", "A"), ("C", None), (100, 110), (100, 100)]
    metrics = TASK.metrics(pairs)
    assert metrics["choice_accuracy"] == pytest.approx(1 / 3)
    assert metrics["number_accuracy"] == 0.5
    assert metrics["accuracy"] == 0.4
    assert metrics["parsed"] == 0.8
    partial = 0.5 * (math.cos(math.pi / 3) + 1)  # 10 % off: a third of the way from 5 % to 20 %
    assert metrics["score"] == pytest.approx((1 + partial + 1) / 5)
    assert "number_accuracy" not in TASK.metrics(pairs[:3])
    with pytest.raises(UserError, match="no answers"):
        TASK.metrics([])


def test_floors_by_hand():
    floors = TASK.floors(["A", "B", 10], train=["A", "A", "B", 10, 40])
    assert floors == {"majority": pytest.approx(2 / 3), "random": pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)}
    assert TASK.floors(["Yes"], train=["A", "A", "Yes"]) == {"majority": 1.0, "random": 1.0}  # a letter is none


ASKS = {"letter": "Give the letter of the right choice.", "word": "Give yes or no.", "number": "Give the number."}


@pytest.mark.parametrize(("annotation", "kind"), [("B", "letter"), ("Yes", "word"), (12, "number"), ("5", "number")])
def test_the_statement_asks_for_what_the_annotation_is(record, annotation, kind):
    """Whatever the question looks like, as in the Reason-RFT code."""
    for question in (CHOICES, "Is the triangle isosceles?", "How long is AB?"):
        assert ASKS[kind] in TASK.prompt("answer", record(annotation, question), FRAME), question


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("letter", CHOICES),
        ("letter", "Find x.\n(A) 12\n(B) 13"),
        ("letter", "Find x. (A) 12 (B) 13"),
        ("letter", "Find x. A: 12 cm B: 13 cm"),
        ("letter", "Which is it?\nChoices:\nA 50\nB 60"),
        ("letter", "Which figure is larger? A. the left one B. the right one"),
        ("word", "Is the triangle isosceles?"),
        ("word", "AB is 3, BC is 4. Does AC equal 5?"),
        ("word", "What is the shape, a square? Answer Yes or No."),
        ("number", "Find the length of AB. Round to 1 digit."),
        ("number", "How long is AB?"),
        ("number", "What is x? It is a length."),
        ("number", "AB touches the circle at A. The line OB meets the circle at B. Find the angle at O."),
        ("number", "Can you find the length of the third side?"),
        ("number", "Two sides are 3 and 4. Could you work out x?"),
    ],
)
def test_the_question_shows_what_to_ask_for_where_there_is_no_annotation(record, kind, question):
    assert ASKS[kind] in TASK.prompt("answer", record(None, question), FRAME)


def test_a_structure_without_a_question_is_refused(record):
    with pytest.raises(UserError, match="has no question"):
        TASK.prompt("answer", record(12), FRAME)


def test_leaks(record):
    letter, number = record("B", CHOICES), record(13, "Find x.")
    assert TASK.leaks("So the answer is B.", letter, FRAME)
    assert TASK.leaks("It must be option B", letter, FRAME)
    assert TASK.leaks("A line runs from A to B and a circle touches C.", letter, FRAME) == []
    assert TASK.leaks("Sides of 5 and 12 meet at B.", letter, FRAME) == []
    for listed in (CHOICES, "At B. 9 is written. Find x.\n(A) 12\n(B) 13\n(C) 14", "Find x. A: 12 cm B: 13 cm"):
        assert TASK.leaks("So x is 13.", record("B", listed), FRAME), listed
        assert TASK.leaks("So x is 9, not 14.", record("B", listed), FRAME) == []
    assert TASK.leaks("So x is 13.", record("B", "Find x. A. AB B. CD"), FRAME) == []
    for text in ("so x is 13", "thirteen", "about 13.05"):
        assert TASK.leaks(text, number, FRAME), text
    polar = record("No", "Is it a square?")
    for text in ("No, it is not.", "It is long. No.", "The answer is no", "So the answer must be 'no'."):
        assert TASK.leaks(text, polar, FRAME), text
    assert TASK.leaks("No side is as long as another one; no two angles agree.", polar, FRAME) == []
    assert TASK.leaks("One side is 5, another 12, with a right angle.", number, FRAME) == []


def test_check_names_what_is_wrong(record):
    row = record("B", CHOICES)
    for good in ("B", "Yes", "No", 12, 12.5, "8.7", r"5\sqrt{3}", -3):
        assert TASK.check(good, row) is None
    for bad in (None, True, "yes", "F", "12 or 13", [1], {}, "AB"):
        assert "letter" in TASK.check(bad, row)
    assert "needs a question" in TASK.check("B", record("B"))


def test_the_geometry3k_samples_are_scored_by_letter_and_by_value(record):
    if not PROBLEMS.is_dir():
        pytest.skip(f"real samples are not there: {PROBLEMS}")
    folders = sorted(PROBLEMS.iterdir())
    assert len(folders) == 10
    for folder in folders:
        data = json.loads((folder / "data.json").read_text())
        listed = " ".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", data["choices"], strict=True))
        row = record(data["answer"], f"{data['problem_text']} {listed}")
        assert TASK.check(data["answer"], row) is None
        assert "letter" in TASK.prompt("answer", row, FRAME)
        for choice, precise in zip(data["choices"], data["precise_value"], strict=True):
            read = TASK.parse(choice, row, FRAME)
            assert read.value == pytest.approx(precise, rel=2e-3), choice  # their own figures have three digits
