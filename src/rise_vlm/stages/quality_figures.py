"""Figures of rationales from what was measured of each: pure functions of rows, one row per record.

A figure that was measured of no record is left out, never 0. Left out: the measuring (``quality``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import Row
from rise_vlm.stages.intervals import drawn_together, intervals
from rise_vlm.stages.paired import OneSeed, difference
from rise_vlm.stages.selection import normal_text

METRIC = "quality."
"""What the name of a figure begins with where it stands beside the task's metrics, as in ``quality.real``."""

RATIONALE, PICTURE, NEITHER = "rationale", "picture", "neither"
"""With what the answer goes where another record's rationale stands before it."""


def _of_written(value: Callable[[Row], float]) -> Callable[[Row], float | None]:
    return lambda row: value(row) if row["rationale"] else None


def _above(name: str) -> Callable[[Row], float | None]:
    return lambda row: None if None in (row.get(name), row.get("real")) else row["real"] - row[name]


def _swapped(goes: str) -> Callable[[Row], float | None]:
    return lambda row: float(row["swapped"]["goes"] == goes) if row.get("swapped") else None


MEANS: Mapping[str, Callable[[Row], float | None]] = {
    "written": lambda row: float(bool(row["rationale"])),
    "leak_rate": _of_written(lambda row: float(bool(row["leaks"]))),
    "words": _of_written(lambda row: float(len(row["rationale"].split()))),
    "cut_off": lambda row: None if row.get("finished") is None else float(not row["finished"]),
    "repetition": _of_written(lambda row: row["repeated"]),
    "distinct_2": lambda row: row.get("distinct_2"),
    "real": lambda row: row.get("real"),
    "shuffled": lambda row: row.get("shuffled"),
    "empty": lambda row: row.get("empty"),
    "gain_shuffled": _above("shuffled"),
    "gain_empty": _above("empty"),
    "swap_rationale": _swapped(RATIONALE),
    "swap_picture": _swapped(PICTURE),
}
"""Figures that are means over the records, by what one record adds; None where it adds nothing."""

GAINS = ("gain_shuffled", "gain_empty")


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """All figures of some records."""
    found: dict[str, float] = {}
    for name, value in MEANS.items():
        known = [one for row in rows if (one := value(row)) is not None]
        if known:
            found[name] = sum(known) / len(known)
    texts = [normal_text(row["rationale"]) for row in rows if row["rationale"]]
    if texts:
        found["distinct"] = len(set(texts)) / len(texts)
    return found | {f"facts_{name}": value for name, value in (_facts(rows) or {}).items()}


def _facts(rows: Sequence[Row]) -> dict[str, float] | None:
    """Of all facts together, as the loop's controls count them; a record without a rationale states none."""
    whole = Facts()
    for counts in (row["facts"] for row in rows if row.get("facts")):
        whole.seen += 1
        whole.stated += counts["stated"]
        whole.true += counts["true"]
        whole.both += counts["both"]
    found = whole.figures()
    if found and not whole.stated:
        del found["precision"]  # where nothing is stated at all, nothing is known to be true
    return found


def bounds(rows: Sequence[Row], *, resamples: int, seed: int) -> dict[str, list[float]]:
    """``{figure: [low, high]}``, 95 % bootstrap over pictures; of the gains as the loop's controls have them.

    ``distinct`` has none: a resample repeats records, and so texts.
    """
    pictures = drawn_together(rows)
    pairs = [(row, None) for row in rows]
    found = intervals(
        lambda drawn: {name: value for name, value in figures([row for row, _ in drawn]).items() if _plain(name)},
        pairs,
        resamples=resamples,
        seed=seed,
        pictures=pictures,
    )
    for name in GAINS:
        known = [
            (gap, home) for row, home in zip(rows, pictures, strict=True) if (gap := MEANS[name](row)) is not None
        ]
        if known:
            gap = difference([OneSeed([gap for gap, _ in known], [home for _, home in known])], seed=seed)
            if gap.low is not None and gap.high is not None:
                found[name] = [round(gap.low, 6), round(gap.high, 6)]
    return found


def _plain(name: str) -> bool:
    return name not in (*GAINS, "distinct")


def distinct_n(texts: Sequence[str], n: int = 2) -> float | None:
    """Distinct-n of a group: its different runs of ``n`` words, as a share of all of them (0..1); None without any.

    Source: Li et al. 2016 (arXiv 1510.03055). Words are compared without case and punctuation. Longer texts have less.
    """
    parts = [normal_text(text).split() for text in texts]
    runs = [tuple(words[i : i + n]) for words in parts for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None


def goes_with(score: Callable[[Any, Any], float], picture: Any, rationale: Any, answer: Any) -> str:
    """With what a swapped ``answer`` (None: it could not be read) goes: the answer to this picture, or the one that the
    other record's rationale led to; neither where it is as near to both."""
    if answer is None:
        return NEITHER
    own, other = score(picture, answer), score(rationale, answer)
    if own == other:
        return NEITHER
    return RATIONALE if other > own else PICTURE


def partner(place: int, nearness: Mapping[int, float], count: int) -> int | None:
    """Whose rationale record ``place`` of ``count`` is given; None where nobody answered otherwise.

    ``nearness``: of each other record that has an answer, how near that is to this one's own, 1 for the same. It is the
    first behind this one, in a circle, of the half that is further away, so that not all get the one odd answer.
    """
    apart = {other: near for other, near in nearness.items() if near < 1 - 1e-6}
    if not apart:
        return None
    middle = sorted(apart.values())[(len(apart) - 1) // 2]
    return min((other for other, near in apart.items() if near <= middle), key=lambda other: (other - place) % count)
