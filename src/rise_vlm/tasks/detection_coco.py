"""COCO's twelve figures for detections, computed by faster-coco-eval.

Left out: masks, crowds, and a choice of thresholds; the figures are comparable because nobody chooses. Areas are those
of the boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

FIGURES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
"""In COCO's order: average precision and recall over IoU 0.50 to 0.95, the classes and up to 100 boxes an image."""

MOST = 100
"""Found boxes of a class and image that count, the first by score."""

Boxes = Sequence[Mapping[str, Any]]


def coco_figures(pairs: Sequence[tuple[Boxes, Boxes | None]], classes: Sequence[str]) -> dict[str, float]:
    """The twelve figures of (true, found) boxes per image; -1 where a figure is undefined, as in pycocotools.

    A box is ``{"label", "box", "score"?}``, in pixels; a found box without a score has 1, and boxes of equal score
    rank in the order of images and of boxes. None, an answer that could not be read, finds nothing.
    """
    truth = [(image, one) for image, (boxes, _) in enumerate(pairs, 1) for one in boxes]
    found = [(image, one) for image, (_, boxes) in enumerate(pairs, 1) for one in boxes or ()]
    numbers = {name: number for number, name in enumerate(classes, 1)}
    if not truth or not found:
        return _without_detections(truth)
    package: Any = import_module("faster_coco_eval")
    images = [{"id": number} for number in range(1, len(pairs) + 1)]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    rows = [{**_row(image, one, numbers), "id": i, "iscrowd": 0} for i, (image, one) in enumerate(truth, 1)]
    known = package.COCO({"images": images, "annotations": rows, "categories": categories}, print_function=_silent)
    scored = [{**_row(image, one, numbers), "score": float(one.get("score", 1.0))} for image, one in found]
    run = package.COCOeval_faster(known, known.loadRes(scored), "bbox", print_function=_silent)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return dict(zip(FIGURES, map(float, run.stats[:12]), strict=True))


def _row(image: int, one: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(n) for n in one["box"])
    width, height = x2 - x1, y2 - y1
    where = [x1, y1, width, height]
    return {"image_id": image, "category_id": numbers[one["label"]], "bbox": where, "area": width * height}


def _without_detections(truth: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, float]:
    """The figures where there is nothing true (all undefined) or nothing found (0 where a true box has that size)."""
    areas = [(one["box"][2] - one["box"][0]) * (one["box"][3] - one["box"][1]) for _, one in truth]
    sizes = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
    figures: dict[str, float] = {}
    for name in FIGURES:
        low, high = sizes.get(name.rpartition("_")[2], (0.0, 1e10))
        figures[name] = 0.0 if any(low <= area <= high for area in areas) else -1.0
    return figures


def _silent(*_: Any) -> None:
    """faster-coco-eval reports its steps to a print function; nobody needs them."""
