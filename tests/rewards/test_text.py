"""Length and repetition of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.rewards.text import over_length, repetition, word_count


@pytest.mark.parametrize(("count", "term"), [(0, 0), (100, 0), (101, 0.02), (125, 0.5), (150, 1), (4000, 1)])
def test_the_length_term_starts_past_the_limit(count, term):
    assert over_length("word " * count) == pytest.approx(term)


def test_limit_and_span_are_options():
    assert over_length("word " * 15, limit=10, span=10) == 0.5


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("a b c", 0), ("a b c d e f", 0), ("a b c d a b c d", 1 / 5), ("x " * 8, 4 / 5)]
)
def test_repetition_is_the_share_of_runs_seen_before(text, share):
    assert repetition(text) == pytest.approx(share)


@given(st.text(max_size=300))
def test_both_are_shares_of_one(text):
    assert 0 <= repetition(text) < 1
    assert 0 <= over_length(text, limit=5, span=5) <= 1
    assert word_count(text) == len(text.split())


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=4, max_size=20))
def test_saying_it_all_again_is_more_repetitive(words):
    text = " ".join(words)
    assert repetition(f"{text} {text}") > repetition(text)
