"""The page of a comparison or of a sweep: one file, no script, nothing loaded. The style is that of a run's report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.console import duration
from rise_vlm.errors import UserError
from rise_vlm.report.charts import Line, line_chart, number, ticks
from rise_vlm.report.comparison import Comparison, verdict
from rise_vlm.report.curves import Chart
from rise_vlm.report.page import COLOURS, KNOWN_ARMS
from rise_vlm.report.table import arm_name, split_name
from rise_vlm.report.template import fill, write_whole


@dataclass
class Group:
    """A comparison under a title; ``floors`` are (name, split -> score)."""

    title: str
    comparison: Comparison
    floors: list[tuple[str, dict[str, float]]] = field(default_factory=list)


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


def curve_charts(curves: Mapping[tuple[str, str], Mapping[str, Sequence[tuple[float, float]]]]) -> list[Chart]:
    """By (data, split): a chart of every arm's score over the number of training records."""
    charts: list[Chart] = []
    for (data, split), lines in curves.items():
        css = colours(list(lines))
        drawn: Any = line_chart(
            [Line(arm_name(arm), points, css[arm]) for arm, points in lines.items()],
            label=f"Score over training records, {data}, {split}",
            across="records",
        )
        if drawn is not None:
            charts.append(Chart(f"{data}, {split}", "score over training records", drawn))
    return charts
