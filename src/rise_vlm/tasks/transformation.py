"""Spatial transformation (TRANCE): which functions turn the scene of the first picture into that of the second?

The answer is ``change_color(2, cyan), change_position(2, behind)``. The annotation is such a text (or a list of such),
or ``{"functions": text, "objects": [...], "final": [...]}`` with both states in TRANCE's form, which lets final states
be compared. A move may name its steps as a third argument; Reason-RFT's grammar does not. Left out: reasons for an
order.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from rise_vlm.errors import UserError, nearest
from rise_vlm.rewards.sequences import WORST, exact_credit, official_credit, partial_credit, penalty_credit
from rise_vlm.rewards.states import FUNCTIONS, STEPS, Call, Scene, Thing, least_difference, outcomes
from rise_vlm.tasks.base import Frame, Parsed, Task, known_score
from rise_vlm.tasks.drawing import draw_captions, shown
from rise_vlm.tasks.leak import visible
from rise_vlm.tasks.transformation_ways import as_true

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

NEEDS_STATES = "the score 'simulated' needs annotations with 'objects' and 'final', the two states"

MOST_CALLS = 32
"""A longer answer is not read; true ones have at most four calls."""

_CREDITS: dict[str, Callable[..., float]] = {
    "partial": partial_credit, "official": official_credit, "exact": exact_credit, "penalty": penalty_credit,
}  # fmt: skip
SCORES = (*_CREDITS, "simulated")
BY_SIGHT = ("partial", "exact")
"""Scores for which a move is right if the pictures cannot tell it from the true one."""
_CALL = re.compile(
    r"(?:(?:[0-9]{1,2}[.)]|[-*])\s+)?"  # of a list
    r"(\w{1,40})\s*\(\s*['\"]?([0-9]{1,4})['\"]?\s*,"
    r"\s*['\"]?(\w{1,20}(?:[ -]\w{1,20})?)['\"]?\s*(?:,\s*([0-9]{1,4})\s*)?\)"
)
_JOINT = re.compile(r"\s*(?:[,;\n]|->)\s*(?:and\s+)?|\s+(?:and\s+)?|$")
_WRAPPED = re.compile(r"```(?:\w{1,20}(?=\n))?(.*)```|\[(.*)\]|`(.*)`", re.DOTALL)
"""All of an answer in a fence, in brackets or as code."""
_TELLING = re.compile(r"\bchange[ _]?(?:size|colou?r|material|shape|position)|\b\w+\s*\(\s*[0-9]+\s*,", re.IGNORECASE)
_LISTED = re.compile(
    r"\(\s*['\"]?([0-9]{1,4})['\"]?\s*,\s*['\"]?(?:cube|sphere|cylinder)\b|\b(?:cube|sphere|cylinder) \(([0-9]{1,4})\)",
    re.IGNORECASE,
)
"""A row of the table of objects in a question: ``(0, cube, ...``, ``('0', 'cube', ...`` or ``red cube (0)``."""
_LIST = "; ".join(f"{name}(object, {'|'.join(values)})" for name, values in FUNCTIONS.items())


class Transformation(Task):
    """Scores: ``partial`` (ours): partial credit by the best assignment; ``official``: the greedy one of the code;
    ``exact``: equal calls only, what its scripts train with; ``penalty``: near misses cost, down to -0.5, which is what
    an answer that cannot be read gets too; ``simulated``: 1 where the calls, carried out in order without a collision,
    end in the true state. Where an annotation holds the states, ``partial`` and ``exact`` take any way into sight or
    out of it for the true one.

    The formulas are the code's, the reading is not: it picks calls out of any text and counts those of unknown names as
    wrong ones, here a text that holds anything else is no answer (0). Its evaluation lowers nothing for calls said
    twice; all scores here do, as its rewards.
    """

    name = "transformation"
    sees_image = False
    form = "function(object, value), ..."
    default_question = "Which functions turn the scene of the first picture into that of the second?"
    forbid = "Do not write functions."
    lower_is_better = frozenset({"difference", "normalised_difference"})

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: str = "partial",
    ) -> None:
        super().__init__(classes, question, synonyms)
        self.kind = known_score(score, SCORES, self.name)

    def statement(self, record: Record, frame: Frame) -> str:
        """The question, the functions, and what directions mean: as the first picture shows them, but ``front`` is away
        from the viewer (TRANCE's axes).
        """
        ways = "Left and right are those of the first picture, front is away from the viewer, behind is nearer."
        return f"{self.ask(record)}\nFunctions: {_LIST}.\n{ways}\nGive the functions in order."

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        return write(calls_of(annotation))

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """Calls and nothing else, joined by commas, semicolons, arrows, blanks or "and", maybe in brackets or a code
        fence, a full stop behind -> the canonical text.
        """
        try:
            calls = read_calls(text)
        except ValueError as error:
            return Parsed(None, str(error))
        there = _objects_there(record)
        for call in calls:
            if there and call.object not in there:
                return Parsed(None, f"object {call.object} does not exist, there are {min(there)} to {max(there)}")
        return Parsed(write(calls), None)

    def score(self, annotation: Any, value: Any | None) -> float:
        if value is None:
            return WORST if self.kind == "penalty" else 0.0
        if self.kind == "simulated":
            state = self._states(annotation)
            if state is None:
                raise UserError(NEEDS_STATES)
            return float(self._reached(state, value, ordered=True))
        return self._credit(self.kind, annotation, value)

    def _credit(self, kind: str, annotation: Any, value: Any) -> float:
        truth, guess = calls_of(annotation), calls_of(value)
        states = self._states(annotation) if kind in BY_SIGHT else None
        said = guess if states is None else as_true(truth, guess, *states)
        return _CREDITS[kind]([c[:3] for c in truth], [c[:3] for c in said])

    @staticmethod
    def _states(annotation: Any) -> tuple[Scene, Scene] | None:
        before, after = objects_of(annotation, "objects"), objects_of(annotation, "final")
        return None if before is None or after is None else (before, after)

    @staticmethod
    def _reached(states: tuple[Scene, Scene], value: Any | None, ordered: bool) -> bool:
        if value is None:
            return False
        calls = calls_of(value)
        return any(outcomes(states[0], calls, ordered)) and least_difference(*states, calls, ordered) == 0

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``partial``: mean partial credit; ``exact_set``: the very set of calls. Where annotations hold the states:
        ``final_state``: carried out in order they end in the true state; ``final_loose``: the order aside;
        ``difference``: attributes that differ from it (TVR's AD; an unread answer changes nothing);
        ``normalised_difference``: the same over how many differ at the start: 1 is as if nothing was done (TVR's
        AND; what it divides by is our reading).
        """
        metrics = self.mean_score(pairs)
        read = [(truth, value) for truth, value in pairs if value is not None]
        metrics["partial"] = sum(self._credit("partial", truth, value) for truth, value in read) / len(pairs)
        metrics["exact_set"] = sum(self._credit("exact", t, v) >= 1 - 1e-9 for t, v in read) / len(pairs)
        known = [(states, value) for truth, value in pairs if (states := self._states(truth)) is not None]
        if len(known) == len(pairs):
            for name, ordered in (("final_state", True), ("final_loose", False)):
                metrics[name] = sum(self._reached(states, value, ordered) for states, value in known) / len(pairs)
            differing = [least_difference(*s, None if v is None else calls_of(v)) for s, v in known]
            before = [max(1, least_difference(*s, None)) for s, _ in known]
            metrics["difference"] = sum(differing) / len(pairs)
            shares = [one / whole for one, whole in zip(differing, before, strict=True)]
            metrics["normalised_difference"] = sum(shares) / len(pairs)
        return metrics

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``majority``: always the most frequent answer of ``train``; ``random``: another one of its answers (mean
        scores over at most 50 of them).
        """
        known = [write(calls_of(a)) for a in (annotations if train is None else train)]
        if not annotations or not known:
            raise UserError("there are no answers to measure: the split is empty")
        majority = Counter(known).most_common(1)[0][0]
        drawn = known[:: max(1, len(known) // 50)][:50]
        random = [self.score(truth, value) for truth in annotations for value in drawn]
        score = self.mean_score([(truth, majority) for truth in annotations])["score"]
        return {"majority": score, "random": sum(random) / len(random)}

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, and a function's name or anything of the form ``name(2, ...``."""
        found = _TELLING.search(visible(rationale))
        own = [f"writes a function ('{found.group()}')"] if found else []
        return [*super().leaks(rationale, record, frame, prompt), *own]

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image above a strip with one line per answer."""
        texts = [(label, None if value is None else write(calls_of(value)), colour) for label, value, colour in answers]
        return draw_captions(image, [(f"{label}: {shown(text)}", colour) for label, text, colour in texts])

    def check(self, annotation: Any, record: Record) -> str | None:
        try:
            calls = calls_of(annotation)
            before, after = objects_of(annotation, "objects"), objects_of(annotation, "final")
        except ValueError as error:
            return f"annotation: {error}"
        if len(record.images) != 2:
            return f"images: a transformation has two, before and after; this record has {len(record.images)}"
        if (before is None) != (after is None) or len(before or ()) != len(after or ()):
            return "annotation: 'objects' and 'final' must both be there and hold the same objects, or neither"
        if before is None and self.kind == "simulated":
            return NEEDS_STATES
        if before is not None and after is not None:
            if any(call.object >= len(before) for call in calls):
                return f"annotation: a function names an object beyond the {len(before)} that there are"
            if least_difference(before, after, calls) != 0:
                return "annotation: the functions do not lead from 'objects' to 'final'"
        return None


def read_calls(text: str) -> tuple[Call, ...]:
    """The calls of a text that holds nothing else. Raises ValueError saying why there are none."""
    text = _stripped(text)
    if not text:
        raise ValueError("the answer is empty")
    calls: list[Call] = []
    at = 0
    while at < len(text):
        match = _CALL.match(text, at)
        joint = _JOINT.match(text, match.end()) if match else None
        if match is None or joint is None or (joint.end() == len(text) and joint.group()):
            raise ValueError(f"'{text[at : at + 40]}' is not a function such as change_color(2, cyan)")
        calls.append(_known(*match.groups()))
        if len(calls) > MOST_CALLS:
            raise ValueError(f"the answer has more than {MOST_CALLS} functions")
        at = joint.end()
    return tuple(calls)


def _stripped(text: str) -> str:
    """Without a full stop behind it and what wraps it."""
    text = text.strip()
    text = text[:-1].rstrip() if text[-1:] in (".", ";") else text
    wrapped = _WRAPPED.fullmatch(text)
    return next(part for part in wrapped.groups() if part is not None).strip() if wrapped else text


def _known(function: str, thing: str, value: str, steps: str | None) -> Call:
    function, value = function.casefold(), re.sub("[ -]", "_", value.casefold())
    if function not in FUNCTIONS:
        raise ValueError(f"there is no function '{function}'.{nearest(function, FUNCTIONS)}".removesuffix("."))
    value = "gray" if value == "grey" else value
    if value not in FUNCTIONS[function]:
        raise ValueError(f"{function} has no value '{value}'; it has {', '.join(FUNCTIONS[function])}")
    if steps is not None and (function != "change_position" or int(steps) not in STEPS):
        raise ValueError(f"'{steps}' is no number of steps: change_position alone takes 1 or 2")
    return Call(function, int(thing), value, None if steps is None else int(steps))


def _objects_there(record: Record) -> frozenset[int]:
    """The numbers of a record's objects: of its states, else those that its question lists or its truth names (whether
    released tables list what moves into sight is not known); empty where it lists none, so that nobody knows.
    """
    states = objects_of(record.annotation, "objects")
    if states is not None:
        return frozenset(range(len(states)))
    listed = frozenset(int(row[1] or row[2]) for row in _LISTED.finditer(record.question or ""))
    return listed | {call.object for call in calls_of(record.annotation)} if listed and record.annotation else listed


def write(calls: Sequence[Call]) -> str:
    """The canonical text of calls."""
    return ", ".join(str(call) for call in calls)


def calls_of(answer: Any) -> tuple[Call, ...]:
    """The calls of an annotation or a value. Raises ValueError."""
    if isinstance(answer, Mapping):
        answer = cast("Mapping[str, Any]", answer).get("functions")
    if isinstance(answer, list | tuple) and all(isinstance(one, str) for one in cast("Sequence[Any]", answer)):
        answer = ", ".join(cast("Sequence[str]", answer))
    if not isinstance(answer, str):
        raise ValueError("it must be functions as text, or an object with the key 'functions'")
    return _cached_calls(answer)


_cached_calls = lru_cache(maxsize=65536)(read_calls)


def objects_of(annotation: Any, key: str) -> Scene | None:
    """The state ``objects`` or ``final`` of an annotation, None where it has none. Raises ValueError."""
    found = cast("Mapping[str, Any]", annotation).get(key) if isinstance(annotation, Mapping) else None
    if found is None:
        return None
    if not isinstance(found, list | tuple):
        raise ValueError(f"'{key}' must be a list of objects")
    return _cached_scene(json.dumps(found, sort_keys=True))


@lru_cache(maxsize=8192)
def _cached_scene(text: str) -> Scene:
    return tuple(Thing.from_dict(values) for values in json.loads(text))
