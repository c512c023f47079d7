"""What stands in a blocks picture: CLEVR's three solids, or five kinds of vehicle in the manner of Super-CLEVR.

Each thing is a few `Part`s for the ray caster. A vehicle is built along x, half a length of about 1 long, then turned,
scaled and placed; it has one part in another colour. Left out: textures, Super-CLEVR's own meshes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rise_vlm.worlds.blocks_camera import Vector
from rise_vlm.worlds.blocks_solids import Part

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "gray": (87, 87, 87), "red": (173, 35, 35), "blue": (42, 75, 215), "green": (29, 105, 20),
    "brown": (129, 74, 25), "purple": (129, 38, 192), "cyan": (41, 208, 208), "yellow": (255, 238, 51),
}  # fmt: skip
SOLIDS = ("cube", "sphere", "cylinder")
VEHICLES = ("car", "bus", "motorbike", "aeroplane", "bicycle")
RADIUS = {"large": 0.7, "small": 0.35}
LENGTH = {"large": 1.02, "small": 0.6}
_SHAPE = {"cube": "box", "sphere": "ball", "cylinder": "drum"}
_DARK: Rgb = (34, 36, 42)
_TYRE: Rgb = (26, 26, 28)
_WINDOW: Rgb = (56, 66, 82)


def solid(shape: str, radius: float, place: tuple[float, float], turn: float, colour: str, material: str,
          owner: int = 0) -> list[Part]:  # fmt: skip
    """A cube, sphere or cylinder on the floor; a cube's half extents are `radius` / sqrt 2, as in CLEVR."""
    half = radius / math.sqrt(2) if shape == "cube" else radius
    across, along = half * math.cos(turn), half * math.sin(turn)
    axes = ((across, along, 0.0), (-along, across, 0.0), (0.0, 0.0, half))
    return [Part(_SHAPE[shape], (*place, half), axes, COLOURS[colour], material, owner)]


class Workshop:
    """Builds one vehicle: its own frame is x forward, y left, z up, wheels on z = 0."""

    def __init__(self, place: tuple[float, float], scale: float, turn: float, material: str, owner: int) -> None:
        self.parts: list[Part] = []
        self._place, self._scale, self._material, self._owner = place, scale, material, owner
        self._cos, self._sin = math.cos(turn), math.sin(turn)

    def _turned(self, v: Vector) -> Vector:
        x, y, z = (n * self._scale for n in v)
        return self._cos * x - self._sin * y, self._sin * x + self._cos * y, z

    def add(self, shape: str, at: Vector, axes: Sequence[Vector], colour: Rgb, material: str | None = None) -> None:
        """A part at `at` with three half axes."""
        x, y, z = self._turned(at)
        first, second, third = (self._turned(axis) for axis in axes)
        place = (self._place[0] + x, self._place[1] + y, z)
        self.parts.append(Part(shape, place, (first, second, third), colour, material or self._material, self._owner))

    def box(self, at: Vector, half: Vector, colour: Rgb, material: str | None = None) -> None:
        """A box with its sides along the frame."""
        self.add("box", at, ((half[0], 0, 0), (0, half[1], 0), (0, 0, half[2])), colour, material)

    def ball(self, at: Vector, half: Vector, colour: Rgb, material: str | None = None) -> None:
        """A ball, or an egg with these half axes."""
        self.add("ball", at, ((half[0], 0, 0), (0, half[1], 0), (0, 0, half[2])), colour, material)

    def wheel(self, x: float, y: float, radius: float, width: float, colour: Rgb = _TYRE, ring: bool = False) -> None:
        """A wheel that rolls along x."""
        axes = ((radius, 0, 0), (0, 0, radius), (0, width, 0))
        self.add("ring" if ring else "drum", (x, y, radius), axes, colour, "rubber")
        if not ring:
            hub = ((radius * 0.5, 0, 0), (0, 0, radius * 0.5), (0, width * 1.15, 0))
            self.add("drum", (x, y, radius), hub, (176, 178, 184), "metal")

    def tube(self, a: Vector, b: Vector, radius: float, colour: Rgb, material: str | None = None) -> None:
        """A round bar from `a` to `b`."""
        half = tuple((q - p) / 2 for p, q in zip(a, b, strict=True))
        length = math.sqrt(sum(n * n for n in half))
        z = tuple(n / length for n in half)
        flat = math.hypot(z[0], z[1])
        x = (-z[1] / flat, z[0] / flat, 0.0) if flat > 1e-6 else (1.0, 0.0, 0.0)
        y = (z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0])
        middle = tuple((p + q) / 2 for p, q in zip(a, b, strict=True))
        axes = (tuple(n * radius for n in x), tuple(n * radius for n in y), half)
        self.add("drum", middle, axes, colour, material)  # type: ignore[arg-type]


def vehicle(shape: str, model: int, length: float, place: tuple[float, float], turn: float, colour: str, accent: str,
            material: str, owner: int = 0) -> list[Part]:  # fmt: skip
    """One of `VEHICLES`; `model` (0 to 2) picks among the builds of a kind, `accent` is the colour of the odd part."""
    shop = Workshop(place, length, turn, material, owner)
    _BUILD[shape](shop, model, COLOURS[colour], COLOURS[accent])
    return shop.parts


def _car(shop: Workshop, model: int, body: Rgb, accent: Rgb) -> None:
    """Sedan, wagon or pickup; one door is of the other colour."""
    shop.box((0, 0, 0.33), (1.0, 0.42, 0.17), body)
    if model == 0:
        shop.box((-0.08, 0, 0.6), (0.5, 0.37, 0.14), _WINDOW, "metal")
        shop.box((-0.08, 0, 0.75), (0.44, 0.36, 0.03), body)
    elif model == 1:
        shop.box((-0.26, 0, 0.63), (0.68, 0.38, 0.15), _WINDOW, "metal")
        shop.box((-0.26, 0, 0.79), (0.66, 0.38, 0.035), body)
    else:
        shop.box((0.12, 0, 0.62), (0.32, 0.38, 0.14), _WINDOW, "metal")
        shop.box((0.12, 0, 0.77), (0.29, 0.37, 0.03), body)
        for y in (-0.39, 0.39):
            shop.box((-0.6, y, 0.54), (0.38, 0.035, 0.08), body)
        shop.box((-0.97, 0, 0.54), (0.03, 0.4, 0.08), body)
    shop.box((0.12, 0, 0.35), (0.24, 0.435, 0.12), accent)
    for x in (-0.6, 0.62):
        for y in (-0.4, 0.4):
            shop.wheel(x, y, 0.2, 0.08)
    for y in (-0.28, 0.28):
        shop.ball((0.99, y, 0.38), (0.05, 0.08, 0.06), (255, 246, 200), "rubber")


def _bus(shop: Workshop, model: int, body: Rgb, accent: Rgb) -> None:
    """One or two decks; the front is of the other colour."""
    decks = 2 if model == 1 else 1
    top = 0.34 + 0.42 * decks
    shop.box((0, 0, (0.12 + top) / 2), (1.12, 0.32, (top - 0.12) / 2), body)
    for deck in range(decks):
        shop.box((-0.06, 0, 0.5 + 0.42 * deck), (0.98, 0.335, 0.1), _WINDOW, "metal")
        for k in range(5):
            shop.box((-0.86 + 0.4 * k, 0, 0.5 + 0.42 * deck), (0.03, 0.34, 0.1), body)
    shop.box((1.1, 0, 0.28), (0.04, 0.325, 0.14), accent)
    shop.box((1.1, 0, 0.55), (0.035, 0.29, 0.11), _WINDOW, "metal")
    for x in (-0.68, 0.7):
        for y in (-0.29, 0.29):
            shop.wheel(x, y, 0.17, 0.07)


def _motorbike(shop: Workshop, model: int, body: Rgb, accent: Rgb) -> None:
    """A sports bike, a cruiser or a naked one; the nose is of the other colour."""
    for x in (-0.62, 0.62):
        shop.wheel(x, 0, 0.32, 0.1)
    shop.box((-0.02, 0, 0.42), (0.3, 0.12, 0.16), _DARK, "metal")
    shop.box((-0.02, 0, 0.34), (0.36, 0.15, 0.1), body)
    shop.ball((0.16, 0, 0.66), (0.36, 0.19, 0.18), body)
    shop.box((-0.36, 0, 0.68), (0.28, 0.13, 0.06), _DARK, "rubber")
    shop.ball((-0.66, 0, 0.66), (0.28, 0.14, 0.11), body)
    if model != 2:
        shop.ball((0.6, 0, 0.64), (0.24, 0.13, 0.1), accent)
    shop.tube((0.62, 0, 0.32), (0.4, 0, 0.92), 0.05, (170, 172, 180), "metal")
    shop.tube((0.4, -0.34, 0.94), (0.4, 0.34, 0.94), 0.04, _DARK, "rubber")
    shop.ball((0.52, 0, 0.82), (0.1, 0.12, 0.11), (255, 246, 200), "metal")
    shop.tube((-0.05, 0.16, 0.26), (-0.8, 0.18, 0.34), 0.06, (170, 172, 180), "metal")
    if model == 1:
        shop.box((-0.74, 0, 0.9), (0.04, 0.1, 0.18), _DARK, "rubber")


def _aeroplane(shop: Workshop, model: int, body: Rgb, accent: Rgb) -> None:
    """A jet or a biplane; the fin is of the other colour."""
    shop.ball((0, 0, 0.5), (1.08, 0.17, 0.18), body)
    shop.ball((0.66, 0, 0.58), (0.2, 0.11, 0.12), _WINDOW, "metal")
    sweep = -0.34 if model != 1 else 0.0
    for side in (-1, 1):
        shop.add("box", (0.02 + sweep / 2, side * 0.52, 0.46),
                 ((0.2, 0, 0), (sweep / 2, side * 0.5, 0), (0, 0, 0.03)), body)  # fmt: skip
        shop.add("box", (-0.9, side * 0.2, 0.56), ((0.11, 0, 0), (-0.08, side * 0.24, 0), (0, 0, 0.025)), body)
        if model != 1:
            shop.tube((0.16, side * 0.46, 0.36), (-0.2, side * 0.46, 0.36), 0.085, (190, 192, 198), "metal")
        else:
            shop.tube((0.02, side * 0.8, 0.44), (0.02, side * 0.8, 0.84), 0.025, _DARK)
    if model == 1:
        shop.box((0.02, 0, 0.84), (0.2, 1.0, 0.025), body)
        shop.box((1.1, 0, 0.5), (0.02, 0.05, 0.3), _DARK, "rubber")
    shop.add("box", (-0.92, 0, 0.78), ((0.14, 0, 0), (0, 0.025, 0), (-0.12, 0, 0.24)), accent)
    for x, y in ((0.6, 0.0), (-0.2, -0.2), (-0.2, 0.2)):
        shop.tube((x, y, 0.42), (x, y, 0.14), 0.025, _DARK)
        shop.wheel(x, y, 0.09, 0.05)


def _bicycle(shop: Workshop, model: int, body: Rgb, accent: Rgb) -> None:
    """A road bike, one with a basket, or a tandem; the seat is of the other colour."""
    reach = 0.68 if model != 2 else 0.8
    for x in (-reach, reach):
        shop.wheel(x, 0, 0.38, 0.045, (40, 40, 44), ring=True)
        shop.ball((x, 0, 0.38), (0.06, 0.06, 0.06), (190, 192, 198), "metal")
    seat, hub, head, foot = (-0.3, 0, 0.86), (-0.06, 0, 0.34), (0.44, 0, 0.88), (reach, 0, 0.38)
    for a, b in ((hub, seat), (hub, head), (seat, head), (seat, (-reach, 0, 0.38)), (hub, (-reach, 0, 0.38)),
                 (head, foot), (head, (0.4, 0, 1.02))):  # fmt: skip
        shop.tube(a, b, 0.05, body)
    shop.tube((0.4, -0.32, 1.04), (0.4, 0.32, 1.04), 0.04, _DARK, "rubber")
    shop.ball((-0.34, 0, 0.96), (0.2, 0.1, 0.07), accent)
    if model == 1:
        shop.box((0.72, 0, 0.92), (0.17, 0.16, 0.12), accent)
    if model == 2:
        shop.tube((0.12, 0, 0.36), (0.1, 0, 0.9), 0.05, body)
        shop.ball((0.06, 0, 0.98), (0.18, 0.1, 0.07), accent)


_BUILD: dict[str, Callable[[Workshop, int, Rgb, Rgb], None]] = {
    "car": _car, "bus": _bus, "motorbike": _motorbike, "aeroplane": _aeroplane, "bicycle": _bicycle,
}  # fmt: skip
