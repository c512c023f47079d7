"""The canvas: normalised coordinates, local frames, two styles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.worlds.canvas import INK, PAPER, STYLES, Canvas, mix, smooth

channel = st.integers(0, 255)
colours = st.tuples(channel, channel, channel)


def red(canvas: Canvas) -> np.ndarray:
    """Where the finished picture is mostly red, (size, size) booleans."""
    pixels = np.asarray(canvas.finish(), int)
    return (pixels[..., 0] > 150) & (pixels[..., 1] < 120)


def test_coordinates_run_from_0_to_1_at_any_size() -> None:
    for size in (40, 200):
        canvas = Canvas(size)
        canvas.rect(0.25, 0.5, 0.75, 1.0, (255, 0, 0))
        rows, columns = np.nonzero(red(canvas))
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / size
        assert found == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=1.5 / size)


@pytest.mark.parametrize("flip", [False, True])
def test_a_pen_draws_where_its_box_says_also_when_mirrored_and_nested(flip: bool) -> None:
    canvas = Canvas(200)
    pen = canvas.at(0.4, 0.5, 0.5, flip=flip).at(0.2, 0.1, 0.4, flip=True)
    pen.rect(0.1, -0.5, 0.6, 0.5, (255, 0, 0))
    rows, columns = np.nonzero(red(canvas))
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 200
    assert found == pytest.approx(pen.box(0.1, -0.5, 0.6, 0.5), abs=0.01)


def test_ink_outlines_and_paint_does_not() -> None:
    dark = {}
    for style in STYLES:
        canvas = Canvas(100, style=style)
        canvas.ellipse(0.5, 0.5, 0.3, 0.3, (240, 200, 120))
        dark[style] = int((np.asarray(canvas.finish(), int).sum(axis=2) < 450).sum())
    assert dark["paint"] == 0 and dark["ink"] > 50
    assert Canvas(8, style="ink").washed((0, 0, 255)) != (0, 0, 255) == Canvas(8).washed((0, 0, 255))


def test_the_seed_fixes_the_wobble() -> None:
    pictures = []
    for seed in (1, 1, 2):
        canvas = Canvas(60, style="ink", seed=seed)
        canvas.ellipse(0.5, 0.5, 0.3, 0.2, (200, 60, 60), angle=30)
        pictures.append(canvas.finish().tobytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_gradient_and_veil_keep_to_their_rows() -> None:
    canvas = Canvas(100)
    canvas.gradient(0.2, 0.6, (0, 0, 0), (200, 200, 200))
    pixels = np.asarray(canvas.finish(), int)
    assert (pixels[:19] == PAPER).all() and (pixels[61:] == PAPER).all()
    middle = pixels[21:59, 50, 0]
    assert (np.diff(middle) >= 0).all() and middle[0] < 30 and middle[-1] > 170
    canvas.veil((255, 255, 255), 1.0, 0.3, 0.5)
    veiled = np.asarray(canvas.finish(), int)
    assert (veiled[31:49] == 255).all() and (veiled[:29] == pixels[:29]).all() and (veiled[51:] == pixels[51:]).all()


@given(colours, colours)
def test_mix_runs_from_the_first_to_the_second(first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
    assert mix(first, second, 0.0) == first and mix(first, second, 1.0) == second
    assert all(min(a, b) <= m <= max(a, b) for a, b, m in zip(first, second, mix(first, second, 0.3), strict=True))


@pytest.mark.parametrize("closed", [True, False])
def test_a_spline_passes_through_its_points(closed: bool) -> None:
    points = [(0.0, 0.0), (1.0, 0.2), (0.8, 0.9), (0.1, 0.7)]
    curve = smooth(points, closed, steps=4)
    assert np.allclose([curve[4 * k] for k in range(3)], points[:3])
    assert len(curve) == (16 if closed else 13)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="style 'oil'"):
        Canvas(8, style="oil")
    assert INK != PAPER
