"""Charts as one SVG file for a page of documentation: panels side by side, in the colours of the report.

Left out: what the charts show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from rise_vlm.report.charts import HEIGHT, WIDTH
from rise_vlm.report.curves import Chart
from rise_vlm.report.template import TEMPLATES

COLUMNS = 2
GAP, TITLE = 24, 22
"""Units between panels, and for the title above each."""


def figure(charts: Sequence[Chart]) -> str:
    """The charts as a whole SVG file, which follows the reader's light or dark theme."""
    rows = -(-len(charts) // COLUMNS)
    columns = min(COLUMNS, len(charts))
    width, height = columns * (WIDTH + GAP), rows * (HEIGHT + TITLE + GAP)
    parts = [Markup("<style>{}</style>").format(Markup(_style()))]
    for number, chart in enumerate(charts):
        x, y = (number % COLUMNS) * (WIDTH + GAP) + GAP / 2, (number // COLUMNS) * (HEIGHT + TITLE + GAP) + GAP / 2
        parts.append(
            Markup('<text class="title" x="{}" y="{}">{}: {}</text>').format(x, y + 8, chart.title, chart.note)
        )
        place = f'x="{x}" y="{y + TITLE}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(Markup(str(chart.svg).replace("<svg ", f"<svg {place} ", 1)))
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    return f"{start}{escape(Markup('').join(parts))}</svg>\n"


def _style() -> str:
    """The rules of the report's page that draw charts, and the colours that these use."""
    page = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    rules = [rule for rule in re.findall(r"\.(?:chart|a\d)\b[^{}]*\{[^{}]*\}", page) if not rule.startswith(".chart {")]
    used = set(re.findall(r"var\(--(\w+)\)", "".join(rules)))
    light, dark = (
        "".join(f"--{name}: {value}; " for name, value in re.findall(r"--(\w+): (#\w+);", theme) if name in used)
        for theme in re.findall(r":root[^{]*\{([^}]*)\}", page)[:2]
    )
    return (
        f":root {{ {light}}} @media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }} "
        f".chart, .title {{ font-size: 11px; overflow: visible }} .title {{ fill: var(--soft) }} {' '.join(rules)}"
    )
