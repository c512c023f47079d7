"""Labelled boxes earn the best class-aware matching's IoU over the larger number of boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from rise_vlm.rewards.boxes import iou
from rise_vlm.rewards.detection import Labelled, detection_score, hits, iou_matrix, matched_ious

spans = st.tuples(st.integers(0, 20), st.integers(0, 20))
boxes = st.tuples(spans, spans).map(lambda s: (min(s[0]), min(s[1]), max(s[0]), max(s[1])))
things = st.lists(st.builds(Labelled, st.sampled_from(["car", "dog"]), boxes), max_size=6).map(tuple)


@given(st.lists(boxes, min_size=1, max_size=4), st.lists(boxes, min_size=1, max_size=4))
def test_the_matrix_is_made_of_single_ious(truth, found):
    matrix = iou_matrix(truth, found)
    assert matrix == pytest.approx(np.array([[iou(a, b) for b in found] for a in truth]))


def oracle(truth, found, worth):
    """The best matching by scipy over all boxes at once, pairs of two classes being worth nothing."""
    if not truth or not found:
        return 0.0
    matrix = np.array([[worth(iou(a.box, b.box)) * (a.label == b.label) for b in found] for a in truth])
    return matrix[linear_sum_assignment(matrix, maximize=True)].sum()


@given(things, things)
def test_the_score_is_scipys(truth, found):
    most = max(len(truth), len(found))
    expected = oracle(truth, found, float) / most if most else 1.0
    assert detection_score(truth, found) == pytest.approx(expected)
    assert hits(truth, found) == oracle(truth, found, lambda overlap: float(overlap >= 0.5))


@given(things, things, st.randoms())
def test_scores_are_bounded_symmetric_and_blind_to_order(truth, found, rng):
    score = detection_score(truth, found)
    assert 0 <= score <= 1
    assert detection_score(found, truth) == pytest.approx(score)
    shuffled = rng.sample(found, len(found))
    assert detection_score(truth, shuffled) == pytest.approx(score)


@given(things)
def test_the_truth_scores_one_where_every_box_has_area(truth):
    solid = [one for one in truth if one.box[0] < one.box[2] and one.box[1] < one.box[3]]
    assert detection_score(solid, solid) == 1


def test_the_matching_is_the_best_and_not_the_greedy_one():
    truth = [Labelled("car", (0, 0, 10, 10)), Labelled("car", (4, 0, 14, 10))]
    found = [Labelled("car", (1.9, 0, 11.9, 10)), Labelled("car", (-3, 0, 7, 10))]
    greedy = iou(truth[0].box, found[0].box) + iou(truth[1].box, found[1].box)
    best = iou(truth[1].box, found[0].box) + iou(truth[0].box, found[1].box)
    assert detection_score(truth, found) == pytest.approx(best / 2)
    assert greedy < 0.8 * best


def test_hits_prefer_two_passable_pairs_to_a_perfect_one():
    truth = [Labelled("car", (0, 0, 100, 10)), Labelled("car", (30, 0, 130, 10))]
    found = [Labelled("car", (30, 0, 130, 10)), Labelled("car", (60, 0, 160, 10))]
    assert hits(truth, found) == 2
    assert len(matched_ious(truth, found, at_least=0.6)) == 1


def test_a_box_is_matched_within_its_class_only():
    box = (0, 0, 10, 10)
    assert detection_score([Labelled("cat", box)], [Labelled("catfish", box)]) == 0
    assert detection_score([Labelled("cat", box), Labelled("catfish", box)], [Labelled("cat", box)]) == 0.5


@pytest.mark.parametrize("swapped", [(10, 0, 0, 10), (0, 10, 10, 0), (10, 10, 0, 0)])
def test_swapped_corners_overlap_nothing(swapped):
    assert detection_score([Labelled("car", (0, 0, 10, 10))], [Labelled("car", swapped)]) == 0
