"""figures: plane geometry drawn to scale with its measures; a number or the letter of a choice answers the question.

Stands for GeoMath, and out of domain for Geometry3K: `ood` is drawn like a textbook, has families of figures that are
new, and asks for an x in algebraic labels. Figures are in `figures_families`, their drawing in `figures_draw`, captions
in `figures_words`. Left out: real diagrams, proofs, solids.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.rewards.numbers import tolerant_number
from rise_vlm.worlds.figures_draw import TINTS, draw_plan
from rise_vlm.worlds.figures_families import KNOWN
from rise_vlm.worlds.figures_new import NEW
from rise_vlm.worlds.figures_plan import Plan, number
from rise_vlm.worlds.figures_words import caption, reworded, stated_in, true_of
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "FAMILIES", "NAME", "QUESTION", "SPLITS", "TASK", "Scene", "annotation", "describe", "draw", "floors",
    "make", "plan", "question", "rationale", "sample_scene", "stated_facts", "true_facts",
]  # fmt: skip

NAME = "figures"
TASK = "structure"
CLASSES: tuple[str, ...] = ()
QUESTION: str | None = None
DERIVED = ("angle", "side", "right", "equal")
"""Facts that reasons work out as well as see (`stages.facts.untrue`)."""
SPLITS = ("train", "val", "test", "ood", "any")
FAMILIES = KNOWN | NEW
STYLES = ("clean", "textbook")
TRIES = 300
"""Figures that are tried in search of four with different answers; a length with algebra often has no four."""

_NAMES = tuple("ABCDEFGHJKLMNPQRSTUVWYZ")
"""Letters for points: not I, O (the centre of circles) and X (the unknown)."""


@dataclass(frozen=True)
class Scene:
    """`values` and `names` make the figure of a `family`; `algebra` (a, b, x) writes a x + b on what is asked;
    `choices` are empty where a number is asked for.
    """

    style: str
    family: str
    values: tuple[tuple[str, int], ...]
    names: str
    algebra: tuple[int, int, int] | None
    choices: tuple[str, ...]
    turn: float
    flip: bool
    tint: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "values": dict(self.values), "choices": list(self.choices),
                "algebra": None if self.algebra is None else list(self.algebra)}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        algebra = values["algebra"]
        return cls(**{**values, "values": tuple(values["values"].items()), "choices": tuple(values["choices"]),
                      "algebra": None if algebra is None else (algebra[0], algebra[1], algebra[2])})  # fmt: skip


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: train, val and test are clean figures of known families; `ood` textbook figures, of new
    families or of known ones with algebraic labels; `any` all of it (for perception only).
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    style = {"ood": "textbook", "any": rng.choice(STYLES)}.get(split, "clean")
    fresh = style == "textbook" and rng.random() < 0.6
    family = rng.choice(tuple(NEW if fresh else KNOWN))
    values = FAMILIES[family].pick(rng)
    letters = FAMILIES[family].letters
    start = rng.randrange(len(_NAMES) - letters + 1)
    names = "".join(_NAMES[start : start + letters]) if rng.random() < 0.7 else "".join(rng.sample(_NAMES, letters))
    turn, flip = round(rng.uniform(-28, 28), 1), rng.random() < 0.5
    scene = Scene(style, family, tuple(values.items()), names, None, (), turn, flip, rng.randrange(len(TINTS)),
                  rng.randrange(1 << 30))  # fmt: skip
    built = plan(scene)
    if style == "textbook" and built.asked is not None and (not fresh or rng.random() < 0.5):
        scene = replace(scene, algebra=_algebra(rng, round(built.answer)))
    return _with_choices(scene, rng) if rng.random() < 0.5 else scene


def _with_choices(scene: Scene, rng: random.Random) -> Scene:
    """One of four scenes that ask the same of figures with other numbers, their answers for choices, from small to
    large. Each is as likely as the others, so the text alone tells nothing. Without choices where no four are found.
    """
    alike = {plan(scene).answer: scene}
    for _ in range(TRIES):
        other = _alike(scene, FAMILIES[scene.family].pick(rng))
        if other is not None:
            alike.setdefault(plan(other).answer, other)
        if len(alike) == 4:
            return replace(rng.choice(list(alike.values())), choices=tuple(number(found) for found in sorted(alike)))
    return scene


def _alike(scene: Scene, values: dict[str, int]) -> Scene | None:
    """The scene with other numbers, its label as it is; None where that asks for anything else, or no whole x fits."""
    other = replace(scene, values=tuple(values.items()))
    if scene.algebra is not None:
        a, b, _ = scene.algebra
        x, rest = divmod(round(plan(replace(other, algebra=None)).answer) - b, a)
        if rest or x < 2:
            return None
        other = replace(other, algebra=(a, b, x))
    return other if plan(other).question == plan(scene).question else None


def _algebra(rng: random.Random, value: int) -> tuple[int, int, int]:
    """a, b and x with a x + b = value."""
    while True:
        a, x = rng.randint(2, 5), rng.randint(2, 24)
        b = value - a * x
        if b and abs(b) <= 30:
            return a, b, x


def plan(scene: Scene) -> Plan:
    """The scene's figure, with what is asked, the true answer and the reasons."""
    built = FAMILIES[scene.family].build(dict(scene.values), scene.names)
    if scene.algebra is None or built.asked is None:
        return built
    a, b, x = scene.algebra
    label = f"{a}x {'+' if b > 0 else '-'} {abs(b)}"
    text = f"({label})°" if built.asked.kind == "angle" else label
    built.reasons += (f" It is written as {label}, so {a}x = {number(built.answer)} {'-' if b > 0 else '+'} {abs(b)} = "
                      f"{a * x} and x is {x}.")  # fmt: skip
    built.asked = replace(built.asked, text=text)
    kind, _, name = built.asked.fact.partition(".")
    built.question = f"{kind.capitalize()} {name} is {label}. Find x."
    built.answer = x
    return built


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture, `size` x `size` RGB; the same scene gives the same picture."""
    return draw_plan(plan(scene), scene.style, scene.turn, scene.flip, scene.tint, size, supersample)


def question(scene: Scene) -> str:
    """What is asked, with the choices where there are any."""
    asked = plan(scene).question
    if not scene.choices:
        return asked
    listed = " ".join(f"{letter}. {text}" for letter, text in zip("ABCD", scene.choices, strict=True))
    return f"{asked} Choices: {listed}"


def annotation(scene: Scene) -> str | int | float:
    """The letter of the right choice, or the number."""
    answer = plan(scene).answer
    if scene.choices:
        return "ABCD"[scene.choices.index(number(answer))]
    return int(answer) if answer == int(answer) else answer


def rationale(scene: Scene) -> str:
    """Reasons that end in the answer, right by construction."""
    rng = random.Random(f"reasons {scene.seed}")
    built = plan(scene)
    begin = rng.choice(("The picture shows a {x}.", "I see a {x}.", "This is a {x}.")).replace("{x}", built.shape)
    end = f" That is choice {annotation(scene)}." if scene.choices else ""
    return f"{begin} {reworded(built.reasons, rng)}{end}"


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of what is drawn and written, with digits as they are written; nothing that is asked."""
    return caption(plan(scene), rng, facts)


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find; see `figures_words`."""
    return true_of(plan(scene))


def stated_facts(text: str) -> frozenset[str]:
    """The facts a text states, such as `shape=triangle`, `angle.C=80`."""
    return stated_in(text)


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Mean score of: `majority`, the most frequent training letter or number, whichever is asked for; `choice`, a
    random letter where there are choices, else nothing.
    """
    if not train or not asked:
        return {}
    letters = Counter(annotation(scene) for scene in train if scene.choices)
    numbers = Counter(annotation(scene) for scene in train if not scene.choices)
    total = 0.0
    for scene in asked:
        known = letters if scene.choices else numbers
        guess, truth = known.most_common(1)[0][0] if known else None, annotation(scene)
        if isinstance(guess, str) or isinstance(truth, str):
            total += guess == truth
        elif guess is not None:
            total += tolerant_number(truth, guess)
    chosen = sum(bool(scene.choices) for scene in asked) / 4
    return {"majority": total / len(asked), "choice": chosen / len(asked)}


def _entry(scene: Scene) -> dict[str, Any]:
    return {
        "image": draw(scene),
        "annotation": annotation(scene),
        "question": question(scene),
        "rationale": rationale(scene),
        "meta": {"scene": scene.to_dict(), "family": scene.family},
    }


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood (`test` records each of the last two), every record
    with a rationale.

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the counts,
    `floors` and `best`, for the test split and, under `ood`, for the other.
    """
    sizes = {"train": train, "val": val, "test": test, "ood": test}
    drawn = write_world(out, NAME, TASK, sizes, sample_scene, _entry, seed=seed, force=force)
    return measured(drawn, floors)
