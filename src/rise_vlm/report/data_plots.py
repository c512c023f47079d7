"""Two plots of data sets as SVG text: a map of how often something is where, and a cloud of sizes.

They use the geometry of ``charts.py`` and its CSS classes. Left out: interaction and colour scales (stronger is more).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from rise_vlm.report.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Plot, number, svg, tick_label, ticks

MOST_SPOTS = 300
"""Spots of a cloud; of more sizes the most common ones."""


def heat_map(grid: Sequence[Sequence[int]], label: str) -> Markup:
    """``grid[row][column]`` counts as a square map of the picture, its top at the top."""
    side = HEIGHT - 2 * TOP
    left, cell = (WIDTH - side) / 2, side / len(grid)
    most = max((count for row in grid for count in row), default=0) or 1
    parts = [Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>').format(left, TOP, side, side)]
    for row, counts in enumerate(grid):
        for column, count in enumerate(counts):
            if count:
                x, y, opacity = round(left + column * cell, 2), round(TOP + row * cell, 2), (count / most) ** 0.5
                parts.append(
                    Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"/>').format(
                        x, y, round(cell, 2), round(cell, 2), round(0.06 + 0.94 * opacity, 3)
                    )
                )
    return svg(parts, label)


def size_cloud(sizes: Mapping[tuple[int, int], int], label: str) -> Markup:
    """Widths against heights, a spot for each size; the area of a spot goes with its number."""
    common = sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_SPOTS]
    widest, highest = max(size[0] for size in sizes), max(size[1] for size in sizes)
    across, up = ticks(0, widest, 5), ticks(0, highest, 4)
    plot = Plot((0.0, across[-1]), (0.0, up[-1]))
    parts = []
    for mark in up:
        y = plot.place(0, mark)[1]
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, y, round(plot.end, 1)))
        parts.append(tick_label(LEFT - 6, y + 3.5, number(mark, 0), "end"))
    parts += [tick_label(plot.place(mark, 0)[0], HEIGHT - BOTTOM + 18, number(mark, 0), "middle") for mark in across]
    most = common[0][1]
    for (width, height), times in common:
        x, y = plot.place(width, height)
        radius = round(2 + 7 * (times / most) ** 0.5, 1)
        told = f"{width} x {height}: {times:,}"
        parts.append(
            Markup('<circle class="spot" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(x, y, radius, told)
        )
    return svg(parts, label)
