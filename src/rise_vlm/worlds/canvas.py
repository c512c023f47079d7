"""Drawing primitives for the worlds: shapes in normalised coordinates, in two styles.

A `Canvas` is a square picture whose coordinates run from 0 to 1, x to the right and y down. `at` gives a local
`Pen` with its own origin and scale, so that a thing is drawn once, in a box from -1 to 1, and placed anywhere.
Everything is drawn `supersample` times too large and reduced at the end, so the same calls give the same picture
at any size. Two styles: `paint` (flat soft colours, no outlines) and `ink` (wobbly dark outlines and pale washes on
paper). Left out: text, blending modes, curves other than ellipses and Catmull-Rom splines.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

STYLES = ("paint", "ink")
PAPER: Colour = (247, 241, 226)
INK: Colour = (43, 38, 48)
_CIRCLE = tuple((math.cos(2 * math.pi * k / 28), math.sin(2 * math.pi * k / 28)) for k in range(28))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` (0 to 1) of `second` stirred in."""
    a, b = first, second
    keep = 1.0 - share
    return (
        int(a[0] * keep + b[0] * share + 0.5),
        int(a[1] * keep + b[1] * share + 0.5),
        int(a[2] * keep + b[2] * share + 0.5),
    )


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 5) -> list[Point]:
    """A Catmull-Rom spline through `points`, with `steps` segments between neighbours."""
    count = len(points)
    spans = count if closed else count - 1
    out: list[Point] = []
    for i in range(spans):
        if closed:
            p0, p1, p2, p3 = points[i - 1], points[i], points[(i + 1) % count], points[(i + 2) % count]
        else:
            p0, p1, p2, p3 = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, count - 1)]
        for k in range(steps):
            t = k / steps
            a = ((-t + 2) * t - 1) * t / 2
            b = ((3 * t - 5) * t * t + 2) / 2
            c = ((-3 * t + 4) * t + 1) * t / 2
            d = (t - 1) * t * t / 2
            out.append((a * p0[0] + b * p1[0] + c * p2[0] + d * p3[0], a * p0[1] + b * p1[1] + c * p2[1] + d * p3[1]))
    if not closed:
        out.append(points[-1])
    return out


class Pen:
    """Draws in a local frame: local (x, y) lies at `origin + scale * (x, y)` of the canvas, mirrored by `flip`.

    Widths are local too. `fill` and `line` colours are RGB; the style decides how they appear.
    """

    def __init__(self, canvas: Canvas, x: float, y: float, scale: float, flip: bool = False) -> None:
        self.canvas, self.x, self.y, self.scale, self.flip = canvas, x, y, scale, flip
        self._k = canvas.pixels * scale
        self._kx = -self._k if flip else self._k
        self._ox, self._oy = canvas.pixels * x, canvas.pixels * y

    def at(self, x: float, y: float, scale: float = 1.0, flip: bool = False) -> Pen:
        """A pen inside this pen's frame."""
        across = -x if self.flip else x
        return Pen(self.canvas, self.x + self.scale * across, self.y + self.scale * y, self.scale * scale,
                   self.flip != flip)  # fmt: skip

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        """The local box in normalised canvas coordinates, left < right."""
        xs = sorted(self.x + (-v if self.flip else v) * self.scale for v in (x0, x1))
        return (xs[0], self.y + y0 * self.scale, xs[1], self.y + y1 * self.scale)

    def shape(self, points: Sequence[Point], fill: Colour | None, outline: bool = True, width: float | None = None,
              edge: Colour | None = None) -> None:  # fmt: skip
        """A closed polygon. `ink` outlines it unless `outline` is off; `edge` draws an outline in both styles."""
        ox, oy, kx, ky = self._ox, self._oy, self._kx, self._k
        self.canvas.polygon([(ox + kx * x, oy + ky * y) for x, y in points], fill, outline,
                            None if width is None else width * ky, edge)  # fmt: skip

    def blob(self, points: Sequence[Point], fill: Colour | None, outline: bool = True, steps: int = 5,
             edge: Colour | None = None, width: float | None = None) -> None:  # fmt: skip
        """A closed smooth shape through `points`."""
        self.shape(smooth(points, True, steps), fill, outline, width, edge)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float | None = None, fill: Colour | None = None,
                outline: bool = True, angle: float = 0.0, edge: Colour | None = None,
                width: float | None = None) -> None:  # fmt: skip
        """An ellipse (a circle when `ry` is left out), turned by `angle` degrees."""
        ry = rx if ry is None else ry
        if angle:
            c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            points = [(cx + rx * u * c - ry * v * s, cy + rx * u * s + ry * v * c) for u, v in _CIRCLE]
        else:
            points = [(cx + rx * u, cy + ry * v) for u, v in _CIRCLE]
        self.shape(points, fill, outline, width, edge)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None, radius: float = 0.0,
             outline: bool = True, edge: Colour | None = None, width: float | None = None) -> None:  # fmt: skip
        """A rectangle, its corners rounded by `radius`."""
        if not radius:
            self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, outline, width, edge)
            return
        r, points = radius, []
        corners = ((x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180))
        for cx, cy, start in corners:
            for k in range(5):
                turn = math.radians(start + 22.5 * k)
                points.append((cx + r * math.cos(turn), cy + r * math.sin(turn)))
        self.shape(points, fill, outline, width, edge)

    def line(self, points: Sequence[Point], colour: Colour, width: float, soft: bool = False) -> None:
        """An open line with round ends and joints; `soft` runs a spline through the points."""
        if soft:
            points = smooth(points, False)
        ox, oy, kx, ky = self._ox, self._oy, self._kx, self._k
        self.canvas.stroke([(ox + kx * x, oy + ky * y) for x, y in points], colour, width * ky)

    def limb(self, points: Sequence[Point], fill: Colour, width: float, soft: bool = True) -> None:
        """A thick filled line (arm, leg, stem): in `ink` it gets an outline."""
        if self.canvas.style == "ink":
            self.line(points, INK, width + 2 * self.canvas.nib / self._k, soft)
            self.line(points, self.canvas.washed(fill), width, soft)
        else:
            self.line(points, fill, width, soft)

    def arc(self, cx: float, cy: float, rx: float, ry: float, start: float, end: float, colour: Colour,
            width: float) -> None:  # fmt: skip
        """Part of an ellipse's rim, from `start` to `end` degrees (0 is right, 90 is down)."""
        turns = [math.radians(start + (end - start) * k / 10) for k in range(11)]
        self.line([(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns], colour, width)


class Canvas(Pen):
    """A square picture in one of `STYLES`; also the pen whose frame is the whole picture, (0, 0) to (1, 1).

    `seed` fixes the wobble of the ink lines. `finish` returns the RGB picture, `size` pixels wide and high.
    """

    def __init__(self, size: int, supersample: int = 2, style: str = "paint", seed: int = 0,
                 background: Colour = PAPER) -> None:  # fmt: skip
        if style not in STYLES:
            raise ValueError(f"style {style!r} is not one of {', '.join(STYLES)}")
        self.size, self.style, self.pixels = size, style, size * supersample
        self.image = Image.new("RGB", (self.pixels, self.pixels), background)
        self.pencil = ImageDraw.Draw(self.image)
        self.nib = self.pixels * 0.0054
        self.slip = self.pixels * 0.0045 if style == "ink" else 0.0  # the wash misses its outline a little
        wobble = random.Random(seed)
        self._wobble = [wobble.uniform(-1.0, 1.0) * self.pixels * 0.0028 for _ in range(97)]
        self._turn = 0
        super().__init__(self, 0.0, 0.0, 1.0)

    def washed(self, colour: Colour) -> Colour:
        """How a fill appears in this style: as it is in paint, as a pale, aged wash in ink."""
        if self.style == "paint":
            return colour
        grey = (colour[0] * 3 + colour[1] * 6 + colour[2]) // 10
        return mix(mix(colour, (grey, grey, max(0, grey - 24)), 0.22), PAPER, 0.2)

    def polygon(self, points: list[Point], fill: Colour | None, outline: bool, width: float | None,
                edge: Colour | None) -> None:  # fmt: skip
        """A closed polygon in pixels of the enlarged picture."""
        if fill is not None:
            slip = self.slip
            under = [(x + slip, y + slip) for x, y in points] if slip and outline else points
            self.pencil.polygon(under, fill=self.washed(fill))
        if self.style == "ink" and outline:
            points = self._shaken(points)
            self.stroke([*points, points[0]], INK if edge is None else self.washed(edge), width or self.nib)
        elif edge is not None:
            self.stroke([*points, points[0]], edge, width or self.nib)

    def stroke(self, points: list[Point], colour: Colour, width: float) -> None:
        """An open line in pixels of the enlarged picture, round at joints and ends."""
        if width < 1.5:
            self.pencil.line(points, fill=colour, width=1)
            return
        self.pencil.line(points, fill=colour, width=max(1, round(width)))
        if width > 3:
            r = width / 2 - 0.5
            for x, y in points:
                self.pencil.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour) -> None:
        """Fill the rows from y0 to y1, full width, from one colour to the other."""
        start, stop = round(y0 * self.pixels), round(y1 * self.pixels)
        if stop <= start:
            return
        if self.style == "ink":
            top, bottom = (mix(self.washed(colour), PAPER, 0.24 * max(colour) / 255) for colour in (top, bottom))
        column = Image.new("RGB", (1, 16))
        column.putdata([mix(top, bottom, k / 15) for k in range(16)])
        self.image.paste(column.resize((1, stop - start), Image.Resampling.BILINEAR)
                         .resize((self.pixels, stop - start)), (0, start))  # fmt: skip

    def veil(self, colour: Colour, share: float, y0: float = 0.0, y1: float = 1.0) -> None:
        """Blend a colour over the rows from y0 to y1 (fog, dusk)."""
        start, stop = round(y0 * self.pixels), round(y1 * self.pixels)
        band = self.image.crop((0, start, self.pixels, stop))
        self.image.paste(Image.blend(band, Image.new("RGB", band.size, colour), share), (0, start))

    def finish(self) -> Image.Image:
        """The picture at its final size."""
        factor = self.pixels // self.size
        return self.image.reduce(factor) if factor > 1 else self.image

    def _shaken(self, points: list[Point]) -> list[Point]:
        self._turn += 7
        w, t = self._wobble, self._turn
        return [(x + w[(t + k) % 97], y + w[(t + 31 + k) % 97]) for k, (x, y) in enumerate(points)]
