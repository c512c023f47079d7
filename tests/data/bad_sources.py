"""Bad sources, format by format: what the tests of bad input are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
BOMB = '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
DEEP = "[" * 10_000 + "]" * 10_000
NESTED = '{"a":' * 10_000 + "1" + "}" * 10_000


def voc(*objects: str, name: str = "1.png", head: str = "") -> str:
    size = "<size><width>20</width><height>10</height></size>"
    return f"{head}<annotation><filename>{name}</filename>{size}{''.join(objects)}</annotation>"


def coco(**changes: Any) -> str:
    image = {"id": 1, "file_name": "1.png", "width": 20, "height": 10} | changes.pop("image", {})
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]} | changes.pop("box", {})]
    return json.dumps({"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]} | changes)


def studio(value: Any = None, image: Any = "1.png", **result: Any) -> str:
    value = {"x": 5, "y": 10, "width": 50, "height": 50, "rectanglelabels": ["cat"]} if value is None else value
    result = {"type": "rectanglelabels", "value": value, "original_width": 20, "original_height": 10} | result
    return json.dumps([{"data": {"image": image}, "annotations": [{"result": [result]}]}])


def cvat(inner: str, name: str = "1.png", head: str = "") -> str:
    return f'{head}<annotations><image id="0" name="{name}" width="20" height="10">{inner}</image></annotations>'


def labelme(**changes: Any) -> str:
    shape = {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"} | changes.pop("shape", {})
    whole = {"shapes": [shape], "imagePath": "1.png", "imageWidth": 20, "imageHeight": 10}
    return json.dumps(whole | changes)


def swift(**changes: Any) -> str:
    told = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "<bbox>"}]
    objects = {"ref": ["cat"], "bbox": [[1, 1, 5, 5]]} | changes.pop("objects", {})
    return json.dumps({"messages": told, "images": ["1.png"], "objects": objects} | changes)


def talk(answer: Any = "[1, 1, 5, 5]", **changes: Any) -> str:
    told = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": answer}]
    return json.dumps([{"messages": told, "images": ["1.png"]} | changes])


def rft(**changes: Any) -> str:
    return json.dumps([{"image": "1.png", "problem": "?", "solution": "[1, 1, 5, 5]"} | changes])


def seg(**changes: Any) -> str:
    shape = {"label": "target", "points": [[1, 1], [5, 5], [1, 5]]} | changes.pop("shape", {})
    return json.dumps({"text": ["?"], "shapes": [shape]} | changes)


def clevr(**changes: Any) -> str:
    thing = {"size": "small", "color": "red", "material": "metal", "shape": "suv", "pixel_coords": [[1, 1], [8, 8]]}
    scene = {"directions": {}, "relationships": {}, "image_filename": "1.png"}
    return json.dumps(scene | {"objects": [thing | changes]})


def one(box: Any = (0.1, 0.1, 0.5, 0.5), **changes: Any) -> str:
    truth = {"_cls": "Detections", "detections": [{"_cls": "Detection", "label": "cat", "bounding_box": box}]}
    return json.dumps({"samples": [{"filepath": "1.png", "truth": truth} | changes]})


def listed(**changes: Any) -> str:
    return json.dumps({"file_name": "1.png", "objects": {"bbox": [[1, 1, 5, 5]], "category": ["cat"]}} | changes)


IMAGES_CSV = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"
EMOTION = "1.png\t2\t3\t{}\t0.5\t0\t0\t0\t0\t0\n"
BOXES_CSV = "image,label,xmin,ymin,xmax,ymax\n"


@dataclass
class Case:
    """Files of a bad source, and a part of what is said about it. ``whole``: the whole import is refused."""

    format: str
    files: dict[str, str | bytes]
    said: str
    whole: bool = False
    task: str = "detection"


Rows = dict[str, tuple[str | bytes, str]]


def each(format: str, file: str, rows: Rows, *, task: str = "detection", whole: bool = False) -> dict[str, Case]:
    """A case for every (content of the file, what is said), by name."""
    return {
        f"{format} {task}: {name}": Case(format, {file: content}, said, whole, task)
        for name, (content, said) in rows.items()
    }


GOOD = {
    "voc": ("9.xml", voc(BOX.format("cat", 1, 1, 5, 5), BOX.format("dog", 1, 1, 6, 6), name="9.png")),
    "yolo": ("labels/9.txt", "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.4 0.4"),
    "labelme": ("9.json", labelme(imagePath="9.png")),
    "reasonseg": ("9.json", seg()),
}
