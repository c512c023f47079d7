"""The page of a comparison or of a sweep: one file, no script, nothing loaded. The style is that of a run's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from rise_vlm.console import duration
from rise_vlm.errors import UserError
from rise_vlm.report.charts import Line, line_chart, number, ticks
from rise_vlm.report.comparison import Comparison, verdict
from rise_vlm.report.curves import Chart
from rise_vlm.report.page import COLOURS, KNOWN_ARMS
from rise_vlm.report.table import arm_name, split_name
from rise_vlm.report.template import fill, write_whole

Floors = list[tuple[str, dict[str, float]]]
"""(name, split -> what it reaches)."""


@dataclass
class Group:
    """A comparison under a title; ``floors`` by metric."""

    title: str
    comparison: Comparison
    floors: dict[str, Floors] = field(default_factory=dict[str, Floors])


@dataclass
class Curve:
    """A metric on one split over training sizes: by arm its (records, value)."""

    data: str
    split: str
    metric: str
    arms: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])

    @property
    def sizes(self) -> list[float]:
        """All that occur, the smallest first."""
        return sorted({size for points in self.arms.values() for size, _ in points})


def write_page(path: Path, title: str, groups: Sequence[Group], curves: Sequence[Chart] = ()) -> Path:
    """Write the page. Raises UserError where ``path`` cannot be written."""
    page = render(title, groups, curves)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.", exit_code=1) from error
    write_whole(path, page)
    return path


def render(title: str, groups: Sequence[Group], curves: Sequence[Chart] = ()) -> str:
    """The page as HTML; all text in it is escaped."""
    arms = list(dict.fromkeys(arm for group in groups for arm in group.comparison.arms))
    return fill(
        "comparison.html.j2",
        {"number": number, "arm": arm_name, "duration": duration, "signed": signed},
        title=title,
        groups=groups,
        curves=curves,
        colour=colours(arms).__getitem__,
        verdict=verdict,
        split_name=split_name,
        scale=scale,
    )


def signed(value: float | None) -> str:
    """``+0.012``; a dash where there is none."""
    return "–" if value is None else f"{value:+.3f}"


def colours(arms: Sequence[str]) -> dict[str, str]:
    """Each arm's class in the style."""
    others = [arm for arm in arms if arm not in KNOWN_ARMS]
    named = {arm: f"a{index}" for index, arm in enumerate(KNOWN_ARMS)}
    return named | {arm: f"a{len(KNOWN_ARMS) + i % (COLOURS - len(KNOWN_ARMS))}" for i, arm in enumerate(others)}


def scale(comparison: Comparison, split: str, metric: str) -> tuple[Callable[[float], float], list[float]]:
    """Value -> per cent along the axis of a split's differences, zero on it, and the axis' marks."""
    found = [d.difference for d in comparison.differences if (d.split, d.metric) == (split, metric)]
    ends = [x for one in found for x in (one.mean, one.low, one.high) if x is not None]
    marks = ticks(min([*ends, 0.0]), max([*ends, 0.0]), 7)
    return lambda value: round(100 * (value - marks[0]) / ((marks[-1] - marks[0]) or 1), 2), marks


def curve_charts(curves: Sequence[Curve]) -> list[Chart]:
    """A chart for each: every arm's metric over the number of training records, on a scale of ratios where sizes
    multiply."""
    charts: list[Chart] = []
    for curve in curves:
        css = colours(list(curve.arms))
        what = f"{curve.metric} over training records"
        drawn = line_chart(
            [Line(arm_name(arm), points, css[arm]) for arm, points in curve.arms.items()],
            label=f"{what}, {curve.data}, {curve.split}",
            across="records",
            ratios=multiply(curve.sizes),
        )
        if drawn is not None:
            charts.append(Chart(f"{curve.data}, {curve.split}", what, drawn))
    return charts


def multiply(sizes: Sequence[float]) -> bool:
    """Whether sizes grow by factors, so that a scale of ratios spaces them more evenly: the largest step of all is more
    than twice the smallest."""
    steps = [after - before for before, after in pairwise(sizes)]
    return bool(steps) and sizes[0] > 0 and max(steps) > 2 * min(steps)
