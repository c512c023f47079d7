"""A small ray caster: balls, boxes, drums and rings of rubber, metal and glass on a grey floor with soft shadows.

A `Part` is a unit shape under a linear map; each is cast in its own patch of the picture and kept where it is nearest.
Shading knows three lamps (CLEVR's), a sky and a floor to be reflected, and nothing else. Only + - * / and square roots
of numpy are used, so that the same scene gives the same bytes. Left out: reflections of other parts, shadows on parts,
refraction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rise_vlm.worlds.blocks_camera import Camera, Vector

Array = NDArray[np.floating[Any]]
Ray = tuple[Array, Array, Array]

LAMPS: tuple[tuple[Vector, float, float], ...] = (
    ((6.447, -2.905, 6.258), 0.62, 0.42),
    ((-4.671, -4.014, 4.011), 0.2, 0.09),
    ((-1.169, 2.646, 5.816), 0.2, 0.0),
)
"""(place, brightness, depth of the shadow): key, fill and back lamp."""

SHAPES = ("ball", "box", "drum", "ring")
RING = 0.74
"""The inner radius of a ring."""


@dataclass(frozen=True)
class Part:
    """A unit `shape` (half extents 1; drums and rings stand along z) mapped by `axes` (three columns) to `place`.

    `colour` is RGB in 0..255, `material` rubber, metal or glass; `owner` tells which object the part belongs to.
    """

    shape: str
    place: Vector
    axes: tuple[Vector, Vector, Vector]
    colour: tuple[int, int, int]
    material: str
    owner: int = 0

    @property
    def reach(self) -> float:
        """The radius of a ball about `place` that holds the part."""
        lengths = [math.sqrt(sum(n * n for n in axis)) for axis in self.axes]
        if self.shape == "ball":
            return max(lengths)
        if self.shape == "box":
            return math.sqrt(sum(n * n for n in lengths))
        return math.hypot(max(lengths[0], lengths[1]), lengths[2])


class View:
    """A picture being made: `width` pixels square, cast by `camera`. `depth` and `owner` (H, W) tell what is seen."""

    def __init__(self, camera: Camera, width: int) -> None:
        self.camera, self.width = camera, width
        self.height = round(width * camera.aspect)
        self.depth = np.full((self.height, width), np.float32(1e9))
        self.owner = np.full((self.height, width), -1, dtype=np.int16)
        self.colour = np.zeros((self.height, width, 3), dtype=np.float32)
        self._axes = camera.axes

    def paint(self, parts: Sequence[Part], square: bool = False, shine: float = 1.0) -> None:
        """The floor with all shadows, then solid parts, then glass from back to front."""
        self.colour[:] = floor(self.camera, self.width, parts, square, shine)
        for part in (p for p in parts if p.material != "glass"):
            self._cast(part)
        glass = [p for p in parts if p.material == "glass"]
        for part in sorted(glass, key=lambda p: -self.camera.project(*p.place)[2]):
            self._cast(part)

    def outline(self, parts: Sequence[Part]) -> None:
        """Only `depth` and `owner`: what is seen of whom, without colours."""
        for part in parts:
            self._cast(part, shaded=False)

    def image(self, size: int) -> Image.Image:
        """The picture, RGB, `size` pixels wide."""
        pixels = (np.clip(self.colour, 0.0, 255.0) + np.float32(0.5)).astype(np.uint8)
        picture = Image.fromarray(pixels)
        factor = self.width // size
        return picture.reduce(factor) if factor > 1 else picture

    def rays(self, rows: slice, columns: slice, step: int = 1) -> Ray:
        """Directions of the rays through the middles of pixels, each component (rows, columns); depth 1 along them."""
        u, v = self.camera.middle
        xs = (np.arange(columns.start, columns.stop, step, dtype=np.float32) + 0.5 * step) / self.width - u
        ys = v - (np.arange(rows.start, rows.stop, step, dtype=np.float32) + 0.5 * step) / self.width
        xs, ys = xs / self.camera.focal, ys / self.camera.focal
        forward, right, up = self._axes
        x, y, z = (
            np.float32(forward[i]) + xs[None, :] * np.float32(right[i]) + ys[:, None] * np.float32(up[i])
            for i in range(3)
        )
        return x, y, z

    def _cast(self, part: Part, shaded: bool = True) -> None:
        u, v, depth = self.camera.project(*part.place)
        reach = part.reach
        half = self.camera.focal * reach / max(depth - reach, 0.5) * 1.02
        rows = _span(v - half, v + half, self.width, self.height)
        columns = _span(u - half, u + half, self.width, self.width)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        ray = self.rays(rows, columns)
        inverse = np.linalg.inv(np.array(part.axes, dtype=np.float64).T)
        start = inverse @ (np.array(self.camera.eye) - np.array(part.place))
        local = tuple(sum(np.float32(inverse[i, k]) * ray[k] for k in range(3)) for i in range(3))
        far, normal = HITS[part.shape](start.astype(np.float32), local)
        near = self.depth[rows, columns]
        seen = (far < near) & (far > 0)
        if not seen.any():
            return
        near[seen] = far[seen]
        self.owner[rows, columns][seen] = part.owner
        if shaded:
            ray_seen = tuple(component[seen] for component in ray)
            turned: list[Any] = [sum(np.float32(inverse[k, i]) * normal[k][seen] for k in range(3)) for i in range(3)]
            height = (self.camera.eye[2] + far[seen] * ray_seen[2] - part.place[2]) / np.float32(part.axes[2][2] or 1)
            patch = self.colour[rows, columns]
            patch[seen] = self._shade(part, patch[seen], ray_seen, turned, height)

    def _shade(self, part: Part, behind: Array, ray: Any, normal: list[Array], height: Array) -> Array:
        scale = 1 / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + np.float32(1e-12))
        n = [component * scale for component in normal]
        length = 1 / np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
        view = [-component * length for component in ray]
        return LOOKS[part.material](part, n, view, behind, np.clip(height, -1, 1))


def _span(low: float, high: float, scale: int, limit: int) -> slice:
    return slice(max(0, math.floor(low * scale)), min(limit, math.ceil(high * scale) + 1))


# --- where a ray meets a unit shape: (distance, 1e9 where it does not; outward normal) -------------------------------

_MISS = np.float32(1e9)
_TINY = np.float32(1e-9)


def _ball(o: Array, d: Any) -> tuple[Array, Any]:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    root = b * b - a * (o @ o - 1)
    far = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, _MISS)
    return far, [o[i] + far * d[i] for i in range(3)]


def _box(o: Array, d: Any) -> tuple[Array, Any]:
    near, far = None, None
    for i in range(3):
        step = np.where(np.abs(d[i]) < _TINY, _TINY, d[i])
        first, second = (-1 - o[i]) / step, (1 - o[i]) / step
        low, high = np.minimum(first, second), np.maximum(first, second)
        near = low if near is None else np.maximum(near, low)
        far = high if far is None else np.minimum(far, high)
    assert near is not None and far is not None
    hit = np.where(near < far, near, _MISS)
    return hit, [_steep(np.clip(o[i] + near * d[i], -1, 1)) for i in range(3)]


def _steep(x: Array) -> Array:
    """x to the 15th: as a normal it is that of a face, bent near an edge, so that edges catch the light."""
    square = x * x
    fourth = square * square
    return fourth * fourth * fourth * square * x


def _side(o: Array, d: Any, radius: float = 1.0, inner: bool = False) -> tuple[Array, Array, Array]:
    """(distance, x, y) of the round side of a drum of height -1 to 1."""
    a = d[0] * d[0] + d[1] * d[1] + _TINY
    b = o[0] * d[0] + o[1] * d[1]
    root = b * b - a * (o[0] * o[0] + o[1] * o[1] - np.float32(radius * radius))
    sign = 1 if inner else -1
    far = (-b + sign * np.sqrt(np.maximum(root, 0))) / a
    good = (root > 0) & (np.abs(o[2] + far * d[2]) <= 1)
    far = np.where(good, far, _MISS)
    return far, o[0] + far * d[0], o[1] + far * d[1]


def _drum(o: Array, d: Any, hole: float = 0.0) -> tuple[Array, Any]:
    side = _side(o, d)[0]
    step = np.where(np.abs(d[2]) < _TINY, _TINY, d[2])
    cap = (-np.sign(step) - o[2]) / step
    out = (o[0] + cap * d[0]) ** 2 + (o[1] + cap * d[1]) ** 2
    cap = np.where((out <= 1) & (out >= hole * hole), cap, _MISS)
    far = np.minimum(cap, side)
    x, y, z = (np.clip(o[i] + far * d[i], -1, 1) for i in range(3))
    out = np.minimum(x * x + y * y, 1)
    fourth = out * out
    bend = fourth * fourth if hole == 0 else np.where(cap < side, 0, 1)
    return far, [(x * bend).astype(np.float32), (y * bend).astype(np.float32), _steep(z)]


def _ring(o: Array, d: Any) -> tuple[Array, Any]:
    outer, normal = _drum(o, d, RING)
    inner, x, y = _side(o, d, RING, inner=True)
    within = inner < outer
    return np.where(within, inner, outer), [
        np.where(within, -x, normal[0]), np.where(within, -y, normal[1]), np.where(within, 0, normal[2])
    ]  # fmt: skip


HITS: dict[str, Any] = {"ball": _ball, "box": _box, "drum": _drum, "ring": _ring}


# --- looks -----------------------------------------------------------------------------------------------------------


def _dot(n: Sequence[Array], v: Sequence[Any]) -> Array:
    return n[0] * v[0] + n[1] * v[1] + n[2] * v[2]


def _lights(part: Part) -> list[tuple[Vector, float]]:
    """Direction to each lamp from the part, and its brightness."""
    lights: list[tuple[Vector, float]] = []
    for place, power, _ in LAMPS:
        away = tuple(a - b for a, b in zip(place, part.place, strict=True))
        length = math.sqrt(sum(a * a for a in away))
        lights.append(((away[0] / length, away[1] / length, away[2] / length), power))
    return lights


def _diffuse(part: Part, n: Sequence[Array]) -> Array:
    total = 0.36 + 0.12 * n[2]
    for way, power in _lights(part):
        total = total + power * np.maximum(_dot(n, way), 0)
    return total


def _gloss(part: Part, n: Sequence[Array], view: Sequence[Array], squarings: int) -> tuple[Array, Sequence[Array]]:
    """(highlights of the lamps, reflected direction)."""
    twice = 2 * _dot(n, view)
    mirror = [twice * n[i] - view[i] for i in range(3)]
    total = np.zeros_like(n[0])
    for way, power in _lights(part):
        spot = np.maximum(_dot(mirror, way), 0)
        for _ in range(squarings):
            spot = spot * spot
        total = total + power * spot
    return total, mirror


def _base(part: Part) -> Array:
    return np.array(part.colour, dtype=np.float32)


def _rubber(part: Part, n: Sequence[Array], view: Sequence[Array], behind: Array, height: Array) -> Array:
    shade, (spot, _) = _diffuse(part, n), _gloss(part, n, view, 3)
    return (_base(part) * 1.12 + 6)[None, :] * shade[:, None] + 26 * spot[:, None]


def _metal(part: Part, n: Sequence[Array], view: Sequence[Array], behind: Array, height: Array) -> Array:
    spot, mirror = _gloss(part, n, view, 6)
    up = mirror[2]
    sky = np.clip(up * 3 + 0.35, 0, 1)  # a bright room above, the floor below, a sharp line between them
    room = 0.32 + 0.5 * sky - 0.28 * np.maximum(up, 0) * up
    window, _ = _gloss(part, n, view, 2)
    rim = 1 - np.maximum(_dot(n, view), 0)
    tint = (_base(part) * 1.15 + 16)[None, :]
    glow = room * (0.72 + 0.2 * height) + 0.3 * _diffuse(part, n) + 0.3 * window
    streak = np.clip(1 - 9 * (mirror[0] * 0.5 + mirror[1] * 0.86 - 0.25) ** 2, 0, 1) * (0.4 + 0.6 * sky)
    shine = 200 * spot + 46 * rim * rim * rim * sky + 30 * streak
    return tint * np.minimum(glow + 0.34 * streak, 1.25)[:, None] + shine[:, None]


def _glass(part: Part, n: Sequence[Array], view: Sequence[Array], behind: Array, height: Array) -> Array:
    spot, mirror = _gloss(part, n, view, 6)
    rim = 1 - np.maximum(_dot(n, view), 0)
    edge = (rim * rim)[:, None]
    inside = behind * (0.3 + 0.7 * _base(part) / 255) * 0.62 + _base(part)[None, :] * 0.42
    below = np.clip(-height * 0.8 + 0.1, 0, 1)[:, None]  # light gathers at the lower side
    inside = inside + _base(part)[None, :] * 0.4 * below
    shell = _base(part)[None, :] * 0.55 + 60 * np.clip(mirror[2], 0, 1)[:, None]
    return inside * (1 - 0.7 * edge) + shell * 0.7 * edge + 225 * spot[:, None]


LOOKS: dict[str, Any] = {"rubber": _rubber, "metal": _metal, "glass": _glass}


# --- the floor -------------------------------------------------------------------------------------------------------


def floor(camera: Camera, width: int, parts: Sequence[Part], square: bool, shine: float) -> Array:
    """The floor (H, W, 3) with shadows, cast at a quarter of the resolution and smoothed; `square` draws TRANCE's."""
    step = max(1, width // 112)
    view = View.__new__(View)
    view.camera, view.width, view._axes = camera, width, camera.axes
    height = round(width * camera.aspect)
    ray = view.rays(slice(0, height), slice(0, width), step)
    down = np.minimum(ray[2], np.float32(-0.02))
    far = -camera.eye[2] / down
    x, y = camera.eye[0] + far * ray[0], camera.eye[1] + far * ray[1]
    away = (x - 1.0) ** 2 + (y + 0.5) ** 2
    light = (0.62 + 0.42 / (1 + 0.016 * away)) * shine
    for place, blur, dark, lamp in _shadows(parts):
        light = light * (1 - dark * _shadow(x, y, place, blur, lamp))
    rgb = np.stack([light * 176, light * 175, light * 174], axis=-1)
    planes = [
        np.asarray(Image.fromarray(rgb[..., i]).resize((width, height), Image.Resampling.BICUBIC)) for i in range(3)
    ]
    ground = np.stack(planes, axis=-1)
    return _with_square(ground, camera, width) if square else ground


def _shadows(parts: Sequence[Part]) -> list[tuple[Vector, float, float, Vector | None]]:
    """(centre, radius, darkness, lamp) of each soft shadow; no lamp: the dark where a thing meets the floor."""
    found: list[tuple[Vector, float, float, Vector | None]] = []
    for part in parts:
        lengths = sorted(math.sqrt(sum(n * n for n in axis)) for axis in part.axes)
        radius = 0.5 * (lengths[1] + lengths[2]) * (0.62 if part.shape == "ring" else 1.0)
        thin = min(1.0, 2.2 * lengths[0] / max(lengths[2], 1e-6)) if part.shape == "box" else 1.0
        light = 0.6 if part.material == "glass" else 1.0
        for place, _, dark in LAMPS:
            if dark:
                found.append((part.place, radius, dark * light * max(thin, 0.5), place))
        if part.place[2] < 1.6 * radius:
            found.append(((part.place[0], part.place[1], 0.0), radius, 0.4 * light, None))
    return found


def _shadow(x: Array, y: Array, place: Vector, radius: float, lamp: Vector | None) -> Array:
    """How much of the light the ball of `radius` at `place` takes from the floor points (x, y): 0 to 1, smooth."""
    if lamp is None:
        distance2 = (x - place[0]) ** 2 + (y - place[1]) ** 2
        inner, outer = (0.75 * radius) ** 2, (1.35 * radius) ** 2
    else:
        to = [lamp[0] - x, lamp[1] - y, np.float32(lamp[2])]
        away = [place[0] - x, place[1] - y, np.float32(place[2])]
        along = away[0] * to[0] + away[1] * to[1] + away[2] * to[2]
        length2 = to[0] ** 2 + to[1] ** 2 + to[2] ** 2
        distance2 = away[0] ** 2 + away[1] ** 2 + away[2] ** 2 - along * along / length2
        inner, outer = (0.55 * radius) ** 2, (1.25 * radius) ** 2
    share = np.clip((outer - distance2) / (outer - inner), 0, 1)
    return share * share * (3 - 2 * share)


def _with_square(ground: Array, camera: Camera, width: int) -> Array:
    """The faint line around the part of the floor where things are drawn (3 world units each way)."""
    from PIL import ImageDraw

    mask = Image.new("L", (ground.shape[1], ground.shape[0]), 0)
    corners = [camera.project(x, y, 0.0)[:2] for x, y in ((3, 3), (3, -3), (-3, -3), (-3, 3), (3, 3))]
    ImageDraw.Draw(mask).line([(u * width, v * width) for u, v in corners], fill=90, width=max(1, width // 200))
    share = np.asarray(mask, dtype=np.float32)[..., None] / 255
    return ground * (1 - share) + 238 * share
