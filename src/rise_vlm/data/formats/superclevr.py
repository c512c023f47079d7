"""Super-CLEVR: a JSON file per scene, or one of all, and files of questions; of these, what a number answers is read.

Each scene gives one more question of every family of CLEVR-Math, made as the world ``blocks`` makes them: the answer
and the rationale follow from the scene, and the wording from its name. The 21 shapes go by the five kinds that they are
of. A scene of no known split (the published samples say ``new``) is a test. Left out: all other questions, parts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Found, Item, Options, Skip
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import is_number, list_of, object_of, read_json, text_of
from rise_vlm.errors import DataError
from rise_vlm.worlds.blocks_questions import FAMILIES, answer, question, reasons, sample_program
from rise_vlm.worlds.blocks_words import COLOURS, MATERIALS, SIZES, Seen

KINDS = {
    "car": ("suv", "wagon", "minivan", "sedan", "truck"),
    "bus": ("articulated", "regular", "double", "school"),
    "motorbike": ("chopper", "dirtbike", "scooter", "cruiser"),
    "aeroplane": ("jet", "fighter", "biplane", "airliner"),
    "bicycle": ("road", "utility", "mountain", "tandem"),
}
"""What our words call Super-CLEVR's shapes."""

SCENE = {"objects", "directions", "relationships", "image_filename"}

_KIND = {shape: kind for kind, shapes in KINDS.items() for shape in shapes}
_KNOWN = {"size": SIZES, "color": COLOURS, "material": MATERIALS, "shape": tuple(_KIND)}


def sees(glimpse: Glimpse) -> str | None:
    """Files of scenes as CLEVR's generator writes them, one for each picture or one of all."""
    keys = glimpse.keys_where(lambda path: path.parent.name == "scenes")
    return "JSON of scenes with objects and directions" if keys >= SCENE or {"info", "scenes"} <= keys else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every question that counts, of the files and of ours."""
    images = Images.of(source, options.images)
    for path, name, _ in annotation_files(source, "superclevr", (".json",)):
        try:
            content = object_of(read_json(path))
        except DataError as error:
            yield BadRow("row", str(error)).at(name, None)
            continue
        if content.keys() >= SCENE:
            yield from _scene(name, None, content, images)
        elif "scenes" in content:
            for row, scene in enumerate(list_of(content["scenes"]), start=1):
                yield from _scene(name, row, object_of(scene), images)
        elif "questions" in content:
            for row, asked in enumerate(list_of(content["questions"]), start=1):
                yield _released(name, row, object_of(asked), images)
        else:
            yield Skip("a file that holds neither a scene nor questions", name)


def _released(file: str, row: int, asked: dict[str, Any], images: Images) -> Found:
    number, text, image = asked.get("answer"), text_of(asked.get("question")), text_of(asked.get("image_filename"))
    if type(number) is not int:
        return Skip("a question whose answer is no number (true, false or a name)")
    if not text or not image:
        return BadRow("row", "the question has no text or no image_filename").at(file, row)
    meta = {"questions": "released", "template": text_of(asked.get("template_filename"))}
    id_ = f"{PurePosixPath(file).stem}#{row}"
    try:
        path = images.find(image, (), id_)
    except BadRow as bad:
        return bad.at(file, row)
    return Item(file, row, id_, image, path, number, _split(asked.get("split")), text, meta=meta)


def _scene(file: str, row: int | None, scene: dict[str, Any], images: Images) -> Iterator[Found]:
    """A question of every family about a scene."""
    image = text_of(scene.get("image_filename"))
    try:
        seen = [_seen(object_of(thing)) for thing in list_of(scene.get("objects"))]
        if not seen or not image:
            raise BadRow("row", "the scene has no objects or no image_filename")
        path = images.find(image, (), image)
    except BadRow as bad:
        yield bad.at(file, row)
        return
    for family in FAMILIES:
        lot = random.Random(f"superclevr {image} {family}")
        program = sample_program(lot, seen, family)
        yield Item(
            file,
            row,
            f"{PurePosixPath(image).stem}-{family}",
            image,
            path,
            answer(program, seen),
            _split(scene.get("split")),
            question(program, lot),
            rationale=reasons(program, seen, lot),
            meta={"questions": "ours", "template": program.template, "program": program.to_dict()},
        )


def _seen(thing: dict[str, Any]) -> Seen:
    """An object as words know it. Raises BadRow."""
    for key, known in _KNOWN.items():
        if thing.get(key) not in known:
            raise BadRow("row", f"an object has the {key} {thing.get(key)!r}, which is none of Super-CLEVR's"[:160])
    try:
        (across, *_), (width, _) = thing["pixel_coords"]
    except (KeyError, TypeError, ValueError):
        across, width = 0, 0  # refused below
    if not is_number(across) or not is_number(width) or width <= 0:
        raise BadRow("row", "an object has no pixel_coords [[x, y, depth], [width, height]]")
    place = "left" if across / width < 0.38 else "right" if across / width > 0.62 else "middle"
    return Seen(thing["size"], thing["color"], thing["material"], _KIND[thing["shape"]], place)


def _split(told: Any) -> str:
    return SPLIT_NAMES.get(text_of(told).casefold(), "test")
