"""What each image token shows: the signs of texts, or the looks of a thing, whose middle is in it.

A tower that sees shapes and text only through what is asked about a picture learns them slowly or not at all, so
pre-training also asks every image token (`train.Pupil.read`). Left out: the worlds of `corpus.TINY`, whose things are
large.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rise_vlm.policy.tiny.rows import SIDE
from rise_vlm.worlds import blocks, figures, moves
from rise_vlm.worlds.blocks_words import COLOURS, MATERIALS, SHAPES, SIZES, Description
from rise_vlm.worlds.canvas import Canvas, Colour
from rise_vlm.worlds.figures_draw import Page, placed
from rise_vlm.worlds.figures_text import font
from rise_vlm.worlds.moves_scene import disc

SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ°"
WORDS = (*SIGNS, *SIZES, *COLOURS, *MATERIALS, *SHAPES)
SIGN_SLOTS, THING_SLOTS = 3, 4
SLOTS = SIGN_SLOTS + THING_SLOTS
"""An image token has room for so many signs, from left to right, and for one thing's size, colour, material and shape.
A slot holds 0, nothing, or n, the n-th of ``WORDS``.
"""

Thing = tuple[float, float, Description]
"""Where its middle is, down and across in parts of the picture, and its looks. On a floor what is lower is nearer."""


@dataclass(frozen=True)
class Text:
    """What is written about (x, y), in pixels, in letters ``size`` pixels high."""

    text: str
    x: float
    y: float
    size: int
    colour: Colour

    @property
    def plain(self) -> str:
        """The text without its degree sign."""
        return self.text.rstrip("°")


def looks_of(world: str, scene: Any, down: int, across: int) -> list[Tensor]:
    """For each picture of a scene of `blocks`, `moves` or `figures`, of so many image tokens: (tokens, `SLOTS`)."""
    if world == "blocks":
        return [show_things(_items(scene), down, across)]
    if world == "moves":
        return [show_things(things, down, across) for things in _solids(scene)]
    return [show_texts(_written(scene), down, across, SIDE / down, SIDE / across)]


def show_texts(texts: Iterable[Text], down: int, across: int, high: float, wide: float) -> Tensor:
    """The signs of texts in image tokens ``high`` and ``wide`` pixels large: (down * across, `SLOTS`)."""
    cells = torch.zeros(down, across, SLOTS, dtype=torch.long)
    for one in texts:
        face = font(one.size)
        begin = one.x - face.getlength(one.text) / 2
        for number, sign in enumerate(one.text):
            middle = begin + (face.getlength(one.text[:number]) + face.getlength(one.text[: number + 1])) / 2
            cell = cells[_within(one.y / high, down), _within(middle / wide, across), :SIGN_SLOTS]
            free = (cell == 0).nonzero()
            if sign in SIGNS and len(free):
                cell[free[0]] = 1 + WORDS.index(sign)
    return cells.flatten(0, 1)


def show_things(things: Iterable[Thing], down: int, across: int) -> Tensor:
    """The looks of the nearest thing in each image token: (down * across, `SLOTS`)."""
    cells = torch.zeros(down, across, SLOTS, dtype=torch.long)
    for y, x, looks in sorted(things):
        words = torch.tensor([1 + WORDS.index(word) for word in looks])
        cells[_within(y * down, down), _within(x * across, across), SIGN_SLOTS:] = words
    return cells.flatten(0, 1)


def _within(place: float, count: int) -> int:
    return min(max(int(place), 0), count - 1)


def _items(scene: blocks.Scene) -> list[Thing]:
    found: list[Thing] = []
    for item in scene.items:
        x, y, _ = blocks.disc(item, blocks.camera(scene.eye))
        found.append((y, x, (item.size, item.colour, item.material, item.shape)))
    return found


def _solids(scene: moves.Scene) -> tuple[list[Thing], list[Thing]]:
    def seen(state: moves.State, view: str) -> list[Thing]:
        found: list[Thing] = []
        for thing in state:
            if thing.visible:
                x, y, _ = disc(thing, moves.camera(view, scene.shift))
                found.append((y, x, (thing.size, thing.color, thing.material, thing.shape)))
        return found

    return seen(scene.initial, "center"), seen(scene.final, scene.view)


class _Reader(Page):
    """Notes what a figure has written where; it draws on a scrap."""

    texts: list[Text]

    def write(self, text: str, x: float, y: float, height: float, colour: Colour) -> None:
        self.texts.append(Text(text, x * SIDE, y * SIDE, max(8, round(height * SIDE)), colour))


def _written(scene: figures.Scene) -> list[Text]:
    plan = figures.plan(scene)
    page = _Reader(Canvas(8, 1), plan, placed(plan, scene.turn, scene.flip), scene.style, scene.tint)
    page.texts = []
    for mark in plan.marks if plan.asked is None else (*plan.marks, plan.asked):
        page.mark(mark)
    page.letters()
    return page.texts
