"""What Label Studio's ML backend protocol asks and gets: a labelling configuration's controls, and results for them.

A configuration names its controls as it likes; results must use those names. The picture is the first ``Image``;
boxes go to a ``RectangleLabels`` (or ``Rectangle``), a class to ``Choices``, a probability to the ``Number`` named
like its class, a count to the only ``Number``, the rationale to the ``TextArea`` named rationale, else to the first.
What has no control is left out. Source: label_studio_ml/api.py of HumanSignal/label-studio-ml-backend.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from rise_vlm.errors import DataError
from rise_vlm.tasks.base import Task, normal_name
from rise_vlm.web.answering import Answer

LONGEST_CONFIG = 1 << 18
KINDS = ("RectangleLabels", "Rectangle", "Choices", "Number", "TextArea")


@dataclass(frozen=True)
class Controls:
    """The names in a labelling configuration: of the picture, of the key of a task's data, and of controls by kind."""

    picture: str = "image"
    key: str = "image"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def first(self, kind: str) -> str | None:
        """The first control of a kind."""
        return next(iter(self.names.get(kind, ())), None)


def read_controls(config: str) -> Controls:
    """The controls for pictures of a configuration.

    Raises:
        DataError: it is no XML, declares entities, or has no Image.
    """
    if len(config) > LONGEST_CONFIG:
        raise DataError(f"the labelling configuration has more than {LONGEST_CONFIG} characters")
    if re.search(r"<!(DOCTYPE|ENTITY)", config, re.IGNORECASE):
        raise DataError("the labelling configuration declares entities, which are not read")
    try:
        root = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"the labelling configuration is no XML: {str(error)[:200]}") from None
    pictures = [each for each in root.iter("Image") if each.get("name")]
    if not pictures:
        raise DataError("the labelling configuration has no <Image name=... value=...>")
    picture = pictures[0].get("name", "")
    names: dict[str, tuple[str, ...]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for each in root.iter():
        name = each.get("name")
        if each.tag not in KINDS or not name or picture not in (each.get("toName") or "").split(","):
            continue
        names[each.tag] = (*names.get(each.tag, ()), name)
        labels[name] = tuple(
            one.get("alias") or one.get("value") or "" for one in each if one.tag in ("Label", "Choice")
        )
    key = re.sub(r"^\$", "", pictures[0].get("value") or pictures[0].get("valueList") or "$image")
    return Controls(picture, key, names, labels)


def default_controls(task: Task) -> Controls:
    """The names that ``rise data export`` writes, for a request that sends no configuration."""
    numbers = task.classes if task.name == "distribution" else ("answer",)
    names = {"RectangleLabels": ("label",), "Choices": ("class",), "Number": numbers, "TextArea": ("rationale",)}
    return Controls(names=names)


def address_of(data: Mapping[str, Any], controls: Controls) -> str:
    """The picture that a task's data names. Raises DataError where it names none."""
    for key in (controls.key, "image", "img"):
        if isinstance(data.get(key), str) and data[key]:
            return data[key]
    raise DataError(f"the task's data has no '{controls.key}'")


def results(task: Task, answer: Answer, controls: Controls) -> list[dict[str, Any]]:
    """The regions and texts of one prediction; none where the answer could not be read."""
    if answer.annotation is None:
        return []
    found = list(_answer(task, answer, controls))
    texts = controls.names.get("TextArea", ())
    where = "rationale" if "rationale" in texts else next(iter(texts), None)
    if answer.rationale and where:
        found.append(_result(answer, controls, where, "textarea", {"text": [answer.rationale]}))
    return [{"id": f"r{number}", **one} for number, one in enumerate(found)]


def _answer(task: Task, answer: Answer, controls: Controls) -> Iterator[dict[str, Any]]:
    said = answer.annotation
    choices, numbers = controls.first("Choices"), controls.names.get("Number", ())
    if task.name in ("grounding", "detection"):
        boxes = [(None, said)] if task.name == "grounding" else [(one["label"], one["box"]) for one in said]
        scores = answer.scores or [answer.confidence] * len(boxes)
        for (label, box), score in zip(boxes, scores, strict=True):
            told = {} if score is None else {"score": score}
            yield from (region | told for region in _box(answer, controls, label, box))
    elif task.name == "classification" and choices:
        yield _result(answer, controls, choices, "choices", {"choices": [_spelled(said, controls, choices)]})
    elif task.name == "distribution":
        by_name = {normal_name(name): name for name in numbers}
        for name, share in said.items():
            if normal_name(name) in by_name and share:
                yield _result(answer, controls, by_name[normal_name(name)], "number", {"number": share})
        if choices and said:
            likeliest = max(said, key=lambda name: said[name])
            yield _result(answer, controls, choices, "choices", {"choices": [_spelled(likeliest, controls, choices)]})
    elif isinstance(said, int | float) and numbers:
        yield _result(answer, controls, numbers[0], "number", {"number": said})


def _box(answer: Answer, controls: Controls, label: str | None, box: list[float]) -> Iterator[dict[str, Any]]:
    labelled, plain = controls.first("RectangleLabels"), controls.first("Rectangle")
    x1, y1, x2, y2 = box
    width, height = 100 / answer.width, 100 / answer.height
    sides = {"x": x1 * width, "y": y1 * height, "width": (x2 - x1) * width, "height": (y2 - y1) * height}
    value: dict[str, Any] = {key: round(share, 6) for key, share in sides.items()} | {"rotation": 0}
    if labelled and (label is not None or len(controls.labels.get(labelled, ())) <= 1):
        named = controls.labels.get(labelled, ())
        name = _spelled(label, controls, labelled) if label is not None else next(iter(named), "region")
        yield _result(answer, controls, labelled, "rectanglelabels", {**value, "rectanglelabels": [name]})
    elif plain:
        yield _result(answer, controls, plain, "rectangle", value)


def _spelled(name: str, controls: Controls, control: str) -> str:
    """A class as the configuration spells it, apart from case, blanks, ``_`` and ``-``; else as it is."""
    spelled = {normal_name(label): label for label in controls.labels.get(control, ())}
    return spelled.get(normal_name(name), name)


def _result(answer: Answer, controls: Controls, name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    size = {"original_width": answer.width, "original_height": answer.height, "image_rotation": 0}
    return {"from_name": name, "to_name": controls.picture, "type": kind, **size, "value": value}
