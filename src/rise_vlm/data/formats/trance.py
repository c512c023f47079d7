"""TRANCE (TVR): a JSON file per sample with its states and transformations, and pictures before and after.

A sample is a record for each camera of its last picture: the centre is a test, left and right are ood_left and
ood_right. Question and rationale are those of the world ``moves``. Left out: states between the first and the last, and
TVR's HDF5 files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Found, Item, Options, Skip
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import list_of, object_of, read_json, text_of
from rise_vlm.errors import DataError
from rise_vlm.rewards.states import DIRECTIONS, FUNCTIONS, STEPS, Call, Thing
from rise_vlm.worlds.moves_scene import Scene

CAMERAS = {"Camera_Center": ("center", "test"), "Camera_Left": ("left", "ood_left"),
           "Camera_Right": ("right", "ood_right")}  # fmt: skip
"""The camera of the last picture -> its view and split."""


def sees(glimpse: Glimpse) -> str | None:
    """A JSON object with states and transformations."""
    return "JSON with states and transformations" if {"states", "transformations"} <= glimpse.keys else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every sample and camera."""
    images = Images.of(source, options.images)
    for path, name, _ in annotation_files(source, "trance", (".json",)):
        try:
            sample = object_of(read_json(path))
            if {"states", "transformations"} <= sample.keys():
                yield from _sample(name, sample, images)
            else:
                yield Skip("a file without states and transformations", name)
        except BadRow as bad:
            yield bad.at(name, None)
        except DataError as error:
            yield BadRow("row", str(error)).at(name, None)


def _sample(file: str, sample: dict[str, Any], images: Images) -> Iterator[Item]:
    states = [object_of(state) for state in list_of(sample["states"])]
    id_ = str(sample.get("idx", PurePosixPath(file).stem))
    if len(states) < 2:
        raise BadRow("row", f"the sample has {len(states)} states; the first and the last are needed", id_)
    initial, final = _things(states[0], id_), _things(states[-1], id_)
    steps = [object_of(step) for step in list_of(sample["transformations"])]
    calls = tuple(_call(step, id_) for step in steps)
    if any(call.object >= len(initial) for call in calls):
        raise BadRow("annotation", f"a transformation names an object beyond the {len(initial)} that there are", id_)
    before, after = object_of(states[0].get("images")), object_of(states[-1].get("images"))
    first = _image(before, "Camera_Center", images, id_)
    for camera, (view, split) in CAMERAS.items():
        if camera in after:
            scene = Scene(initial, calls, view, (0.0,) * len(initial), (0.0, 0.0, 0.0), 0)
            meta = {"options": [list_of(step.get("options")) for step in steps], "level": len(calls), "view": view}
            yield _item(file, f"{id_}-{view}", split, scene, final, first, _image(after, camera, images, id_), meta)


def _item(
    file: str, id_: str, split: str, scene: Scene, final: tuple[Thing, ...], first: Path, last: Path, meta: Any
) -> Item:
    from rise_vlm.worlds import moves  # here, since it draws

    annotation = moves.annotation(scene) | {"final": [thing.to_dict() for thing in final]}
    asked, told = moves.question(scene), moves.rationale(scene)
    images = {"more": (last,), "further": (last.name,)}
    return Item(file, None, id_, first.name, first, annotation, split, asked, rationale=told, meta=meta, **images)


def _things(state: dict[str, Any], id_: str) -> tuple[Thing, ...]:
    try:
        found = tuple(Thing.from_dict(object_of(thing)) for thing in list_of(state.get("objects")))
    except ValueError as error:
        raise BadRow("annotation", str(error), id_) from error
    if not found:
        raise BadRow("annotation", "a state has no objects", id_)
    return found


def _call(step: dict[str, Any], id_: str) -> Call:
    """A transformation as a call, with its steps. Raises BadRow."""
    function, thing, value = f"change_{text_of(step.get('attr'))}", step.get("obj_idx"), step.get("val")
    steps: Any = None
    if function == "change_position" and isinstance(value, list) and len(value) == 2:
        value, steps = value
    name = text_of(value).replace("-", "_")
    moved = function == "change_position"
    known = name in (DIRECTIONS if moved else FUNCTIONS.get(function, ())) and (steps in STEPS) is moved
    if not known or type(thing) is not int or thing < 0:
        raise BadRow("annotation", f"a transformation is none of TRANCE's: {str(step)[:120]}", id_)
    return Call(function, thing, name, steps)


def _image(named: dict[str, Any], camera: str, images: Images, id_: str) -> Path:
    """The picture that a state names for a camera; of its path the last part counts."""
    name = PurePosixPath(text_of(named.get(camera))).name
    if not name:
        raise BadRow("missing image", f"a state names no picture of {camera}", id_)
    return images.find(name, (), id_)
