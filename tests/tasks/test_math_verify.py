"""Numbers against math-verify, which Reason-RFT's evaluation uses: on a table of pairs, all differences are named."""

from __future__ import annotations

import pytest

from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.structure import Structure

math_verify = pytest.importorskip("math_verify", reason="math-verify is not installed (extra dev)")

TRUTHS = ("2", "12", "3/4", "0.75", "8.7", r"5\sqrt{3}", r"12\pi", "140", "1000", "1.5", "-2", "50", "7")
ANSWERS = (
    "2", "2.0", "two", "2.00", "3", "12", r"\frac{3}{4}", r"\frac34", "0.75", ".75", "3/4", "8.7", "8.66", "8.70",
    r"5\sqrt{3}", r"\sqrt{75}", "8.6602540", "5√3", r"12\pi", "37.699", "140", "140°", r"140^\circ", "140 degrees",
    "1,000", "1000", "10^3", r"1\times10^3", "1 1/2", r"\frac{3}{2}", r"1\frac{1}{2}", "-2", "minus two", "−2", "50%",
    r"50\%", "0.5", r"\boxed{7}", "7 cm", "x = 7", "Answer: 7", "7.", "$7$", "7 or 8", "2+5",
)  # fmt: skip

OURS_ALONE = {
    ("2", "two"), ("-2", "minus two"), ("-2", "−2"), ("1.5", "1 1/2"), (r"5\sqrt{3}", "5√3"),
    ("8.7", "8.66"), ("8.7", "8.6602540"), ("8.7", r"5\sqrt{3}"), ("8.7", r"\sqrt{75}"), ("8.7", "5√3"),
}  # fmt: skip
"""Right here only: words, signs that are no LaTeX, and what rounds to the truth as far as it is written."""

THEIRS_ALONE = {("1000", "10^3"), ("7", "2+5")}
"""Right there only: what is still to be computed."""


def spelt(text: str) -> list[object]:
    """What math-verify reads in a text, LaTeX between dollar signs as it wants it."""
    return math_verify.parse(f"${text}$" if "\\" in text and "$" not in text else text, parsing_timeout=None)


def test_all_differences_from_math_verify_are_known() -> None:
    task = Structure(score="exact")
    ours, theirs = set[tuple[str, str]](), set[tuple[str, str]]()
    for truth in TRUTHS:
        for answer in ANSWERS:
            if task.score(truth, task.parse(answer, None, Thousand()).value) == 1.0:
                ours.add((truth, answer))
            if math_verify.verify(spelt(truth), spelt(answer), timeout_seconds=None):
                theirs.add((truth, answer))
    assert ours - theirs == OURS_ALONE
    assert theirs - ours == THEIRS_ALONE
    assert len(ours & theirs) > 30
