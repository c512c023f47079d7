"""Visual-RFT's and VLM-R1's box rewards: by hand from their code, an oracle for mAP, and what can be made to pay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.rewards.detection import Labelled
from rise_vlm.rewards.published_boxes import (
    Found,
    mean_average_precision,
    visual_rft_confidence,
    visual_rft_iou,
    visual_rft_matches,
    vlm_r1_iou,
    vlm_r1_odlength,
    vlm_r1_weighted_sum,
)
from rise_vlm.tasks.detection_coco import coco_figures

A, B, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (50.0, 50.0, 60.0, 60.0)
A80, A60, A50 = (0.0, 0.0, 8.0, 10.0), (0.0, 0.0, 6.0, 10.0), (0.0, 0.0, 5.0, 10.0)
"""Boxes within A, their IoU with it 0.8, 0.6 and 0.5."""

OVER_LISTS = (visual_rft_iou, visual_rft_confidence, vlm_r1_odlength, vlm_r1_weighted_sum)

spans = st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda s: s[0] != s[1])
boxes = st.tuples(spans, spans).map(lambda s: (min(s[0]), min(s[1]), max(s[0]), max(s[1])))
truths = st.lists(st.builds(Labelled, st.sampled_from(["car", "dog"]), boxes), max_size=5)
sure = st.none() | st.floats(-5, 5)
founds = st.lists(st.builds(Found, st.sampled_from(["car", "dog", "cow", None]), boxes, sure), max_size=5)


def cars(*boxes, label="car"):
    return [Labelled(label, box) for box in boxes]


def found(*boxes, label="car", sure=0.9):
    return [Found(label, box, sure) for box in boxes]


def test_visual_rft_by_hand():
    assert visual_rft_iou(cars(A), found(A80)) == pytest.approx(0.8)
    assert visual_rft_iou(cars(A), found(A80, FAR)) == pytest.approx(0.4)
    assert visual_rft_iou(cars(A, B), found(A80)) == pytest.approx(0.4)
    assert visual_rft_iou(cars(A), found(A50)) == 0.0  # more than 0.5 is asked for
    assert visual_rft_iou(cars(A), found(A80, label="dog")) == 0.0
    assert visual_rft_confidence(cars(A), found(A80, sure=0.7)) == pytest.approx(0.7)
    assert visual_rft_confidence(cars(A), found(FAR, sure=0.7)) == pytest.approx(0.3)
    assert visual_rft_confidence(cars(A), [*found(A, sure=1.0), *found(FAR, sure=0.2)]) == pytest.approx(0.9)


def test_the_surest_box_takes_first_and_one_given_twice_counts_once():
    both = [Found("car", A60, 0.3), Found("car", A80, 0.9)]
    assert visual_rft_matches(cars(A), both) == [(0.8, 0.9), (0.0, 0.3)]
    assert visual_rft_matches(cars(A), [*found(A80), *found(A80, sure=0.1)]) == [(0.8, 0.9)]


def test_a_confidence_outside_0_to_1_gains_nothing_and_none_stated_earns_none():
    assert visual_rft_confidence(cars(A), found(FAR, sure=-5.0)) == visual_rft_confidence(cars(A), found(FAR, sure=0.0))
    assert visual_rft_confidence(cars(A), found(A, sure=50.0)) == 1.0
    assert visual_rft_confidence(cars(A), found(A, sure=None)) == 0.0
    assert visual_rft_iou(cars(A), found(A, sure=None)) == 1.0


def test_confidence_alone_pays_for_wrong_boxes():
    spray = [box for x in range(9) for box in found((x, 90.0, x + 1.0, 91.0), sure=0.0)]
    assert visual_rft_confidence(cars(A), spray) == 1.0  # as in the paper: never a reward on its own
    assert visual_rft_iou(cars(A), spray) == 0.0


def test_vlm_r1_iou_is_of_one_box():
    assert vlm_r1_iou(A, found(A60)) == pytest.approx(0.6)
    assert vlm_r1_iou(A, found(FAR)) == vlm_r1_iou(A, []) == vlm_r1_iou(A, found(A, FAR)) == 0.0


def test_odlength_by_hand():
    assert vlm_r1_odlength(cars(A), found(A)) == pytest.approx(1.0)
    assert vlm_r1_odlength(cars(A), found(A80)) == pytest.approx(0.7)  # right at 0.50 to 0.80, seven of ten
    assert vlm_r1_odlength(cars(A), found(A, FAR)) == pytest.approx(0.5)  # AP 1, twice as many
    assert vlm_r1_odlength(cars(A), found(FAR, A)) == pytest.approx(0.25)  # the wrong one ranks first
    assert vlm_r1_odlength(cars(A, B), found(A)) == pytest.approx(51 / 101)  # recalls 0 to 0.5


def test_weighted_sum_by_hand():
    assert vlm_r1_weighted_sum(cars(A), found(A80)) == pytest.approx(0.7 * 0.8 + 0.3)
    assert vlm_r1_weighted_sum(cars(A, B), found(A)) == pytest.approx(0.7 * 0.5 + 0.3 * 0.75)
    assert vlm_r1_weighted_sum(cars(A), found(A, FAR)) == pytest.approx(0.7 + 0.3 * 0.75)
    assert vlm_r1_weighted_sum(cars(A), found(FAR)) == pytest.approx(0.0)
    assert vlm_r1_weighted_sum(cars(A), found(A, label="dog")) == pytest.approx(0.3)  # paired, its IoU not counted
    assert vlm_r1_weighted_sum(cars(A), found(A50)) == pytest.approx(0.7 * 0.5 + 0.3)  # from 0.5 on


def test_the_weighted_sum_alone_pays_for_wrong_labels_and_for_spray():
    """As in VLM-R1's code: never a reward on its own."""
    truth = [Labelled("car", A), Labelled("dog", B)]
    spray = [(x, 90.0, x + 1.0, 91.0) for x in range(98)]
    one_right = vlm_r1_weighted_sum(truth, found(A))
    assert one_right == pytest.approx(0.575)
    assert vlm_r1_weighted_sum(truth, [*found(A, label="dog"), *found(B)]) == pytest.approx(0.3)  # swapped
    assert vlm_r1_weighted_sum(truth, [Found(None, A), Found(None, B)]) == pytest.approx(0.3)
    assert vlm_r1_weighted_sum(truth, found(A, B, *spray)) == pytest.approx(0.503)  # all are cars
    labelled = [*found(A), *found(B, *spray, label="dog")]
    assert vlm_r1_weighted_sum(truth, labelled) == pytest.approx(0.853)
    assert vlm_r1_weighted_sum(truth, labelled) > one_right
    assert all(visual_rft_iou(truth, each) <= 0.02 for each in (found(A, B, *spray), labelled, found(FAR)))


@pytest.mark.parametrize("reward", OVER_LISTS)
def test_both_empty_earn_all_and_one_empty_nothing(reward):
    assert reward([], []) == 1.0
    assert reward(cars(A), []) == 0.0
    if reward is not visual_rft_confidence:  # which pays for a low confidence
        assert reward([], found(A)) == 0.0


@given(truths.filter(bool), founds)
def test_an_invented_class_costs(truth, answer):
    """With fewer boxes than are true, too, where the factor for too many says nothing. The weighted sum may stay."""
    invented = Found("cow", (40.0, 40.0, 50.0, 50.0), 0.5)
    answer = [one for one in answer if one.label in ("car", "dog")]
    for reward in (visual_rft_iou, vlm_r1_odlength, vlm_r1_weighted_sum):
        before, after = reward(truth, answer), reward(truth, [*answer, invented])
        assert after <= before
    if mean_average_precision(truth, answer) > 0:
        assert vlm_r1_odlength(truth, [*answer, invented]) < vlm_r1_odlength(truth, answer)


@given(truths, founds)
def test_rewards_are_within_0_and_1(truth, answer):
    assert all(0.0 <= reward(truth, answer) <= 1.0 for reward in OVER_LISTS)


@given(truths.filter(bool))
def test_the_truth_earns_all(truth):
    truth = list(dict.fromkeys(truth))
    answer = [Found(one.label, one.box, 1.0) for one in truth]
    assert all(reward(truth, answer) == pytest.approx(1.0) for reward in (visual_rft_iou, visual_rft_confidence))
    assert vlm_r1_odlength(truth, answer) == pytest.approx(1.0)


@given(truths.filter(bool), founds)
def test_map_is_cocos(truth, answer):
    answer = [one for one in answer if one.label in {one.label for one in truth}]
    rows = [[{"label": one.label, "box": one.box} for one in side] for side in (truth, answer)]
    ap = coco_figures([(rows[0], rows[1])], ["car", "dog"])["ap"]
    assert mean_average_precision(truth, answer) == pytest.approx(max(0.0, ap), abs=1e-9)
