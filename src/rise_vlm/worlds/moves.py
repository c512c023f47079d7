"""moves: two pictures of ten things, before and after; which functions turn the first into the second?

Stands for TRANCE. The first picture is taken from the centre; the second too in train, val and test, but from the left
in `ood_left` and from the right in `ood_right` (TRANCE-L and -R). Scenes and rules are in `moves_scene`, the simulator
in `rewards.states`, the drawing is that of blocks. Left out: TVR's basic and event settings.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.rewards.states import UNIT, Call
from rise_vlm.worlds.blocks_solids import Part, View
from rise_vlm.worlds.blocks_things import solid
from rise_vlm.worlds.blocks_words import (
    PLACES,
    Description,
    Seen,
    article,
    caption,
    phrase,
    stated_in,
    true_of,
    where,
)
from rise_vlm.worlds.moves_scene import SPLITS, Scene, State, Thing, camera, options, sample_scene
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "NAME", "QUESTION", "SPLITS", "TASK", "Scene", "annotation", "describe", "draw", "floors", "functions",
    "listed", "looks", "make", "options", "pictures", "question", "rationale", "sample_scene", "seen", "stated_facts",
    "table", "true_facts",
]  # fmt: skip

NAME = "moves"
TASK = "transformation"
CLASSES: tuple[str, ...] = ()
QUESTION: str | None = None
DERIVED = ("count",)
"""Facts that reasons work out as well as see (`stages.facts.untrue`)."""

PAIRS = {"ood_left": "test", "ood_right": "test"}
"""Splits that show the scenes of another one, from elsewhere."""

WAYS = {
    "front": "away from the viewer", "behind": "towards the viewer", "left": "to the left", "right": "to the right",
    "front_left": "away from the viewer and to the left", "front_right": "away from the viewer and to the right",
    "behind_left": "towards the viewer and to the left", "behind_right": "towards the viewer and to the right",
}  # fmt: skip


def picture(state: State, scene: Scene, view: str, size: int = 336, supersample: int = 2) -> Image.Image:
    """A state of the scene as one of the three cameras sees it, `size` x `size` RGB."""
    canvas = View(camera(view, scene.shift), size * supersample)
    canvas.paint(parts(state, scene), square=True, shine=1.16)
    return canvas.image(size)


def parts(state: State, scene: Scene) -> list[Part]:
    """The parts of the things in sight; `owner` is the index of the thing."""
    built: list[Part] = []
    for owner, (thing, turn) in enumerate(zip(state, scene.turns, strict=True)):
        if thing.visible:
            at = (thing.x * UNIT, thing.y * UNIT)
            built += solid(thing.shape, thing.radius, at, turn, thing.color, thing.material, owner)
    return built


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The first picture; the same scene gives the same picture."""
    return picture(scene.initial, scene, "center", size, supersample)


def pictures(scene: Scene, size: int = 336, supersample: int = 2) -> tuple[Image.Image, Image.Image]:
    """The first picture and the second."""
    return draw(scene, size, supersample), picture(scene.final, scene, scene.view, size, supersample)


def seen(state: State, scene: Scene, view: str = "center") -> list[Seen]:
    """The things in sight as words know them."""
    return [Seen(*looks(thing), _place(thing, scene, view)) for thing in state if thing.visible]


def _place(thing: Thing, scene: Scene, view: str) -> str:
    u = camera(view, scene.shift).project(thing.x * UNIT, thing.y * UNIT, 0.3)[0]
    return "left" if u < 0.38 else "right" if u > 0.62 else "middle"


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of the first picture, without digits and without a word on what changes."""
    return caption(seen(scene.initial, scene), ("cube", "sphere", "cylinder"), rng, facts)


def true_facts(scene: Scene) -> frozenset[str]:
    """All that may be said of one of the pictures, or of the scene between two functions."""
    facts = frozenset[str]().union(*(true_of(seen(state, scene)) for state in scene.states()))
    return facts | true_of(seen(scene.final, scene, scene.view))


def stated_facts(text: str) -> frozenset[str]:
    """The facts a text states, such as `exists=small red glass cube`; see `blocks_words`."""
    return stated_in(text)


def functions(scene: Scene) -> str:
    """The answer in Reason-RFT's grammar, which names no steps."""
    return ", ".join(str(call._replace(steps=None)) for call in scene.calls)


def annotation(scene: Scene) -> dict[str, Any]:
    """The answer with both states, so that final states can be compared."""
    return {"functions": functions(scene), "objects": [thing.to_dict() for thing in scene.initial],
            "final": [thing.to_dict() for thing in scene.final]}  # fmt: skip


def question(scene: Scene) -> str:
    """All ten things with their numbers, and what is asked."""
    things = table(map(looks, scene.initial))
    return f"{things}\nWhich functions turn the scene of the first picture into that of the second?"


def table(things: Iterable[Description]) -> str:
    """The looks and numbers of things, as questions begin with them. A number stands behind the looks: what is seen is
    found in the table, and its number comes next.
    """
    listed = ", ".join(f"{phrase(one)} ({number})" for number, one in enumerate(things))
    return f"Objects before the change and their numbers, some out of sight: {listed}."


def rationale(scene: Scene) -> str:
    """What is in either picture, from left to right and with its number in the table, and what differs, thing by thing;
    right by construction.
    """
    rng = random.Random(f"reasons {scene.seed}")
    begin = {"center": "Both pictures are taken from the same place."}.get(
        scene.view, f"The second picture is taken from the {scene.view}, so places look turned."
    )
    text = [begin]
    for which, state, view in (("first", scene.initial, "center"), ("second", scene.final, scene.view)):
        form = rng.choice(("In the {which} picture I see {listed}.", "The {which} picture shows {listed}."))
        text.append(form.format(which=which, listed=listed(scene, state, view)))
    for index in dict.fromkeys(call.object for call in scene.calls):
        mine = [call for call in scene.calls if call.object == index]
        text.append(_changes(scene, index, mine, rng))
    return " ".join(text)


def listed(scene: Scene, state: State, view: str = "center") -> str:
    """What is in sight, from left to right and at one place by name; each with the number of what the table has that
    looks so, if there is one.
    """
    numbers: dict[Description, int] = {}
    for number, thing in enumerate(scene.initial):
        numbers.setdefault(looks(thing), number)
    told: list[tuple[int, str]] = []
    for number, thing in enumerate(state):
        if thing.visible:
            own = number if looks(scene.initial[number]) == looks(thing) else numbers.get(looks(thing))
            name, place = phrase(looks(thing)), _place(thing, scene, view)
            known = "" if own is None else f" ({own})"
            told.append((PLACES.index(place), f"{article(name)} {name}{known} {where(place)}"))
    return ", ".join(text for _, text in sorted(told)) or "nothing"


def looks(thing: Thing) -> Description:
    """As words have them."""
    return thing.size, thing.color, thing.material, thing.shape


def _changes(scene: Scene, index: int, calls: list[Call], rng: random.Random) -> str:
    """What became of one thing, called by its looks and its number."""
    thing, last = scene.initial[index], scene.final[index]
    start = f"The {phrase(looks(thing))} ({index})"
    start += "" if thing.visible else " is out of sight in the first picture"
    told: list[str] = []
    for call in calls:
        if call.function != "change_position":
            kind = call.function.removeprefix("change_")
            told.append(rng.choice((f"its {kind} is {call.value} now", f"its {kind} has become {call.value}")))
        elif not last.visible:
            told.append(rng.choice(("it is gone, moved out of sight", "it has left the picture")) + f" {_way(call)}")
        elif not thing.visible:
            told.append(f"it has come in {_way(call)}")
        else:
            told.append(rng.choice(("it has moved", "it stands further")) + f" {_way(call)}")
    joined = " and ".join(told) if len(told) < 3 else ", ".join(told[:-1]) + " and " + told[-1]
    return f"{start}: {rng.choice(('in the second picture', 'afterwards', 'then'))} {joined}."


def _way(call: Call) -> str:
    return WAYS[call.value]


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Mean partial credit of: `majority`, the most frequent training answer; `other`, the answer to another record."""
    from rise_vlm.tasks.transformation import Transformation  # here, so that drawing needs no task

    if not train or not asked:
        return {}
    score, known = Transformation().score, [functions(scene) for scene in train]
    truths = [annotation(scene) for scene in asked]
    common = Counter(known).most_common(1)[0][0]
    majority = [score(truth, common) for truth in truths]
    other = [score(truth, known[i % len(known)]) for i, truth in enumerate(truths)]
    return {"majority": sum(majority) / len(asked), "other": sum(other) / len(asked)}


def _entry(scene: Scene) -> dict[str, Any]:
    first, second = pictures(scene)
    return {
        "image": first,
        "more": (second,),
        "annotation": annotation(scene),
        "question": question(scene),
        "rationale": rationale(scene),
        "meta": {
            "scene": scene.to_dict(),
            "options": options(scene),
            "level": len(scene.calls),
            "view": scene.view,
        },
    }


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test, ood_left and ood_right (`test` records each of the last three);
    every record has two pictures and a rationale. The three tests hold the same scenes, so that they differ in the view
    alone and can be compared record by record.

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the counts,
    and `floors` and `best` for the test split and, under `ood_left` and `ood_right`, for the others.
    """
    sizes = {"train": train, "val": val, "test": test, "ood_left": test, "ood_right": test}
    drawn = write_world(out, NAME, TASK, sizes, sample_scene, _entry, seed=seed, force=force, pairs=PAIRS)
    return measured(drawn, floors)
