"""What the built-in model is pre-trained on: perception of the worlds, and the prompt forms on other label families.

An endless stream of scenes, a few rows of each, in mixtures that change from phase to phase. Never shown: the
downstream annotations, their hidden rules, their queries. Left out: how a row is made (``row_makers``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rise_vlm.policy.tiny.row_makers import (
    QUESTIONS,
    Row,
    RowMaker,
    affect_about_row,
    affect_box_row,
    affect_list_row,
    copy_row,
    describe_row,
    errand_about_row,
    errand_box_row,
    errand_list_row,
    errand_lot_row,
    errand_place_row,
    fact_row,
    lot_row,
    rest_row,
    taste_row,
)
from rise_vlm.worlds import affect, errand

Mixture = dict[str, list[tuple[RowMaker, float]]]
"""By world: what makes its rows, with weights."""


@dataclass(frozen=True)
class Phase:
    """``steps`` steps in which each process draws ``scenes`` scenes with ``rows`` rows each from a mixture."""

    steps: int
    scenes: int
    rows: int
    mixture: Mixture


def _mixture(copying: float = 0.0, rest: float = 0.0, lots: float = 0.15, link: float = 0.0) -> Mixture:
    """The rows of both worlds; for every unit of them, ``copying`` of lists to repeat, ``rest`` of lists to complete
    and ``lots`` of words by lot (half as many of the first and the last in `errand`, which has more to perceive); in
    `errand` ``link`` of boxes that follow from the rationale alone."""
    asked = fact_row(affect, tuple(family for family in QUESTIONS if family in (*affect.FACTS, "count")))
    return {
        "affect": [
            (describe_row(affect), 0.20),
            (affect_about_row, 0.05),
            (affect_list_row, 0.05),
            (asked, 0.08),
            (taste_row, 0.60),
            (affect_box_row, 0.03),
            (lot_row(affect), lots),
            (copy_row, copying),
            (rest_row, rest),
        ],
        "errand": [
            (describe_row(errand), 0.27),
            (errand_about_row, 0.10),
            (errand_list_row, 0.24),
            (errand_place_row, 0.20),
            (fact_row(errand, ("thing", "room", "count")), 0.02),
            (errand_box_row, 0.34),
            (errand_lot_row, link),
            (lot_row(errand), lots / 2),
            (copy_row, copying / 2),
            (rest_row, rest),
        ],
    }


CURRICULUM = (
    Phase(steps=1700, scenes=20, rows=2, mixture=_mixture()),
    # Some skills are learned all at once or not at all, and only where much of a step asks for them: to copy from a
    # list, and to know what of it is still to come.
    Phase(steps=500, scenes=8, rows=8, mixture=_mixture(copying=2.0, lots=1.5)),
    Phase(steps=350, scenes=8, rows=8, mixture=_mixture(copying=0.4, rest=1.6, lots=1.0)),
    Phase(steps=1700, scenes=20, rows=2, mixture=_mixture(copying=0.1, rest=0.4, lots=1.0, link=0.25)),
)
WORLDS: dict[str, ModuleType] = {"affect": affect, "errand": errand}
SHARES = {"affect": 0.45, "errand": 0.55}


def scenes(seed: int, start: int = 0) -> Iterator[tuple[str, Any, random.Random]]:
    """An endless stream of (world, scene of split "any", generator); item i depends on ``seed`` and i alone."""
    index = start
    while True:
        rng = random.Random(f"{seed}/{index}")
        world = rng.choices(list(SHARES), list(SHARES.values()))[0]
        yield world, WORLDS[world].sample_scene(rng, "any"), rng
        index += 1


def rows(world: str, scene: Any, count: int, rng: random.Random, mixture: Mixture | None = None) -> list[Row]:
    """``count`` rows about one scene of a world ("affect" or "errand"), by default from the last mixture."""
    makers = (mixture or CURRICULUM[-1].mixture)[world]
    chosen = rng.choices([maker for maker, _ in makers], [weight for _, weight in makers], k=count)
    return [maker(scene, rng) for maker in chosen]
