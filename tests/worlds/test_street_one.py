"""street_one: what is asked for is what is boxed, told of and scored; the class in the answer gives nothing away."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.data import Dataset
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks import make_task
from rise_vlm.worlds import load_world, street, street_one

scenes = st.builds(
    lambda seed, split: street_one.sample_scene(random.Random(seed), split),
    st.integers(0, 10**9),
    st.sampled_from(("train", "ood", "any")),
)


@given(scenes)
@settings(deadline=None, max_examples=60)
def test_the_annotation_is_the_boxes_of_the_kind_asked_for(scene: street_one.Scene) -> None:
    boxes = [one["box"] for one in street.annotate(scene.street) if one["label"] == scene.asked]
    assert [one["box"] for one in street_one.annotate(scene)] == boxes
    assert {one["label"] for one in street_one.annotate(scene)} <= {"target"}
    assert scene.asked in street_one.question(scene)
    assert street_one.Scene.from_dict(scene.to_dict()) == scene


@given(scenes, st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_captions_are_true_and_speak_of_nothing_else(scene: street_one.Scene, seed: int) -> None:
    facts = street_one.stated_facts(street_one.describe(scene, random.Random(seed)))
    assert facts <= street_one.true_facts(scene)
    assert {fact for fact in facts if fact.startswith("thing=")} <= {f"thing={scene.asked}"}
    assert "empty=yes" not in facts
    assert any(fact.startswith("thing=") for fact in facts) == bool(scene.wanted)


def test_each_street_is_asked_about_twice_and_saved_once(tmp_path: Path) -> None:
    street_one.make(tmp_path / "data", train=11, val=0, test=0, seed=4)
    records = list(Dataset.open(tmp_path / "data").records("train"))
    for first, second in zip(records[:10:2], records[1:10:2], strict=True):
        assert first.images == second.images
        assert first.meta["scene"]["street"] == second.meta["scene"]["street"]
        assert first.question != second.question
    assert len({record.images for record in records}) == 6
    assert len(list((tmp_path / "data/images/train").iterdir())) == 6


def test_now_and_then_what_is_asked_for_is_not_there() -> None:
    drawn = [street_one.sample_scene(random.Random(f"one {i}"), "train") for i in range(1000)]
    absent = sum(not scene.wanted for scene in drawn)
    assert 120 < absent < 230  # 12 % of those with things, and all of the empty streets
    assert {scene.asked for scene in drawn} == set(street.CLASSES)


def test_whoever_rebuilds_is_not_told_what_to_look_for(tmp_path: Path) -> None:
    load_world("street_one").make(tmp_path / "data", train=20, val=0, test=0, seed=1)
    dataset = Dataset.open(tmp_path / "data")
    task = make_task(dataset.card)
    for record in dataset.records("train"):
        asked = record.meta["scene"]["asked"]
        assert f"every {asked}" in task.statement(record, Thousand())
        prompt = task.reconstruct_prompt(record, Thousand(), "A low vehicle is on the left.")
        assert not any(kind in prompt for kind in street.CLASSES)


def test_floors_are_of_answers_that_do_not_look(tmp_path: Path) -> None:
    told = street_one.make(tmp_path / "data", train=60, val=0, test=60, seed=2)
    drawn = [street_one.sample_scene(random.Random(f"street_one 2 test {i}"), "test") for i in range(30)]
    drawn += [street_one.another(scene) for scene in drawn]
    empty = sum(not street_one.annotate(scene) for scene in drawn) / 60
    assert told["floors"]["nothing"] == empty
    assert 0 < told["floors"]["mean_box"] < 0.5
