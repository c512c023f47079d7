"""AP of drawn images is that of the evaluator on the list of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.detection_coco import coco_figures
from rise_vlm.tasks.detection_ranked import Ranked

CLASSES = ["car", "dog", "bus", "cow"]


def images(rng: random.Random, count: int, scored: bool) -> list[tuple]:
    """(true, found) boxes: found ones near the true ones, some twice, some missing, some of thin air."""

    def thing(label: str, box: list[float]) -> dict:
        return {"label": label, "box": box} | ({"score": round(rng.random(), 1)} if scored else {})

    pairs = []
    for _ in range(count):
        truth, found = [], []
        for _ in range(rng.randrange(5)):
            label, x, y = rng.choice(CLASSES[:3]), rng.randrange(300), rng.randrange(300)
            box = [x, y, x + rng.randrange(10, 90), y + rng.randrange(10, 90)]
            truth.append({"label": label, "box": box})
            near = [[n + rng.choice([-8, -2, 0, 0, 3]) for n in box] for _ in range(rng.randrange(3))]
            found += [thing(label, one) for one in near]
        found += [thing(rng.choice(CLASSES), [5, 5, 50, 60]) for _ in range(rng.randrange(2))]
        pairs.append((truth, None if rng.random() < 0.1 else found))
    return pairs


@pytest.mark.parametrize("scored", [False, True])
def test_a_draw_has_the_figures_of_the_drawn_list(scored: bool) -> None:
    pairs = images(random.Random(int(scored)), 25, scored)
    ranked, rng = Ranked(pairs, CLASSES), np.random.default_rng(0)
    for drawn in [np.arange(25), *(np.sort(rng.integers(25, size=25)) for _ in range(8)), np.array([3, 3, 3, 1])]:
        direct = coco_figures([pairs[i] for i in drawn], CLASSES)
        assert ranked.figures(drawn) == pytest.approx({name: direct[name] for name in ("ap", "ap50")}, abs=1e-9)


def test_more_boxes_than_count_and_a_tie_of_overlaps_are_the_evaluator_s() -> None:
    true = [{"label": "car", "box": [0, 0, 40, 40]}, {"label": "car", "box": [20, 0, 60, 40]}]
    between = {"label": "car", "box": [10, 0, 50, 40]}
    spray = [{"label": "car", "box": [200, 200, 210 + n, 220]} for n in range(99)]
    for found in ([between, true[1]], [between, true[0]], [*spray, *true], [*true, *spray]):
        pairs = [(true, found)]
        direct = coco_figures(pairs, CLASSES)
        figures = Ranked(pairs, CLASSES).figures(np.array([0]))
        assert figures == pytest.approx({name: direct[name] for name in ("ap", "ap50")}, abs=1e-9)


def test_images_without_a_true_box_leave_it_undefined() -> None:
    task = Detection(CLASSES)
    pairs = [([], [{"label": "car", "box": [0, 0, 9, 9]}]), ([{"label": "dog", "box": [0, 0, 9, 9]}], None)]
    assert task.ranked(pairs).figures(np.array([0, 0])) == {}
    assert task.ranked(pairs).figures(np.array([0, 1])) == {"ap": 0.0, "ap50": 0.0}
