"""The page of ``rise data stats``: records, classes, images, boxes and texts of a dataset, plotted.

Left out: pictures; a look at the data themselves is what the check's page and exports are for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rise_vlm.data.findings import printable
from rise_vlm.data.statistics import GRID, RATIOS, Stats, summary
from rise_vlm.report.charts import histogram, number
from rise_vlm.report.curves import Chart
from rise_vlm.report.data_page import Bar, Page, Section, write_page
from rise_vlm.report.data_plots import heat_map, size_cloud

MOST_CLASSES = 60
"""Classes that are listed; of more, the most common, and the rest in one bar."""

MOST_BARS = 24
"""Bars of a histogram of whole numbers."""

SPLIT_COLOURS = ("a2", "a1", "a3", "a5", "a4", "a6", "a7", "a0")


def write_stats(stats: Stats, target: Path) -> None:
    """Write the page to ``target``. Raises UserError where it cannot be written."""
    write_page(build(stats), target)


def build(stats: Stats) -> Page:
    """The page of a dataset's statistics."""
    records = sum(split.records for split in stats.splits.values())
    boxes = stats.total(lambda split: split.boxes.items())
    facts = [("Task", stats.task), ("Records", f"{records:,}")]
    facts += [("Classes", f"{len(stats.classes):,}")] if stats.classes else []
    total = sum(count * times for count, times in boxes.items())
    facts += [("Boxes", f"{total:,}")] if boxes else []
    splits = [f"{split.records:,} for {name}" for name, split in stats.splits.items()]
    lead = f"{records:,} records: {', '.join(splits)}." if records else "There are no good records in this dataset."
    sections = [_splits(stats)]
    if records:
        sections += [section for section in (_classes(stats), _images(stats), _boxes(stats), _texts(stats)) if section]
    return Page("data statistics", printable(stats.name), lead, facts, sections)


def _splits(stats: Stats) -> Section:
    most = max([split.records + split.bad for split in stats.splits.values()], default=0) or 1
    bars = []
    for (name, split), css in zip(stats.splits.items(), _colours(stats), strict=True):
        text = f"{split.records:,}" + (f", {split.bad:,} bad" if split.bad else "")
        bars.append(Bar(name, text, [(css, split.records / most), ("a0", split.bad / most)]))
    note = "Good records of each split" + (", bad rows in grey." if any(s.bad for s in stats.splits.values()) else ".")
    return Section("splits", "Splits", note, "Splits", bars=bars)


def _classes(stats: Stats) -> Section | None:
    totals = stats.total(lambda split: split.classes.items())
    if not totals:
        return None
    ranked = sorted([*totals.items(), *((name, 0) for name in stats.classes if name not in totals)], key=_by_number)
    most, every = ranked[0][1] or 1, sum(totals.values()) or 1
    bars = []
    for name, count in ranked[:MOST_CLASSES]:
        parts = [
            (css, split.classes[name] / most) for split, css in zip(stats.splits.values(), _colours(stats), strict=True)
        ]
        bars.append(Bar(printable(name), f"{count:,.6g} · {count / every:.1%}", parts))
    lines = []
    if len(ranked) > MOST_CLASSES:
        rest = sum(count for _, count in ranked[MOST_CLASSES:])
        lines.append(f"and {len(ranked) - MOST_CLASSES:,} more classes with {rest:,.6g} together")
    note = "What is counted are boxes." if stats.task == "detection" else "What is counted are records."
    if stats.task == "distribution":
        note = "What is counted are probabilities, summed over the records."
    legend = list(zip(_colours(stats), stats.splits, strict=True))
    return Section("classes", "Classes", note, "Classes", bars=bars, legend=legend, lines=lines)


def _images(stats: Stats) -> Section:
    sizes = stats.total(lambda split: split.sizes.items())
    pixels: Counter[int] = Counter()
    for (width, height), times in sizes.items():
        pixels[width * height] += times
    numbers = summary(pixels)
    common = ", ".join(f"{w} x {h} ({times:,})" for (w, h), times in sizes.most_common(3))
    tiles = [
        (f"{len(sizes):,}", "different sizes", f"most common: {common}"),
        (f"{numbers['median'] / 1e6:.2f}", "megapixels", "the median; one image per record is counted, its first"),
    ]
    charts = [
        Chart("Sizes", "Width against height, in pixels; larger spots are more common.", size_cloud(sizes, "Sizes")),
    ]
    several = stats.total(lambda split: split.images.items())
    if set(several) != {1}:
        charts.append(_whole_numbers("Images in a record", several))
    return Section("images", "Images", "As the rows state them, upright.", "Images", tiles=tiles, charts=charts)


def _boxes(stats: Stats) -> Section | None:
    per_record = stats.total(lambda split: split.boxes.items())
    total = sum(count * times for count, times in per_record.items())
    if not total:
        return None
    areas = stats.total(lambda split: split.box_areas.items())
    tiles = [
        (f"{areas[name] / total:.0%}", f"{name} boxes", f"{areas[name]:,} of {total:,}, {bounds}")
        for name, bounds in (("small", "below 32²"), ("medium", "from 32² to 96²"), ("large", "above 96² pixels"))
    ]
    sizes = _sum([split.box_sizes for split in stats.splits.values()])
    shapes = _sum([split.box_shapes for split in stats.splits.values()])
    edges = [at / GRID for at in range(GRID + 1)]
    grid = [_sum([split.centres[row] for split in stats.splits.values()]) for row in range(GRID)]
    charts = [
        Chart(
            "Size",
            "Square root of the share of the image that a box covers.",
            histogram(edges, sizes, None, "Sizes of boxes"),
        ),
        Chart(
            "Shape",
            "Width over height as a power of two: below 0 upright, above 0 lying.",
            histogram(RATIOS, shapes, None, "Shapes of boxes"),
        ),
        Chart("Place", "Where the centres are; the stronger the colour, the more.", heat_map(grid, "Centres of boxes")),
    ]
    if set(per_record) != {1}:
        charts.append(_whole_numbers("Boxes in a record", per_record))
    return Section("boxes", "Boxes", "", "Boxes", tiles=tiles, charts=charts)


def _texts(stats: Stats) -> Section | None:
    charts, tiles = [], []
    for name, of in (("questions", lambda s: s.questions.items()), ("rationales", lambda s: s.rationales.items())):
        tally = stats.total(of)
        if tally:
            numbers = summary(tally)
            told = f"{number(numbers['least'], 0)} to {number(numbers['most'], 0)} words, {numbers['median']:g} in the "
            tiles.append((f"{tally.total():,}", name, told + "middle"))
            charts.append(_whole_numbers(f"Words in {name}", tally))
    if not charts:
        return None
    return Section("texts", "Texts", "Questions and rationales of records.", "Texts", tiles=tiles, charts=charts)


def _whole_numbers(title: str, tally: Counter[int]) -> Chart:
    """A histogram of whole numbers: a bar for each, or for equal ranges where they are many."""
    least, most = min(tally), max(tally)
    width = max(-(-(most - least + 1) // MOST_BARS), 1)
    bars = -(-(most - least + 1) // width)
    counts = [0] * bars
    for value, times in tally.items():
        counts[(value - least) // width] += times
    edges = [least + width * at - 0.5 for at in range(bars + 1)]
    return Chart(title, "", histogram(edges, counts, None, title))


def _sum(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _colours(stats: Stats) -> list[str]:
    return [SPLIT_COLOURS[at % len(SPLIT_COLOURS)] for at in range(len(stats.splits))]


def _by_number(pair: tuple[str, float]) -> tuple[float, str]:
    return -pair[1], pair[0]
