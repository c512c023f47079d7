"""Rewards of form: by hand, in their bounds, and what they can be made to pay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.rewards.numbers import same_number, tolerant_number
from rise_vlm.rewards.text_form import (
    caption_format,
    cosine_length,
    reasoning_steps,
    repetition,
    shorter_is_better,
    think_format,
)


def test_steps_are_counted_by_their_marks() -> None:
    assert reasoning_steps("It is a cube.") == 0.0
    assert reasoning_steps("Step 1: look.") == pytest.approx(1 / 3)
    assert reasoning_steps("First, look. Next, count.\n- one") == 1.0
    assert reasoning_steps("\n-" * 10) == 1.0  # empty bullets earn it all: never a reward on its own


REFERENCE = re.compile(r"Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,")
"""Reason-RFT's expression."""


def test_a_number_is_a_step_at_the_start_of_each_line_and_a_decimal_none() -> None:
    assert reasoning_steps("So:\n1. look\n2. count") == pytest.approx(2 / 3)  # 0 in Reason-RFT
    assert reasoning_steps("1. look") == pytest.approx(1 / 3)
    assert reasoning_steps("3.5 cm\n3.5 cm\n12.25 cm\n1.5") == 0.0
    assert reasoning_steps("  1. look\n  2. count") == 0.0


@given(st.lists(st.sampled_from(["1", "x", " ", "\n", "-", "*", "Step 2:", "First,", "Next,"]), max_size=20))
@settings(max_examples=50)
def test_steps_without_numbered_lines_are_reason_rft_s(parts: list[str]) -> None:
    text = "".join(parts)
    assert reasoning_steps(text) == pytest.approx(min(1.0, len(REFERENCE.findall(text)) / 3))


TAGGED = "<think>It is\nred.</think>\n<answer>red</answer>"


def test_tags_of_the_papers() -> None:
    assert think_format(TAGGED) == 1.0
    assert think_format(TAGGED * 2) == 1.0  # as in their code: repeated tags pass
    assert think_format(f"So: {TAGGED}") == think_format("<answer>red</answer>") == think_format("") == 0.0
    captioned = f"<summary>s</summary>\n<caption>c</caption>{TAGGED}"
    assert caption_format(captioned) == 1.0 and think_format(captioned) == 0.0
    assert caption_format(TAGGED) == caption_format(f"<caption>c</caption><summary>s</summary>{TAGGED}") == 0.0


def test_the_shortest_right_answer_gains_and_a_wrong_one_never() -> None:
    assert shorter_is_better([10, 20, 30], [True, True, True]) == pytest.approx([0.025, 0.0, -0.025])
    assert shorter_is_better([10, 20, 30], [False, False, False]) == pytest.approx([0.0, 0.0, -0.025])
    assert shorter_is_better([10, 10], [True, False]) == [0.0, 0.0]
    assert shorter_is_better([], []) == []


@given(st.integers(0, 5000), st.integers(0, 5000))
@settings(max_examples=50)
def test_cosine_length_keeps_its_bounds_and_order(a: int, b: int) -> None:
    short, long = sorted((a, b))
    assert 0.5 <= cosine_length(long, True) <= cosine_length(short, True) <= 1.0
    assert -1.0 <= cosine_length(short, False) <= cosine_length(long, False) <= -0.5


def test_cosine_length_by_hand() -> None:
    assert [cosine_length(n, True) for n in (0, 500, 1000, 2000)] == pytest.approx([1.0, 0.75, 0.5, 0.5])
    assert [cosine_length(n, False) for n in (0, 500, 1000, 2000)] == pytest.approx([-1.0, -0.75, -0.5, -0.5])


def test_repetition_is_the_share_of_runs_said_before() -> None:
    assert repetition("") == repetition("a b c") == 0.0
    assert repetition("one two three four five six seven eight") == 0.0
    assert repetition("a a a a a a a a") == pytest.approx(1 / 3 - 1)
    assert repetition("so it is a cube then " * 50) < -0.95


@given(st.text(max_size=200))
@settings(max_examples=50)
def test_every_text_has_a_finite_reward(text: str) -> None:
    assert 0.0 <= reasoning_steps(text) <= 1.0
    assert -1.0 < repetition(text) <= 0.0


def test_numbers_by_hand() -> None:
    assert same_number(8.7, 8.66, decimals=1) == 1.0
    assert same_number(8.7, 8.8, decimals=1) == 0.0
    for truth, guess in ((0.1, 0.05), (0.5, 0.45), (2.0, 2.04), (-0.5, -0.45), (0.0, 0.04)):
        assert same_number(truth, guess, decimals=1) == 0.0  # rounds to it, but is more than 1 % off
    assert same_number(1e6, 1e6 + 2) == 0.0
    assert tolerant_number(-100, -112.5) == pytest.approx(0.5)
