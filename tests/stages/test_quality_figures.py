"""Figures of rationales against hand-made rows, and what no rows can break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.stages.quality_figures import MEANS, bounds, distinct_n, figures, goes_with, partner


def row(rationale: str = "a red wall", **more: Any) -> dict[str, Any]:
    """What was measured of one rationale."""
    base = {"image": rationale, "rationale": rationale, "finished": True, "leaks": [], "repeated": 0.0, "facts": None,
            "swapped": None, "distinct_2": None, "real": 0.5, "shuffled": 0.5, "empty": 0.5}  # fmt: skip
    return base | more


def test_each_figure_is_what_was_counted_by_hand() -> None:
    rows = [
        row("A red wall.", leaks=["class name"], real=1.0, shuffled=0.2, empty=0.4, distinct_2=0.5,
            swapped={"goes": "rationale"}, facts={"stated": 2, "true": 4, "both": 1}),
        row("a red wall", real=0.6, shuffled=0.4, empty=0.4, finished=False, swapped={"goes": "picture"},
            facts={"stated": 1, "true": 2, "both": 1}),
        row("the wide sky over there", real=0.2, shuffled=0.6, empty=0.4, repeated=0.25, swapped={"goes": "neither"}),
        row("", real=0.4, shuffled=0.2, empty=0.4),
    ]  # fmt: skip
    assert figures(rows) == pytest.approx({
        "written": 0.75, "leak_rate": 1 / 3, "words": (3 + 3 + 5) / 3, "cut_off": 0.25, "repetition": 0.25 / 3,
        "distinct": 2 / 3, "distinct_2": 0.5, "real": 0.55, "shuffled": 0.35, "empty": 0.4, "gain_shuffled": 0.2,
        "gain_empty": 0.15, "swap_rationale": 1 / 3, "swap_picture": 1 / 3,
        "facts_precision": 2 / 3, "facts_recall": 1 / 3,
    })  # fmt: skip


def test_what_was_measured_of_no_record_is_left_out() -> None:
    bare = row("", finished=None, real=None, shuffled=None, empty=None)
    assert figures([bare]) == {"written": 0.0}
    assert bounds([bare, bare], resamples=10, seed=0) == {}, "one picture alone has no interval"
    silent = figures([row("", facts={"stated": 0, "true": 3, "both": 0})])
    assert silent["facts_recall"] == 0 and "facts_precision" not in silent, "nothing stated is nothing true"


def test_the_gains_are_paired_by_record() -> None:
    """Records differ much, and each gains 0.1: the interval is narrow."""
    rows = [row(f"text {i}", real=0.1 * i + 0.1 + 0.001 * (i % 2), shuffled=0.1 * i) for i in range(8)]
    found = bounds(rows, resamples=200, seed=0)
    low, high = found["gain_shuffled"]
    assert 0.099 < low <= high < 0.102 and found["real"][1] - found["real"][0] > 0.2
    assert "distinct" not in found


def test_distinct_n_is_the_share_of_different_runs() -> None:
    assert distinct_n(["a red wall", "A red, wall!"]) == 0.5
    assert distinct_n(["a red wall", "the wide sky"]) == 1.0
    assert distinct_n(["wall wall wall wall"]) == pytest.approx(1 / 3)
    assert distinct_n(["wall", ""]) is None and distinct_n([]) is None
    assert distinct_n(["a b a b"], 1) == 0.5


def test_a_swapped_answer_goes_with_whom_it_is_nearer_to() -> None:
    def same(one: Any, other: Any) -> float:
        return float(one == other)

    assert goes_with(same, "red", "blue", "blue") == "rationale"
    assert goes_with(same, "red", "blue", "red") == "picture"
    assert goes_with(same, "red", "blue", "green") == "neither" == goes_with(same, "red", "blue", None)


def test_the_partner_answered_otherwise_and_is_not_always_the_odd_one() -> None:
    assert partner(0, {1: 1.0, 2: 1.0}, 3) is None and partner(0, {}, 1) is None
    assert partner(1, {0: 0.0, 2: 1.0}, 3) == 0
    near = {1: 0.9, 2: 0.2, 3: 0.8, 4: 0.1}
    assert partner(0, near, 5) == 2, "the first of the further half, though 4 is further"
    assert partner(3, {0: 0.2, 1: 0.2, 2: 0.2}, 4) == 0, "in a circle"


shares = st.floats(0, 1)
rows_of = st.lists(
    st.builds(
        row,
        st.text("ab ", max_size=12).map(str.strip),
        leaks=st.sampled_from([[], ["x"]]),
        finished=st.sampled_from([True, False, None]),
        repeated=shares,
        real=shares,
        shuffled=st.none() | shares,
        empty=shares,
        swapped=st.none() | st.fixed_dictionaries({"goes": st.sampled_from(["rationale", "picture", "neither"])}),
        facts=st.none() | st.integers(0, 4).map(lambda n: {"stated": n + 1, "true": n + 2, "both": n}),
    ),
    min_size=1,
    max_size=6,
)


@given(rows_of)
def test_figures_stay_in_their_bounds_whatever_the_rows_and_their_order(rows: list[dict[str, Any]]) -> None:
    found = figures(rows)
    for name, value in found.items():
        low, high = {"words": (0, 12)}.get(name, (-1, 1) if name.startswith("gain") else (0, 1))
        assert low <= value <= high, name
    assert figures(rows[::-1]) == pytest.approx(found)
    assert set(found) <= {*MEANS, "distinct", "facts_precision", "facts_recall"}
    assert found.get("swap_rationale", 0) + found.get("swap_picture", 0) <= 1 + 1e-9


@given(st.lists(st.text("ab c", max_size=10), max_size=5), st.integers(1, 3))
def test_distinct_n_is_a_share(texts: list[str], n: int) -> None:
    found = distinct_n(texts, n)
    assert found is None or 0 < found <= 1
    again = distinct_n([*texts, *texts], n)
    assert again == (None if found is None else pytest.approx(found / 2))


@given(st.dictionaries(st.integers(0, 6), shares), st.integers(0, 6))
def test_a_partner_is_one_of_those_who_answered_otherwise(near: dict[int, float], place: int) -> None:
    others = {other: value for other, value in near.items() if other != place}
    found = partner(place, others, 7)
    assert (found is None) == all(value >= 1 - 1e-6 for value in others.values())
    assert found is None or others[found] < 1
