"""What all rows of pre-training are made of: a turn of a conversation, the four roles, invented people, words by lot.

A row is made from a scene of a world; the rows of a world are one file beside this one, ``<world>_rows``. The four
roles of every task are taught on made-up label families: the value of one visible fact, the taste of an invented person
(a fixed random rule over a few facts), or words drawn by lot, so that any class list can be copied. Never shown: the
downstream annotations, their hidden rules, their questions. Left out: how often each is shown (``corpus``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rise_vlm.data.record import Record
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import DESCRIBE, Role, Task, bare_answer, think_answer
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.tasks.grounding import Grounding
from rise_vlm.worlds import affect, errand, icons, street

FRAME = Thousand()
SIDE = 336
RATERS = 15

SYLLABLES = tuple(first + last for first in "bdfgklmnprstvz" for last in "aeiou")
PEOPLE = (
    "Ada Ben Cleo Dan Eva Finn Gus Hana Ivan June Kai Lena Max Nora Olaf Pia Quinn Rosa Sam Tess Uma Vera Will Xena"
).split()
LABELS = (
    "amber birch cobalt delta ember fern granite hazel indigo jade kiwi lotus maple nickel olive pearl quartz river "
    "silver topaz umber violet willow zinc island bridge castle desert engine forest"
).split()
LOT_WORDS = [
    *LABELS, *affect.CLASSES, *icons.CLASSES, *street.CLASSES, *PEOPLE,
    *"dress hat pants shirt shoes skirt ace king ten".split(),
]  # fmt: skip
"""Words drawn by lot, the worlds' classes among them: they teach copying from a class list, never what a picture shows
or evokes.
"""


WORDS = sorted(
    {
        word.strip("?.,!").lower()
        for query in errand.QUERIES.values()
        for text in (*query.phrasings, *query.held_out)
        for word in text.split()
    }
)
"""The words of the downstream questions, each by itself. A token that is never shown keeps an embedding that is like
that of all other such tokens, so that no question made of them could be told from another.
"""


def made_up(rng: random.Random) -> str:
    """A word of two or three syllables that means nothing."""
    return "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 3))))


NUMBERS = ("one", "two", "three", "four", "five")

QUESTIONS: dict[str, tuple[str, ...]] = {
    "face": ("What is the face like?",),
    "posture": ("How does the person hold the body?",),
    "weather": ("What is the weather?",),
    "light": ("What time is it?",),
    "setting": ("Where is this?", "Which place is this?"),
    "room": ("Where is this?", "Which place is this?"),
    "thing": ("Which thing is there?", "What can be seen?"),
    "shirt": ("What colour is the shirt?",),
    "hat": ("Is there a hat?",),
    "tree": ("Is there a tree?",),
    "side": ("On which side is the person?",),
    "count": ("How many things are there?",),
}

Fact = str | tuple[str, ...]
"""The value of a fact family; a tuple where several hold."""

Box = tuple[float, float, float, float]


def values_of(fact: Fact) -> tuple[str, ...]:
    """All values of a fact family, of which there may be one."""
    return fact if isinstance(fact, tuple) else (fact,)


@dataclass(frozen=True)
class Asked:
    """What a row in a role asks for."""

    task: Task
    record: Record
    role: Role


@dataclass(frozen=True)
class Row:
    """One conversation turn: the user's text, how many of the scene's pictures are shown, and the completion; what was
    ``asked`` where it is in one of the four roles.
    """

    prompt: str
    pictures: int
    completion: str
    asked: Asked | None = None


RowMaker = Callable[[Any, random.Random], Row]
"""Makes a row from a scene of its world."""


@dataclass(frozen=True)
class Taste:
    """An invented person's rule: weights of the labels for each value of one to three fact families, to be summed."""

    person: str
    labels: tuple[str, ...]
    weights: dict[str, dict[str, tuple[float, ...]]]

    def chances(self, facts: Mapping[str, Fact]) -> tuple[float, ...]:
        """The probability of each label, the softmax of the sums; several values of one family share their weights."""
        sums = [0.0] * len(self.labels)
        for family, table in self.weights.items():
            values = values_of(facts[family])
            for value in values:
                sums = [s + w / len(values) for s, w in zip(sums, table[value], strict=True)]
        total = sum(math.exp(s) for s in sums)
        return tuple(math.exp(s) / total for s in sums)


def taste_of(
    person: str, spread: float, families: Sequence[str], facts: Mapping[str, Sequence[str]], most: int = 7
) -> Taste:
    """The fixed rule of a person over some of ``families`` with the values ``facts``, from the person's name."""
    rng = random.Random(f"taste of {person}")
    labels = tuple(rng.sample(LABELS, rng.randint(3, most)))
    chosen = rng.sample(families, rng.choice((1, 2, 2, 3)))
    weights = {family: {v: tuple(rng.gauss(0, spread) for _ in labels) for v in facts[family]} for family in chosen}
    return Taste(person, labels, weights)


def crowd(first: int, count: int) -> list[str]:
    """Names of people that nobody has, the same each time."""
    return [made_up(random.Random(f"person {i}")).capitalize() for i in range(first, first + count)]


def describe_row(world: ModuleType) -> RowMaker:
    """The label-free description."""
    return lambda scene, rng: Row(DESCRIBE, 1, world.describe(scene, rng))


def in_role(task: Task, record: Record, role: Role, rationale: str) -> Row:
    """One of the four roles, with a true description as the rationale."""
    answer = task.render(record.annotation, record, FRAME)
    prompt = task.prompt(role, record, FRAME, rationale if role == "reconstruct" else None)
    asked = Asked(task, record, role)
    if role == "reason":
        return Row(prompt, 1, rationale, asked)
    completion = think_answer(rationale, answer) if role == "think" else bare_answer(answer)
    return Row(prompt, int(role != "reconstruct" or task.sees_image), completion, asked)


def any_role(rng: random.Random) -> Role:
    return rng.choices(("answer", "think", "reason", "reconstruct"), (30, 25, 20, 25))[0]


def record_of(question: str, annotation: object) -> Record:
    return Record(id="x", images=("x.png",), annotation=annotation, question=question, width=SIDE, height=SIDE)


def _choice_row(
    world: ModuleType, scene: Any, rng: random.Random, classes: list[str], question: str, label: str, role: Role
) -> Row:
    """A classification row; a rationale that names its class is drawn again, and given up for the answer role."""
    task, record = Classification(classes), record_of(question, label)
    for _ in range(4):
        rationale = world.describe(scene, rng)
        if role == "answer" or not any(name in rationale for name in classes):
            return in_role(task, record, role, rationale)
    return in_role(task, record, "answer", "")


def fact_row(world: ModuleType, families: tuple[str, ...], visible: Callable[[Any], Mapping[str, Fact]]) -> RowMaker:
    """Which value does one of the visible facts have? Among a random few of its values, in random order."""

    def make(scene: Any, rng: random.Random) -> Row:
        family = rng.choice(families)
        values = values_of(visible(scene)[family])
        options = [v for v in world.FACTS.get(family, NUMBERS) if v not in values]
        label = rng.choice(values)
        classes = [*rng.sample(options, rng.randint(1, min(len(options), 6))), label]
        rng.shuffle(classes)
        role = "answer" if rng.random() < 0.6 else any_role(rng)
        return _choice_row(world, scene, rng, classes, rng.choice(QUESTIONS[family]), label, role)

    return make


def votes_of(chances: Sequence[float], labels: Sequence[str], raters: int, rng: random.Random) -> dict[str, float]:
    drawn = rng.choices(labels, chances, k=raters)
    return {label: drawn.count(label) / raters for label in labels}


def word_list(rng: random.Random, most: int = 10) -> list[str]:
    """Three to ``most`` different words: labels and names, or those of questions, or made up."""
    count = rng.randint(3, most)
    if rng.random() < 0.3:
        return list({made_up(rng): 0 for _ in range(count)})
    return rng.sample(rng.choice((LOT_WORDS, WORDS)), count)


def copy_row(scene: Any, rng: random.Random) -> Row:
    """A list of words to be repeated, from the first or another one on: no choice but to read the prompt. No picture.

    Twice, so that the second time needs no understanding of the request.
    """
    words = word_list(rng, 16)
    start = rng.choice((0, rng.randrange(len(words))))
    asked = "Repeat the classes." if start == 0 else f"Repeat the classes from {words[start]} on."
    told = ", ".join(words[start:])
    return Row(f"Classes: {', '.join(words)}.\n{asked}", 0, f"{told}. {told}.")


def rest_row(scene: Any, rng: random.Random) -> Row:
    """Which words of a list are not among those given? No choice, and just what a list without repeats needs."""
    words = word_list(rng, 10)
    given = rng.sample(words, rng.randint(1, len(words) - 1))
    rest = [word for word in words if word not in given]
    asked = f"Classes: {', '.join(words)}.\nGiven: {', '.join(given)}.\nRepeat the others."
    return Row(asked, 0, f"{', '.join(rest)}.")


def lot_row(world: ModuleType) -> RowMaker:
    """Labels by lot: nothing to learn but to answer in form, from the class list of the prompt."""

    def make(scene: Any, rng: random.Random) -> Row:
        labels = word_list(rng)
        role: Role = rng.choices(("answer", "think", "reason", "reconstruct"), (40, 20, 10, 30))[0]
        rationale = world.describe(scene, rng)
        if rng.random() < 0.3:
            record = record_of("Which word comes by lot?", rng.choice(labels))
            return in_role(Classification(labels), record, role, rationale)
        # Flat votes leave no label out: what comes next is then settled, and the list is soon read.
        evenness = rng.choice((0.5, 8))
        chances = [rng.gammavariate(evenness, 1) + 1e-3 for _ in labels]
        raters = RATERS if rng.random() < 0.8 else rng.randint(3, 20)
        record = record_of("Which words come by lot?", votes_of(chances, labels, raters, rng))
        return in_role(Distribution(labels), record, role, rationale)

    return make


def box_row(box: Box, rng: random.Random, question: str, words: str) -> Row:
    """Where something is; ``box`` in parts of the picture."""
    return in_role(Grounding(), record_of(question, [part * SIDE for part in box]), any_role(rng), words)
