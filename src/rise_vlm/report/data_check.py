"""The page of ``rise data check``: what was found, how often, what to do, with examples drawn.

Left out: every single row; a page shows a few examples of each kind, ``--json`` has them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from rise_vlm.data.dataset import Dataset
from rise_vlm.data.findings import KINDS, Drawn, Finding, counted, printable
from rise_vlm.data.images import read_image, safe_join
from rise_vlm.data.inspecting import Report
from rise_vlm.errors import UserError
from rise_vlm.report.data_page import Example, Page, Section, data_uri, write_page

EXAMPLES = 6
"""Examples of a kind; of more, those that are evenly apart."""

LINES = 40
"""Findings without a row (classes, layout) that are listed."""

BYTES = 5_000_000
"""All pictures together; the page stays light enough for a telephone."""

BEYOND = 0.5
"""How far, in widths or heights of the image, a box is drawn outside of it."""


def write_check(dataset: Dataset, report: Report, target: Path) -> None:
    """Write the page of a check to ``target``. Raises UserError where it cannot be written."""
    write_page(build(dataset, report), target)


def build(dataset: Dataset, report: Report) -> Page:
    """The page of a check."""
    numbers = counted(report.findings)
    refused = sum(number for kind, number in numbers.items() if KINDS[kind].refused)
    doubtful = sum(numbers.values()) - refused
    records = ", ".join(f"{counts.records:,} {split}" for split, counts in report.counts.items())
    facts = [("Task", dataset.card.task), ("Good records", records), ("Images opened", f"{report.images:,}")]
    if report.aside:
        facts.append(("Put aside earlier", f"{len(report.aside):,} rows"))
    shown = _Shown(dataset)
    sections = [_summary(numbers)] if numbers else []
    sections += [_kind(kind, [f for f in report.findings if f.kind == kind], shown) for kind in numbers]
    return Page("data check", dataset.card.name, _lead(refused, doubtful), facts, sections)


def _lead(refused: int, doubtful: int) -> str:
    if not refused and not doubtful:
        return "Nothing was found: every row can be used, every image can be read, none occurs twice."
    bad = f"{refused:,} {'row is' if refused == 1 else 'rows are'} refused" if refused else "Every row can be used"
    if not doubtful:
        return f"{bad}."
    return f"{bad}; {doubtful:,} {'finding is' if doubtful == 1 else 'findings are'} doubtful."


def _summary(numbers: dict[str, int]) -> Section:
    rows = [
        (kind, f"{number:,}", KINDS[kind].title, _tone(kind), KINDS[kind].advice) for kind, number in numbers.items()
    ]
    note = "Refused rows are passed over by every command. Doubtful ones are used; often they are mistakes."
    return Section("findings", "Findings", note, "Findings", rows=rows)


def _tone(kind: str) -> str:
    return "refused" if KINDS[kind].refused else "doubtful"


def _kind(kind: str, findings: Sequence[Finding], shown: _Shown) -> Section:
    title = KINDS[kind].title
    title = f"{title[0].upper()}{title[1:]}"
    note = f"{len(findings):,} found. What to do: {KINDS[kind].advice}."
    if not KINDS[kind].of_rows:
        lines = [printable(finding.detail) for finding in findings[:LINES]]
        if len(findings) > LINES:
            lines.append(f"and {len(findings) - LINES:,} more")
        return Section(kind, title, note, tone=_tone(kind), lines=lines)
    chosen = _spread(findings)
    if any(drawn.role == "meant" for finding in chosen for drawn in finding.boxes):
        note += " Red: as stated. Dashed blue: what may be meant."
    return Section(kind, title, note, tone=_tone(kind), examples=[shown.example(finding) for finding in chosen])


def _spread(findings: Sequence[Finding]) -> list[Finding]:
    """The first EXAMPLES findings, or as many evenly apart."""
    if len(findings) <= EXAMPLES:
        return list(findings)
    return [findings[round(at * (len(findings) - 1) / (EXAMPLES - 1))] for at in range(EXAMPLES)]


class _Shown:
    """Draws examples until the page is full."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.bytes = 0

    def example(self, finding: Finding) -> Example:
        """A finding as a card: its image with the boxes, its partner beside it."""
        where = finding.where + (f" · {printable(finding.id)}" if finding.id else "")
        detail = printable(finding.detail)
        if finding.image is None:
            return Example(where, detail)
        if self.bytes > BYTES:
            return Example(where, detail, missing="Not drawn, to keep this page small.")
        pictures, problem = [], ""
        for name in (finding.image, finding.other):
            if name is not None:
                try:
                    pictures.append(self._picture(name, finding.boxes if name == finding.image else ()))
                except UserError:
                    problem = "The image cannot be shown."
        return Example(where, detail, pictures, problem)

    def _picture(self, name: str, boxes: Sequence[Drawn]) -> Markup:
        image = read_image(safe_join(self.dataset.root, name))
        uri = data_uri(image)
        self.bytes += len(uri)
        return draw(uri, image.size, boxes, name)


def draw(uri: str, size: tuple[int, int], boxes: Sequence[Drawn], name: str) -> Markup:
    """A picture with boxes as SVG, in pixels of the image; boxes that leave it widen the view."""
    width, height = size
    corners = [drawn.box for drawn in boxes if drawn.role != "plain"]
    left = max(min([0.0, *(min(b[0], b[2]) for b in corners)]), -BEYOND * width)
    top = max(min([0.0, *(min(b[1], b[3]) for b in corners)]), -BEYOND * height)
    right = min(max([width, *(max(b[0], b[2]) for b in corners)]), (1 + BEYOND) * width)
    bottom = min(max([height, *(max(b[1], b[3]) for b in corners)]), (1 + BEYOND) * height)
    parts = [
        Markup('<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(uri, width, height),
    ]
    if boxes:
        parts.append(Markup('<rect class="edge" width="{}" height="{}"/>').format(width, height))
    order = {"plain": 0, "stated": 1, "meant": 2}
    for drawn in sorted(boxes, key=lambda drawn: order[drawn.role]):
        parts += [_rect(drawn, "halo")] if drawn.role != "plain" else []
        parts.append(_rect(drawn, drawn.role))
    view = f"{left:g} {top:g} {right - left:g} {bottom - top:g}"
    return Markup('<svg viewBox="{}" role="img" aria-label="{}">{}</svg>').format(
        view, printable(name), Markup("").join(parts)
    )


def _rect(drawn: Drawn, css: str) -> Markup:
    x1, y1, x2, y2 = drawn.box  # without any width a rectangle would not be drawn at all
    return Markup('<rect class="{}" x="{:g}" y="{:g}" width="{:g}" height="{:g}"><title>{}</title></rect>').format(
        css, min(x1, x2), min(y1, y2), max(abs(x2 - x1), 1.0), max(abs(y2 - y1), 1.0), printable(drawn.label)
    )
