"""The cameras of CLEVR and TRANCE: points of the world to points of a picture.

World: metres on a ground plane z = 0. Picture: (u, v) in parts of its width, v down, the optical axis at (0.5, middle).
The lens is CLEVR's, 35 mm on a 32 mm sensor. Source: base_scene.blend of clevr-dataset-gen and of TVR. Left out: lens
distortion, depth of field, camera roll.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

Vector = tuple[float, float, float]

FOCAL = 35.0 / 32.0
"""Focal length in picture widths."""

CLEVR: Vector = (7.481, -6.508, 5.344)
CENTER: Vector = (9.481, 0.0, 6.344)
LEFT: Vector = (7.481, -6.508, 6.344)
RIGHT: Vector = (7.481, 6.508, 6.344)
VIEWS: dict[str, Vector] = {"center": CENTER, "left": LEFT, "right": RIGHT}


@dataclass(frozen=True)
class Camera:
    """Looks from ``eye`` at the origin. ``zoom`` enlarges the picture about its middle, ``lift`` then moves it up (in
    widths); ``aspect`` is height / width.
    """

    eye: Vector = CLEVR
    zoom: float = 1.0
    lift: float = 0.0
    aspect: float = 1.0

    @property
    def focal(self) -> float:
        """In picture widths."""
        return FOCAL * self.zoom

    @property
    def middle(self) -> tuple[float, float]:
        """Where the optical axis meets the picture."""
        return 0.5, self.aspect / 2 - self.lift

    @cached_property
    def axes(self) -> tuple[Vector, Vector, Vector]:
        """(forward, right, up), unit vectors."""
        x, y, z = self.eye
        far, ground = math.sqrt(x * x + y * y + z * z), math.hypot(x, y)
        forward = (-x / far, -y / far, -z / far)
        right = (-y / ground, x / ground, 0.0)
        up = (-x / ground * z / far, -y / ground * z / far, ground / far)
        return forward, right, up

    def project(self, x: float, y: float, z: float) -> Vector:
        """(u, v, depth) of a point; u and v in picture widths."""
        forward, right, up = self.axes
        x, y, z = x - self.eye[0], y - self.eye[1], z - self.eye[2]
        depth = x * forward[0] + y * forward[1] + z * forward[2]
        across = x * right[0] + y * right[1]
        above = x * up[0] + y * up[1] + z * up[2]
        u, v = self.middle
        return u + self.focal * across / depth, v - self.focal * above / depth, depth
