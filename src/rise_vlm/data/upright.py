"""The boxes of a source in pixels of the upright picture, be they in shares of it, or told of the stored one.

EXIF turns many photos, and not every annotator's program saw them turned. Left out: guessing where nothing tells.
"""

from __future__ import annotations

from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Item, Options
from rise_vlm.data.images import ImageSize, turn_box


def upright(item: Item, size: ImageSize, options: Options) -> Any:
    """The annotation of an item, whose image has that size, with every box in pixels of the upright picture."""
    annotation = item.annotation
    if not annotation:
        return annotation

    def place(box: list[float]) -> list[float]:
        if item.unit is not None:
            stored = size.stored_width, size.stored_height
            width, height = item.stated_size or (stored if options.boxes == "stored" else size.upright)
            scale = width / item.unit, height / item.unit
            box = [box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]]
        return upright_box(box, item.stated_size, size, options.boxes)

    if options.task == "detection":
        return [thing | {"box": place(thing["box"])} for thing in annotation]
    return place(annotation)


def upright_box(box: list[float], stated: tuple[int, int] | None, size: ImageSize, rule: str) -> list[float]:
    """``box`` in the frame of the upright picture.

    ``rule`` says in which frame it is: ``upright``, ``stored``, or ``auto``: the one whose size the annotation states.
    Raises BadRow where the stated size is neither, or where a turned photo has nothing that tells the two apart.
    """
    stored, upright = (size.stored_width, size.stored_height), size.upright
    if stated is not None and stated not in (stored, upright):
        told = f"{stated[0]} x {stated[1]}, but the image has {upright[0]} x {upright[1]}"
        raise BadRow("annotation", f"the annotation is for an image of {told}")
    if size.orientation == 1:
        return box
    if rule == "auto":
        if stated is None or stored == upright:
            raise BadRow(
                "annotation",
                f"EXIF turns the photo (orientation {size.orientation}) and the stated size does not tell whether the "
                "box is for the upright or the stored picture; say so with --boxes upright or --boxes stored",
            )
        rule = "upright" if stated == upright else "stored"
    return turn_box(box, size) if rule == "stored" else box
