"""Which words belong together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.tasks.inflection import stems, words

TOGETHER = {
    "joy": "joy JOY joys joyful joyfully joyfulness joyous joyously joyless",
    "sadness": "sad sadly sadness sadder saddest sadden saddened saddening sadnesses",
    "sad": "sadness sadly saddish",
    "anger": "anger angry angrily angrier angriest angered angers",
    "fear": "fear fears feared fearing fearful fearfully fearsome fearless",
    "surprise": "surprise surprised surprises surprising surprisingly",
    "disgust": "disgusted disgusting disgustingly disgusts",
    "neutral": "neutrally neutrality",
    "amusement": "amuse amused amusing amusements",
    "excitement": "excited exciting excitedly",
    "contentment": "content contented",
    "awe": "awesome awed",
    "happy": "happiness happily happier happiest",
    "dog": "dogs doggy",
    "box": "boxes boxed",
    "knife": "knives",
    "leaf": "leaves",
    "berry": "berries",
    "woman": "women",
    "policeman": "policemen",
    "child": "children",
    "mouse": "mice",
    "bus": "buses",
    "glass": "glasses",
    "rain": "rainy raining rained",
    "sun": "sunny",
    "bottle": "bottles bottled bottling",
    "swim": "swimming",
}

APART = {
    "joy": "enjoying enjoy enjoyed rejoice joystick toy jo boy",
    "sad": "sand salad saddle said",
    "anger": "danger range angle hanger",
    "fear": "ear feat afar tear",
    "car": "care cared caring card carry carrying scar cart careful",
    "cat": "catering category scatter",
    "hat": "hate hated hates hating that",
    "flower": "flow flowing flowed",
    "corn": "corner corners",
    "ham": "hammer hammers",
    "sun": "sunk sung",
    "bus": "business busy",
    "dog": "do god",
    "store": "story stories",
    "ear": "early",
    "king": "kin kind",
    "man": "many mane",
    "tin": "tiny",
    "ring": "bring string",
}


@pytest.mark.parametrize(("name", "said"), [(n, w) for n, ws in TOGETHER.items() for w in ws.split()])
def test_inflections_are_found(name, said):
    assert stems(name) & stems(next(words(said)))


@pytest.mark.parametrize(("name", "said"), [(n, w) for n, ws in APART.items() for w in ws.split()])
def test_other_words_are_not(name, said):
    assert not stems(name) & stems(said)


@given(st.text(st.sampled_from("abdefgilmnorstuy"), min_size=1, max_size=60))
def test_stems_hold_the_word_and_are_no_longer_than_it_by_more_than_a_letter(word):
    found = stems(word)
    assert word in found
    assert all(3 <= len(stem) <= len(word) + 1 for stem in found - {word})
    assert len(found) < 60


def test_words_are_runs_of_letters_and_of_digits():
    assert " ".join(words("Boeing 737-200, the dog's_toy: ÉTÉ x1")) == "boeing 737 200 the dog s toy été x 1"
