"""What the built-in model is pre-trained on: perception of the worlds, and the prompt forms on other label families.

An endless stream of scenes, a few rows of each, in mixtures that change from phase to phase. Never shown: the
downstream annotations, their hidden rules, their queries. Left out: how a row is made (the ``rows`` of each world).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from PIL import Image

from rise_vlm.policy.tiny.affect_rows import (
    affect_about_row,
    affect_box_row,
    affect_fact_row,
    affect_list_row,
    taste_row,
)
from rise_vlm.policy.tiny.blocks_rows import block_count_row, block_list_row, sum_row
from rise_vlm.policy.tiny.errand_rows import (
    errand_about_row,
    errand_box_row,
    errand_fact_row,
    errand_list_row,
    errand_lot_row,
    errand_place_row,
)
from rise_vlm.policy.tiny.figures_rows import figure_list_row, figure_read_row
from rise_vlm.policy.tiny.icons_rows import icon_fact_row, icon_list_row, icon_part_row, icon_taste_row
from rise_vlm.policy.tiny.moves_rows import move_describe_row, move_table_row
from rise_vlm.policy.tiny.rows import SIDE, Row, RowMaker, copy_row, describe_row, lot_row, rest_row
from rise_vlm.policy.tiny.street_rows import street_box_row, street_find_row, street_list_row
from rise_vlm.worlds import affect, blocks, errand, figures, icons, moves, street

Mixture = dict[str, list[tuple[RowMaker, float]]]
"""By world: what makes its rows, with weights."""


WORLDS: dict[str, ModuleType] = {
    "affect": affect, "errand": errand, "icons": icons, "street": street, "blocks": blocks, "figures": figures,
    "moves": moves,
}  # fmt: skip
TWO = {"affect": 0.45, "errand": 0.55}
ALL = {"affect": 0.11, "errand": 0.13, "icons": 0.26, "street": 0.30, "blocks": 0.12, "figures": 0.05, "moves": 0.03}
LAST = {"affect": 0.22, "errand": 0.15, "icons": 0.18, "street": 0.30, "blocks": 0.12, "figures": 0.02, "moves": 0.01}
"""How often a scene is of each world: where only the first two are taught, where all are, and at the end."""
FINE = {"blocks": 0.48, "figures": 0.32, "moves": 0.20}
PAIRS = {"blocks": 0.38, "figures": 0.27, "moves": 0.35}
"""The same of batches at full size: what these worlds ask for is small (`Phase.fine`)."""


SCRAPS = ((2, 4), (3, 4), (4, 6))
SHEETS = ((4, 6), (6, 6), (8, 8), (12, 12), (12, 12))
"""How many image tokens pages have, down and across."""
SHORT, LONG = (2, 2, 3, 4), (6, 8, 10, 10)
"""How many things tables have."""


@dataclass(frozen=True)
class Phase:
    """``steps`` steps in which each process draws ``scenes`` scenes of the worlds by their ``shares``, with ``rows``
    rows each from a mixture. A share ``fine`` of the batches shows those of ``fine_shares`` at full size instead, and a
    share ``pages`` is pages to read, as large as one of ``page_grids`` (image tokens down and across), a share
    ``tables`` of tables in the text, of as many things as one of ``table_sizes``.
    """

    steps: int
    scenes: int
    rows: int
    mixture: Mixture
    shares: dict[str, float]
    fine: float = 0.0
    pages: float = 0.0
    page_grids: tuple[tuple[int, int], ...] = ()
    tables: float = 0.0
    table_sizes: tuple[int, ...] = ()
    fine_shares: dict[str, float] = field(default_factory=lambda: FINE)


def _two(copying: float = 0.0, rest: float = 0.0, lots: float = 0.15, link: float = 0.0) -> Mixture:
    """The rows of `affect` and `errand`; for every unit of them, ``copying`` of lists to repeat, ``rest`` of lists
    to complete and ``lots`` of words by lot (half as many of the first and the last in `errand`, which has more to
    perceive); in `errand` ``link`` of boxes that follow from the rationale alone.
    """
    return {
        "affect": [
            (describe_row(affect), 0.20),
            (affect_about_row, 0.05),
            (affect_list_row, 0.05),
            (affect_fact_row, 0.08),
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
            (errand_fact_row, 0.02),
            (errand_box_row, 0.34),
            (errand_lot_row, link),
            (lot_row(errand), lots / 2),
            (copy_row, copying / 2),
            (rest_row, rest),
        ],
    }


_OTHERS: Mixture = {
    "icons": [
        (describe_row(icons), 0.20),
        (icon_list_row, 0.25),
        (icon_part_row, 0.15),
        (icon_fact_row, 0.12),
        (icon_taste_row, 0.40),
        (lot_row(icons), 0.12),
    ],
    "street": [
        (describe_row(street), 0.25),
        (street_list_row, 0.35),
        (street_box_row, 0.15),
        (street_find_row, 0.45),
        (lot_row(street), 0.06),
    ],
    "blocks": [
        (describe_row(blocks), 0.25),
        (block_list_row, 0.35),
        (block_count_row, 0.35),
        (sum_row, 0.10),
    ],
    "figures": [
        (describe_row(figures), 0.25),
        (figure_list_row, 0.45),
        (figure_read_row, 0.25),
        (sum_row, 0.20),
    ],
    "moves": [
        (describe_row(moves), 0.15),
        (move_describe_row, 0.30),
        (move_table_row, 0.55),
    ],
}

_EVERY: Mixture = _two(copying=0.1, rest=0.4, lots=1.0, link=0.1) | _OTHERS

TINY = (
    Phase(steps=1700, scenes=20, rows=2, mixture=_two(), shares=TWO),
    # Some skills are learned all at once or not at all, and only where much of a step asks for them: to copy from a
    # list, and to know what of it is still to come.
    Phase(steps=500, scenes=8, rows=8, mixture=_two(copying=2.0, lots=1.5), shares=TWO),
    Phase(steps=350, scenes=8, rows=8, mixture=_two(copying=0.4, rest=1.6, lots=1.0), shares=TWO),
    Phase(steps=1700, scenes=20, rows=2, mixture=_two(copying=0.1, rest=0.4, lots=1.0, link=0.25), shares=TWO),
    Phase(steps=1900, scenes=20, rows=2, mixture=_two(copying=0.1, rest=0.2, lots=0.6, link=0.1) | _OTHERS, shares=ALL),
    # Answers in form to lists it does not know had become rarer.
    Phase(steps=300, scenes=20, rows=2, mixture=_EVERY, shares=LAST),
)
# Small solids are not seen at half size, nor from one batch in eight.
TINY_FINE = (
    Phase(steps=2200, scenes=10, rows=4, mixture=_EVERY, shares=LAST, fine=0.8),
    # Reading begins on scraps, where there is little to look through, and is then taken to pages as large as a figure.
    Phase(steps=500, scenes=0, rows=0, mixture={}, shares={}, pages=1.0, page_grids=SCRAPS),
    Phase(steps=950, scenes=5, rows=4, mixture=_EVERY, shares=LAST, fine=0.64, pages=0.24, page_grids=SHEETS),
    # Shapes were seen badly (76 % of solids, colours 96 %), so the tower learns them from what each image token shows,
    # then the language model to speak of them, in longer pieces (`--grow`).
    Phase(steps=300, scenes=12, rows=0, mixture={}, shares={}, fine=0.85, pages=0.15, page_grids=SHEETS),
    Phase(steps=700, scenes=6, rows=4, mixture=_EVERY, shares=LAST, fine=0.76, pages=0.12, page_grids=SHEETS),
    # Which number a thing has in a table, guessed until then. Begins with short ones, as reading with scraps, and is
    # then taken to long ones and to pictures.
    Phase(steps=160, scenes=0, rows=0, mixture={}, shares={}, tables=1.0, table_sizes=SHORT),
    Phase(steps=60, scenes=0, rows=0, mixture={}, shares={}, tables=1.0, table_sizes=LONG),
    Phase(steps=290, scenes=6, rows=4, mixture=_EVERY, shares=LAST, fine=0.70, pages=0.08, page_grids=SHEETS,
          tables=0.15, table_sizes=LONG, fine_shares=PAIRS),
)  # fmt: skip
CURRICULA = {"tiny": TINY, "tiny_fine": TINY_FINE}
"""By built-in model; the second goes on from the first."""


def scenes(
    seed: int, start: int = 0, shares: Mapping[str, float] | None = None
) -> Iterator[tuple[str, Any, random.Random]]:
    """An endless stream of (world, scene of split "any", generator); item i depends on ``seed``, ``shares`` (by default
    those of the last phase) and i alone.
    """
    index = start
    odds = shares or LAST
    while True:
        rng = random.Random(f"{seed}/{index}")
        world = rng.choices(list(odds), list(odds.values()))[0]
        yield world, WORLDS[world].sample_scene(rng, "any"), rng
        index += 1


def pictures(world: str, scene: Any, size: int = SIDE, supersample: int = 2) -> list[Image.Image]:
    """The pictures of a scene: one, or two of `moves`."""
    if world == "moves":
        return list(moves.pictures(scene, size, supersample))
    return [WORLDS[world].draw(scene, size=size, supersample=supersample)]


def rows(world: str, scene: Any, count: int, rng: random.Random, mixture: Mixture | None = None) -> list[Row]:
    """``count`` rows about one scene of a world, by default from the mixture of all worlds."""
    makers = (mixture or _EVERY)[world]
    chosen = rng.choices([maker for maker, _ in makers], [weight for _, weight in makers], k=count)
    return [maker(scene, rng) for maker in chosen]
