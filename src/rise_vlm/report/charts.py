"""Small SVG charts as text: lines over steps, and a histogram. Colours are CSS classes, so they follow the theme.

All geometry is in the units of a 360 x 190 view box, which the page scales to the column. Left out: interaction,
legends (each line carries its name at its end), a scale of ratios for values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 190
LEFT, TOP, BOTTOM = 38, 10, 24
LETTER = 6.2
"""Width of a letter of a line's name, generously."""
FEW_POINTS = 12
"""Lines of at most so many points show each as a dot."""
MAX_POINTS = 240
"""Points drawn per line; more are averaged in bins, which the eye could not tell apart anyway."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name at the right end, its points (step, value) and its colour class."""

    name: str
    points: Sequence[Point]
    colour: str


@dataclass(frozen=True)
class Plot:
    """The mapping of data to the view box: the spans of both axes, and the margin left at the right."""

    across: Point
    up: Point
    right: float = 14.0

    @property
    def end(self) -> float:
        """Where the plot ends on the right."""
        return WIDTH - self.right

    def place(self, x: float, y: float) -> Point:
        """Data to view box; a span of no width is put at its start."""
        x = (x - self.across[0]) / ((self.across[1] - self.across[0]) or 1)
        y = (y - self.up[0]) / ((self.up[1] - self.up[0]) or 1)
        return round(LEFT + x * (self.end - LEFT), 1), round(HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM), 1)


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: ``0.831``, ``12,400``, ``2.0e-06``; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and abs(value) < 10**-digits / 2:
        return f"{value:.0e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{min(digits, 1)}f}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Two to ``most`` round numbers that cover ``low``..``high`` (widened to the outer two)."""
    if not high > low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    span = (high - low) / (most - 1)
    base = 10.0 ** math.floor(math.log10(span))
    for factor in (1, 2, 2.5, 5, 10, 20):
        step = base * factor
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first + 1 <= most:
            return [index * step for index in range(first, last + 1)]
    return [low, high]


def smooth(points: Sequence[Point]) -> list[Point]:
    """A running mean whose memory is a twentieth of the line, free of the start's bias."""
    keep = 1 - 1 / max(len(points) / 20, 1)
    total = weight = 0.0
    result = []
    for step, value in points:
        total, weight = total * keep + value, weight * keep + 1
        result.append((step, total / weight))
    return result


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most ``most`` points: the means of equal bins."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    bins = [points[start:stop] for start, stop in pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in bins]


def line_chart(
    lines: Sequence[Line], *, share: bool = False, label: str = "", across: str = "step", ratios: bool = False
) -> Markup | None:
    """Lines over training steps, each drawn raw and faint with its running mean above; None without any points.

    ``share`` fixes the value axis to 0..1. ``label`` is read out by screen readers, ``across`` names the other axis;
    with ``ratios`` equal factors are equally far apart on it, and each of its values, all above 0, is written there.
    """
    lines = [Line(line.name, sorted(line.points), line.colour) for line in lines if line.points]
    if not lines:
        return None
    sizes = sorted({step for line in lines for step, _ in line.points}) if ratios else []
    if ratios:
        lines = [Line(line.name, [(math.log2(x), y) for x, y in line.points], line.colour) for line in lines]
    steps = [step for line in lines for step, _ in line.points]
    values = [value for line in lines for _, value in line.points]
    marks = [0.0, 0.25, 0.5, 0.75, 1.0] if share else ticks(min(values), max(values))
    up = (min(marks[0], min(values)), max(marks[-1], max(values)))
    margin = 12 + LETTER * max(len(_short(line.name)) + 5 for line in lines)
    plot = Plot((min(steps), max(steps)), up, margin)
    parts = [_grid(plot, marks), _sizes(plot, sizes, across) if sizes else _steps(plot, across)]
    ends = []
    for line in lines:
        sparse = len(line.points) <= 20
        mean = thin(line.points if sparse else smooth(line.points))
        if not sparse:
            parts.append(_path(plot, thin(line.points), f"raw {line.colour}"))
        parts.append(_path(plot, mean, f"line {line.colour}"))
        places = [plot.place(*point) for point in mean]
        if len(places) <= FEW_POINTS:
            parts += [_dot(place, line.colour) for place in places]
        ends.append((places[-1][1], line, mean[-1][1]))
    return svg([*parts, *_names(plot, ends)], label)


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    threshold: float | None,
    label: str,
    kept: Sequence[float] | None = None,
) -> Markup:
    """Bars of ``counts`` between ``edges``, the ``kept`` of each in the accent colour; the threshold is a line."""
    marks = ticks(0, max([*counts, 1.0]), 4)
    plot = Plot((edges[0], edges[-1]), (0.0, marks[-1]))
    parts = [_grid(plot, marks, digits=0)]
    for span, count, part in zip(pairwise(edges), counts, kept or [0.0] * len(counts), strict=True):
        parts.append(_column(plot, span, count, "column"))
        if part:
            parts.append(_column(plot, span, part, "column kept"))
    shown = [mark for mark in ticks(*plot.across) if edges[0] <= mark <= edges[-1]]
    parts += [tick_label(plot.place(mark, 0)[0], HEIGHT - 6, number(mark, 2), "middle") for mark in shown]
    if threshold is not None and edges[0] <= threshold <= edges[-1]:
        x = plot.place(threshold, 0)[0]
        parts.append(Markup('<path class="threshold" d="M{} {}V{}"/>').format(x, TOP, HEIGHT - BOTTOM))
        side, anchor = (x - 5, "end") if x > WIDTH / 2 else (x + 5, "start")
        parts.append(tick_label(side, TOP + 9, f"threshold {number(threshold, 2)}", anchor))
    return svg(parts, label)


def _column(plot: Plot, span: Point, count: float, css: str) -> Markup:
    (x0, y), (x1, floor) = plot.place(span[0], count), plot.place(span[1], 0)
    width, height = round(max(x1 - x0 - 1, 0.5), 1), round(max(floor - y, 0), 1)
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        css, round(x0 + 0.5, 1), y, width, height
    )


def svg(parts: Sequence[Markup], label: str) -> Markup:
    """A chart of these parts; ``label`` is what a screen reader says."""
    body = Markup("").join(parts)
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, body
    )


def _grid(plot: Plot, marks: Sequence[float], digits: int | None = None) -> Markup:
    if digits is None:
        step = marks[1] - marks[0] if len(marks) > 1 else 1.0
        digits = 0 if step >= 1 else min(max(2 if round(step * 100) % 10 else 1, -math.floor(math.log10(step))), 6)
    rows = []
    for mark in marks:
        y = plot.place(0, mark)[1]
        rows.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, y, round(plot.end, 1)))
        rows.append(tick_label(LEFT - 6, y + 3.5, f"{mark:,.{digits}f}", "end"))
    return Markup("").join(rows)


def _steps(plot: Plot, across: str) -> Markup:
    first, last = plot.across
    texts = [
        tick_label(LEFT, HEIGHT - 6, f"{first:,.0f}", "start"),
        tick_label((LEFT + plot.end) / 2, HEIGHT - 6, across, "middle"),
    ]
    if last > first:
        texts.append(tick_label(plot.end, HEIGHT - 6, f"{last:,.0f}", "end"))
    return Markup("").join(texts)


def _sizes(plot: Plot, sizes: Sequence[float], across: str) -> Markup:
    """The values along an axis of ratios, those left out that would touch the one before."""
    texts: list[Markup] = []
    free = 0.0
    for size in sizes:
        x, text = plot.place(math.log2(size), 0)[0], f"{size:,.0f}"
        if x - LETTER * len(text) / 2 >= free:
            texts.append(tick_label(x, HEIGHT - 6, text, "middle"))
            free = x + LETTER * (len(text) / 2 + 1)
    return Markup("").join([*texts, tick_label(free, HEIGHT - 6, across, "start")])


def _path(plot: Plot, points: Sequence[Point], css: str) -> Markup:
    places = [plot.place(*point) for point in points]
    return Markup('<path class="{}" d="M{}"/>').format(css, "L".join(f"{x} {y}" for x, y in places))


def _dot(place: Point, css: str) -> Markup:
    return Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>').format(css, *place)


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _names(plot: Plot, ends: list[tuple[float, Line, float]]) -> list[Markup]:
    """The lines' names and last values at their right ends, moved apart where they would overlap."""
    gap, floor = 13.0, HEIGHT - BOTTOM + 4.0
    ends = sorted(ends, key=lambda end: end[0])
    heights: list[float] = []
    for y, _, _ in ends:
        heights.append(max(y + 3.5, heights[-1] + gap if heights else TOP + 3.5))
    for index in range(len(heights) - 1, -1, -1):
        heights[index] = min(heights[index], floor - gap * (len(heights) - 1 - index))
    texts = []
    for height, (_, line, value) in zip(heights, ends, strict=True):
        texts.append(
            Markup('<text class="name {}" x="{}" y="{}">{} <tspan class="value">{}</tspan></text>').format(
                line.colour, round(plot.end + 6, 1), round(height, 1), _short(line.name), number(value, 2)
            )
        )
    return texts


def tick_label(x: float, y: float, text: str, anchor: str) -> Markup:
    """Small text at a place of the chart."""
    return Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        round(x, 1), round(y, 1), anchor, escape(text)
    )
