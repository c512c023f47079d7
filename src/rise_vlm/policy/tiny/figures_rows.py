"""Rows of pre-training about `figures`: shapes, letters, and what is written at sides and angles.

Left out: the downstream questions, which ask for what must be worked out.
"""

from __future__ import annotations

import random

from rise_vlm.policy.tiny.rows import Row, any_role, in_role, record_of
from rise_vlm.tasks.structure import Structure
from rise_vlm.worlds import figures
from rise_vlm.worlds.figures_plan import Mark, plain


def _written(scene: figures.Scene) -> list[tuple[str, str]]:
    """(Name, what is written) of all marks that carry a number, letters or algebra, by name."""
    plan = figures.plan(scene)
    marks: list[Mark] = [*plan.marks, *([plan.asked] if plan.asked else [])]
    known = {mark.fact: plain(mark.text) for mark in marks if mark.fact and mark.text}
    return sorted((fact.replace(".", " "), text) for fact, text in known.items())


def figure_list_row(scene: figures.Scene, rng: random.Random) -> Row:
    """Shape, letters and marks in a fixed order, or one mark."""
    plan, written = figures.plan(scene), _written(scene)
    if written and rng.random() < 0.4:
        name, text = rng.choice(written)
        return Row(f"What is written at {name}?", 1, f"{text}.")
    if rng.random() < 0.2:
        return Row("Read the numbers.", 1, f"{', '.join(sorted(text for _, text in written)) or 'none'}.")
    letters = " ".join(sorted(name for name in plan.points if name not in plan.hidden))
    right = [f"right {mark.points[1]}" for mark in plan.marks if mark.kind == "right"]
    told = [*(f"{name} {text}" for name, text in written), *sorted(right)]
    return Row("List the facts of this picture.", 1, f"{plan.shape}, {letters}, {', '.join(told) or 'no marks'}.")


def figure_read_row(scene: figures.Scene, rng: random.Random) -> Row:
    """What a mark says, as a number or as a choice, in the roles of structure."""
    written = [(name, text) for name, text in _written(scene) if text.isdigit()]
    if not written:
        return figure_list_row(scene, rng)
    name, text = rng.choice(written)
    question, answer = f"What is written at {name}?", text
    if rng.random() < 0.5:
        options = [text, *rng.sample([str(n) for n in range(2, 150) if str(n) != text], 3)]
        rng.shuffle(options)
        listed = " ".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
        question, answer = f"{question} Choices: {listed}", "ABCD"[options.index(text)]
    kind, _, points = name.partition(" ")
    rationale = f"{kind.capitalize()} {points} is marked {text}."
    record = record_of(question, answer if answer.isalpha() else int(answer))
    return in_role(Structure(), record, any_role(rng), rationale)
