"""Rows of pre-training about `affect`: describing, naming, locating, and the tastes of invented people."""

from __future__ import annotations

import random
from functools import lru_cache

from rise_vlm.policy.tiny.rows import (
    LABELS,
    PEOPLE,
    QUESTIONS,
    RATERS,
    Row,
    Taste,
    any_role,
    box_row,
    crowd,
    fact_row,
    in_role,
    record_of,
    taste_of,
    votes_of,
)
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.worlds import affect, affect_words

TASTE_FAMILIES = ("face", "posture", "weather", "light", "setting", "shirt", "thing", "hat")
SORTERS = [taste_of(p, 3.0, TASTE_FAMILIES, affect.FACTS) for p in (*PEOPLE[:12], *crowd(0, 24))]
VOTERS = [taste_of(p, 1.4, TASTE_FAMILIES, affect.FACTS) for p in (*PEOPLE[12:], *crowd(24, 24))]

ORDER = tuple(QUESTIONS)
ASKED = tuple(family for family in QUESTIONS if family in (*affect.FACTS, "count"))

_boxes = lru_cache(maxsize=4)(affect.boxes)
"""The boxes of a scene, computed once for all its rows."""

affect_fact_row = fact_row(affect, ASKED, affect.scene_facts)


def affect_list_row(scene: affect.Scene, rng: random.Random) -> Row:
    """All facts in a fixed order: what to say is settled, so every word teaches perception."""
    facts = affect.scene_facts(scene)
    pairs = [(family, facts[family]) for family in QUESTIONS if family in facts]
    told = [f"{family} {' and '.join(value) if isinstance(value, tuple) else value}" for family, value in pairs]
    return Row("List the facts of this picture.", 1, ", ".join(told) + ".")


def affect_about_row(scene: affect.Scene, rng: random.Random) -> Row:
    """One fact, asked for, in the words of captions; or all of them in a fixed order."""
    person = rng.choice(affect_words.PEOPLE)
    facts = sorted(affect.true_facts(scene), key=lambda fact: (ORDER.index(fact.split("=")[0]), fact))
    told = [rng.choice(affect_words.CLAUSES[fact]).replace("{p}", person) for fact in facts]
    if rng.random() < 0.5:
        return Row("Tell all there is in order.", 1, ". ".join(told) + ".")
    chosen = rng.randrange(len(facts))
    family = facts[chosen].split("=")[0]
    same = [clause for clause, fact in zip(told, facts, strict=True) if fact.split("=")[0] == family]
    return Row(f"Say something about the {family}.", 1, " and ".join(same) + ".")


def taste_row(scene: affect.Scene, rng: random.Random) -> Row:
    """An invented person's rule over the facts, as one class or as a distribution of votes.

    The labels come in any order and among others that nobody chooses, so they must be read from the prompt. The
    rationale tells the facts that decide, or is a description like any other.
    """
    single = rng.random() < 0.4
    taste = rng.choice(SORTERS if single else VOTERS)
    chances = dict(zip(taste.labels, taste.chances(affect.scene_facts(scene)), strict=True))
    others = [label for label in LABELS if label not in taste.labels]
    labels = [*taste.labels, *rng.sample(others, rng.choice((0, 0, 1, 2, 3)))]
    rng.shuffle(labels)
    rationale = _told(taste, scene, rng) if rng.random() < 0.7 else affect.describe(scene, rng)
    if single:
        record = record_of(f"Which box does {taste.person} put this picture in?", max(chances, key=chances.__getitem__))
        return in_role(Classification(labels), record, any_role(rng), rationale)
    votes = votes_of([chances.get(label, 0.0) for label in labels], labels, RATERS, rng)
    record = record_of(f"Which boxes do friends of {taste.person} choose?", votes)
    return in_role(Distribution(labels), record, any_role(rng), rationale)


def _told(taste: Taste, scene: affect.Scene, rng: random.Random) -> str:
    """The facts that decide by a rule, in the words of captions and in any order."""
    person = rng.choice(affect_words.PEOPLE)
    facts = sorted(fact for fact in affect.true_facts(scene) if fact.split("=")[0] in taste.weights)
    rng.shuffle(facts)
    clauses = [rng.choice(affect_words.CLAUSES[fact]).replace("{p}", person) for fact in facts]
    return " ".join(f"{clause[0].upper()}{clause[1:]}." for clause in clauses)


def affect_box_row(scene: affect.Scene, rng: random.Random) -> Row:
    """Where is the person, the head or a thing?"""
    name = rng.choice(sorted(_boxes(scene)))
    words = rng.choice((f"It is the {name}.", f"The {name} of the picture.", f"There is one {name}."))
    return box_row(_boxes(scene)[name], rng, f"Where is the {name}?", words)
