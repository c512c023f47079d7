"""A page about a dataset: a head, then sections of tiles, charts, bars, lists and pictures. Complete in itself.

The look is that of a run's report. No script runs and nothing is loaded; all text is escaped. Left out: what the
sections say, which is ``data_check.py`` and ``data_stats.py``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from rise_vlm.report.curves import Chart
from rise_vlm.report.template import fill, write_whole

SIDE = 320
"""Longest side of a picture on the page, in pixels."""


@dataclass(frozen=True)
class Bar:
    """A labelled bar: its text at the right and its parts, each a share of the axis with a colour class."""

    label: str
    text: str
    parts: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Example:
    """A card: pictures (SVG), or why there are none; where it is, and what is to be said."""

    where: str
    detail: str
    pictures: Sequence[Markup] = ()
    missing: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a page; what is empty is not shown. ``key`` is its anchor, ``short`` its name in the navigation."""

    key: str
    title: str
    note: str = ""
    short: str = ""
    tone: str = ""
    tiles: Sequence[tuple[str, str, str]] = ()
    rows: Sequence[tuple[str, str, str, str, str]] = ()
    bars: Sequence[Bar] = ()
    legend: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    lines: Sequence[str] = ()
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class Page:
    """A whole page: what it is, its title, a sentence, facts (name, value) and sections."""

    over: str
    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def write_page(page: Page, target: Path) -> None:
    """Write the page, whole or not at all. Raises UserError where it cannot be written."""
    write_whole(target, render(page))


def render(page: Page) -> str:
    """The page as HTML."""
    return fill("data.html.j2", {}, ("page.css", "data.css"), page=page)


def data_uri(image: Image.Image) -> str:
    """A small JPEG of the image as a data URI."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
