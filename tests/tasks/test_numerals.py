"""Numbers in text."""

from __future__ import annotations

import pytest

from rise_vlm.tasks.numerals import numbers_in


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("no number, someone, a stone", []),
        ("two dogs and 3 cats", [2, 3]),
        ("twenty-one", [21]),
        ("one hundred and twenty", [120]),
        ("three hundred forty five", [345]),
        ("two thousand three hundred", [2300]),
        ("one hundred thousand", [100000]),
        ("one two zero", [1, 2, 0]),
        ("twenty thirty", [20, 30]),
        ("two and three", [2, 3]),
        ("a hundred", [100]),
        ("12.5 and .5 and 0.25", [12.5, 0.5, 0.25]),
        ("x12y34", [12, 34]),
        ("seventeen, seven", [17, 7]),
    ],
)
def test_values(text, values):
    assert [value for value, *_ in numbers_in(text)] == values


def test_places_and_spelling():
    text = "at 40 or ninety nine"
    assert [(text[start:end], spelled) for _, start, end, spelled in numbers_in(text)] == [
        ("40", False),
        ("ninety nine", True),
    ]
