"""Rows of pre-training about `icons`: parts and looks of the large thing, and the shelves of invented people.

A thing is known by its parts; what it is called stays out. Left out: the downstream classes, which appear as words by
lot alone (``rows``).
"""

from __future__ import annotations

import random
from typing import Any

from rise_vlm.policy.tiny.rows import LABELS, Row, any_role, crowd, in_role, record_of, taste_of, values_of
from rise_vlm.tasks.classification import Classification
from rise_vlm.worlds import icons
from rise_vlm.worlds.icons_words import PART_WORDS, PARTS

ICON_FAMILIES = ("part", "part", "colour", "ground", "size", "place")
KEEPERS = [taste_of(p, 3.0, ICON_FAMILIES, icons.FACTS, most=12) for p in crowd(100, 64)]
"""Invented people who sort icons by their parts and looks."""

ASKED = {
    "colour": "What colour is the large thing?",
    "ground": "What lies behind the large thing?",
    "size": "How large is the large thing?",
    "place": "On which side is the large thing?",
    "part": "What does the large thing have?",
}


def _icon_facts(scene: icons.Scene) -> dict[str, Any]:
    return {"part": PARTS[scene.kind], "colour": scene.colour, "ground": scene.ground, "size": scene.size,
            "place": scene.place}  # fmt: skip


def icon_list_row(scene: icons.Scene, rng: random.Random) -> Row:
    """All there is in a fixed order: what to say is settled, so every word teaches perception."""
    about = ", ".join(f"{small.colour} {small.kind}" for small in sorted(scene.about, key=lambda small: small.x))
    parts = ", ".join(PARTS[scene.kind])
    if rng.random() < 0.4:
        return Row("List the parts of the large thing.", 1, f"{parts}.")
    told = f"{scene.size} {scene.colour}, {scene.place}, {parts}, before {scene.ground}"
    return Row("List the facts of this picture.", 1, f"{told}, about it {about or 'nothing'}.")


def icon_part_row(scene: icons.Scene, rng: random.Random) -> Row:
    """Some parts or all, in the words of captions."""
    parts = rng.sample(PARTS[scene.kind], rng.randint(1, len(PARTS[scene.kind])))
    return Row("Say what the large thing has.", 1, f"It has {', '.join(rng.choice(PART_WORDS[p]) for p in parts)}.")


def icon_fact_row(scene: icons.Scene, rng: random.Random) -> Row:
    """Which value does one visible fact have? Among a random few of its values."""
    family = rng.choice(tuple(ASKED))
    held = _icon_facts(scene)[family]
    values = values_of(held)
    others = [value for value in icons.FACTS[family] if value not in values]
    label = rng.choice(values)
    classes = [*rng.sample(others, rng.randint(1, min(len(others), 9))), label]
    rng.shuffle(classes)
    return _chosen(scene, rng, classes, ASKED[family], label)


def icon_taste_row(scene: icons.Scene, rng: random.Random) -> Row:
    """Where an invented person puts the large thing, by a fixed rule over its parts and looks."""
    taste = rng.choice(KEEPERS)
    chances = dict(zip(taste.labels, taste.chances(_icon_facts(scene)), strict=True))
    others = [label for label in LABELS if label not in taste.labels]
    labels = [*taste.labels, *rng.sample(others, rng.choice((0, 0, 2, 5)))]
    rng.shuffle(labels)
    question = f"On which shelf does {taste.person} put the large thing?"
    return _chosen(scene, rng, labels, question, max(chances, key=chances.__getitem__))


def _chosen(scene: icons.Scene, rng: random.Random, classes: list[str], question: str, label: str) -> Row:
    """A classification row in any role; a rationale that names a class is drawn again, and given up for an answer."""
    task, record, role = Classification(classes), record_of(question, label), any_role(rng)
    for _ in range(6):
        rationale = icons.describe(scene, rng, rng.choice((2, 3, 4)))
        if role == "answer" or not any(name in rationale for name in classes):
            return in_role(task, record, role, rationale)
    return in_role(task, record, "answer", "")
