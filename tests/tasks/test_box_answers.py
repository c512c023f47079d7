"""Boxes in the spelling of other papers are read from the raw completion, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.policy.frames import ResizedPixels
from rise_vlm.rewards.published_boxes import Found
from rise_vlm.tasks.base import bare_answer, think_answer
from rise_vlm.tasks.box_answers import found_boxes, read_boxes

VISUAL_RFT = "[{'Position': [254, 303, 291, 365], 'Confidence': 0.9},\n {'Position': [1, 1, 20, 20], 'Confidence': 1}]"
VLM_R1 = '```json\n[\n{"bbox_2d": [1, 2, 30, 40], "label": "Traffic_Light"}\n]\n```'


def test_visual_rfts_spelling():
    said = read_boxes(think_answer("Two of them.", VISUAL_RFT))
    assert said == [Found(None, (254, 303, 291, 365), 0.9), Found(None, (1, 1, 20, 20), 1.0)]


def test_vlm_r1s_spelling():
    assert read_boxes(think_answer("One.", VLM_R1)) == [Found("traffic light", (1, 2, 30, 40))]
    assert read_boxes(bare_answer('{"bbox_2d": [1, 2, 30, 40]}')) == [Found(None, (1, 2, 30, 40))]


def test_our_own_spelling_states_no_confidence():
    assert read_boxes(bare_answer("car: [1, 2, 30, 40]; dog: [5, 6, 7, 8]")) == [
        Found("car", (1, 2, 30, 40)),
        Found("dog", (5, 6, 7, 8)),
    ]
    assert read_boxes(bare_answer("[1, 2, 30, 40]")) == [Found(None, (1, 2, 30, 40))]


@pytest.mark.parametrize("text", ["None", "none", "No Objects", "No objects.", "[]", "```json\n[]\n```"])
def test_nothing_found(text):
    assert read_boxes(bare_answer(text)) == []


@pytest.mark.parametrize(
    "completion",
    [
        "",
        VISUAL_RFT,
        "<answer></answer>",
        "<answer>" + VISUAL_RFT,
        bare_answer(VISUAL_RFT) * 2,
        bare_answer(VISUAL_RFT[:-1]),
        bare_answer("[1, 2, 3]"),
        bare_answer("[{'Position': [1, 2, 3, NaN], 'Confidence': 0.9}]"),
        bare_answer("[{'Position': [1, 2, 3, 4], 'Confidence': NaN}]"),
        bare_answer("[{'Position': [1, 2, 3, 4], 'Confidence': 'high'}]"),
        bare_answer("[{'Position': [1, 2, 3, 1e300]}]"),
        bare_answer("[{'Position': [1, 2, 3, true]}]"),
        bare_answer('[{"bbox_2d": [1, 2, 3, 4], "label": 7}]'),
        bare_answer('[{"label": "car"}]'),
        bare_answer("[" * 100_000),
        bare_answer("[" + "1" * 10_000 + "]"),
        bare_answer("[3, 4]"),
        bare_answer("```json\n```"),
    ],
)
def test_what_is_broken_or_doubled_is_not_read(completion):
    assert read_boxes(completion) is None


@given(st.text())
def test_any_text_is_read_or_not(text):
    assert read_boxes(bare_answer(text)) is None or isinstance(read_boxes(bare_answer(text)), list)


def test_pixels_of_the_resized_picture_become_those_of_the_original(record):
    row = record([], size=(2800, 1400))
    frame = ResizedPixels(max_pixels=1400 * 700)
    (one,) = found_boxes(bare_answer('[{"bbox_2d": [140, 70, 700, 350], "label": "car"}]'), row, frame) or []
    assert one.box == pytest.approx((280, 140, 1400, 700))
