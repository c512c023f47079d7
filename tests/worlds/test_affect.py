"""affect: true captions, legible pictures, splits kept apart, a rule that no single cue answers."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data import Dataset
from rise_vlm.errors import DataError
from rise_vlm.worlds import affect, load_world
from rise_vlm.worlds.affect_floors import best_possible, floors
from rise_vlm.worlds.affect_person import draw_person
from rise_vlm.worlds.affect_rule import KIND_OF, PAIRS, SHARPNESS, SINGLES, agreement
from rise_vlm.worlds.affect_scene import HELD_OUT, SPLITS, STYLES
from rise_vlm.worlds.affect_things import draw_thing, extent
from rise_vlm.worlds.affect_words import CLAUSES, FEWEST_WORDS, PEOPLE
from rise_vlm.worlds.canvas import Canvas

seeds = st.integers(0, 2**32)
splits = st.sampled_from(SPLITS)


def scene_of(seed: int, split: str = "any") -> affect.Scene:
    return affect.sample_scene(random.Random(seed), split)


def sample(split: str, count: int, seed: int = 0) -> list[tuple[affect.Scene, dict[str, float]]]:
    rng = random.Random(f"{split} {seed}")
    scenes = [affect.sample_scene(rng, split) for _ in range(count)]
    return [(scene, affect.annotate(scene, rng)) for scene in scenes]


# Words


@given(seeds, splits)
@settings(max_examples=150, deadline=None)
def test_captions_state_true_facts_only(seed: int, split: str) -> None:
    rng = random.Random(seed)
    scene = affect.sample_scene(rng, split)
    text = affect.describe(scene, rng)
    stated = affect.stated_facts(text)
    assert stated <= affect.true_facts(scene)
    assert 3 <= len(stated) <= 6
    assert FEWEST_WORDS <= len(text.split()) <= 45
    assert not re.search(r"[\d{}]", text)


@given(seeds, st.integers(1, 11))
@settings(max_examples=100, deadline=None)
def test_facts_sets_how_many_are_named(seed: int, count: int) -> None:
    scene = scene_of(seed)
    stated = affect.stated_facts(affect.describe(scene, random.Random(seed), facts=count))
    assert len(stated) == min(count, len(affect.true_facts(scene)))


@pytest.mark.parametrize("fact", sorted(CLAUSES))
def test_every_wording_is_read_as_its_own_fact_and_no_other(fact: str) -> None:
    assert len(set(CLAUSES[fact])) >= 3
    for clause in CLAUSES[fact]:
        for person in PEOPLE:
            assert affect.stated_facts(clause.replace("{p}", person)) == {fact}, clause


def test_every_fact_of_every_family_has_words() -> None:
    assert set(CLAUSES) == {f"{family}={value}" for family, values in affect.FACTS.items() for value in values}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", set()),
        ("A picture.", set()),
        ("THE  MOUTH\ncurves up while tears run.", {"face=smile", "face=crying"}),
        ("A child in a red shirt with a hat beside the dog.", {"shirt=red", "hat=yes", "thing=dog"}),
        ("The red cake and a blue shirt", {"thing=cake", "shirt=blue"}),
        ("There is no tree and the person wears no hat.", {"tree=no", "hat=no"}),
        ("There is a tree but no hat is on the head.", {"tree=yes", "hat=no"}),
        ("They chat on a brainy, parked catwalk of cupcakes and fogs up doghouse treetops.", set()),
        ("A broken vase in a street by night.", {"thing=vase", "setting=street", "light=night"}),
    ],
)
def test_stated_facts_reads_mixed_and_foreign_text(text: str, facts: set[str]) -> None:
    assert affect.stated_facts(text) == facts


def test_captions_vary_and_keep_to_a_small_vocabulary_without_class_words() -> None:
    rng = random.Random(0)
    scene = scene_of(1)
    assert len({affect.describe(scene, rng) for _ in range(200)}) > 195
    words = {w for clauses in CLAUSES.values() for clause in clauses for w in re.findall(r"[a-z]+", clause)}
    assert len(words) < 350
    forbidden = {*affect.CLASSES, *(word for words in affect.SYNONYMS.values() for word in words)}
    assert not {word for word in words for bad in forbidden if word.startswith(bad[: max(4, len(bad) - 3)])}


def test_captions_leave_out_different_facts() -> None:
    rng = random.Random(0)
    scene = scene_of(2)
    named = Counter(fact for _ in range(400) for fact in affect.stated_facts(affect.describe(scene, rng)))
    relevant = [fact for fact in affect.true_facts(scene) if fact != "tree=no"]
    assert all(80 < named[fact] < 300 for fact in relevant), named


# Pictures


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_drawing_is_deterministic_and_sized(seed: int) -> None:
    scene = scene_of(seed)
    first, again = affect.draw(scene, 96), affect.draw(affect.Scene.from_dict(scene.to_dict()), 96)
    assert first.size == (96, 96) and first.mode == "RGB"
    assert first.tobytes() == again.tobytes()


def test_a_scene_looks_the_same_at_any_size() -> None:
    for seed in range(4):
        scene = scene_of(seed)
        large = affect.draw(scene, 336).resize((84, 84), Image.Resampling.BOX)
        small = affect.draw(scene, 168).resize((84, 84), Image.Resampling.BOX)
        assert np.abs(np.asarray(large, float) - np.asarray(small, float)).mean() < 4


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", ["face", "posture", "weather", "light", "setting", "shirt", "hat", "tree", "thing"])
def test_every_value_of_every_family_can_be_seen(style: str, family: str) -> None:
    for seed in range(2):
        scene = dataclasses.replace(scene_of(seed), style=style)
        pictures = []
        for value in affect.FACTS[family]:
            change: dict[str, object] = {family: value == "yes" if family in ("hat", "tree") else value}
            if family == "thing":
                change = {"things": (value,)}
            pictures.append(np.asarray(affect.draw(dataclasses.replace(scene, **change), 84), np.int16))
        for i, first in enumerate(pictures):
            for second in pictures[:i]:
                assert (np.abs(first - second).max(axis=2) > 40).mean() > 0.006


def test_the_box_of_a_thing_is_where_it_is_drawn() -> None:
    for seed in range(8):
        scene = dataclasses.replace(scene_of(seed), style="paint", things=("cake", "spider"))
        other = dataclasses.replace(scene, things=("balloons", "spider"))
        changed = np.abs(np.asarray(affect.draw(scene), int) - np.asarray(affect.draw(other), int)).max(axis=2) > 40
        rows, columns = np.nonzero(changed)
        found = np.array([columns.min(), rows.min(), columns.max(), rows.max()]) / 336
        one, two = affect.boxes(scene)["cake"], affect.boxes(other)["balloons"]
        union = (min(one[0], two[0]), min(one[1], two[1]), max(one[2], two[2]), max(one[3], two[3]))
        assert np.abs(found - union).max() < 0.02


@pytest.mark.parametrize("thing", affect.FACTS["thing"])
def test_the_box_of_a_thing_is_tight_in_both_styles(thing: str) -> None:
    for style in STYLES:
        canvas = Canvas(300, 1, style, background=(0, 255, 0))
        draw_thing(canvas.at(0.5, 0.5, 0.4), thing, shadow=False)
        found = (np.array(painted(canvas)) / 300 - 0.5) / 0.4
        assert np.abs(found - extent(thing)).max() < 0.06


@pytest.mark.parametrize("posture", affect.FACTS["posture"])
@pytest.mark.parametrize("hat", [True, False])
def test_the_persons_box_is_tight(posture: str, hat: bool) -> None:
    scene = dataclasses.replace(scene_of(3), posture=posture, hat=hat, side="left", style="paint")
    for seed in range(6):
        canvas = Canvas(336, 1, background=(0, 255, 0))
        draw_person(canvas, scene, random.Random(seed))
        x1, y1, x2, y2 = (edge / 336 for edge in painted(canvas))
        assert np.abs(np.array((x1, y1, x2, y2)) - affect.boxes(scene)["person"]).max() < 0.03


def painted(canvas: Canvas) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((np.asarray(canvas.image) != (0, 255, 0)).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_boxes_lie_in_the_picture_and_things_apart(seed: int) -> None:
    scene = scene_of(seed)
    boxes = affect.boxes(scene)
    assert set(boxes) == {"person", "head", *scene.things}
    for x1, y1, x2, y2 in boxes.values():
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
    if len(scene.things) == 2:
        left, right = (boxes[thing] for thing in scene.things)
        assert left[2] <= right[0] + 0.02
    for thing in scene.things:
        assert boxes[thing][0] > boxes["head"][2] or boxes[thing][2] < boxes["head"][0]


# Scenes and splits


@given(seeds, splits)
@settings(max_examples=100, deadline=None)
def test_splits_keep_styles_and_pairs_apart(seed: int, split: str) -> None:
    scene = scene_of(seed, split)
    held = [(scene.face, thing) in HELD_OUT for thing in scene.things]
    if split == "ood":
        assert scene.style == "ink" and any(held)
    elif split != "any":
        assert scene.style == "paint" and not any(held)


def test_held_out_pairs_are_a_fifth_and_leave_every_face_and_kind_together_in_training() -> None:
    assert 0.15 < len(HELD_OUT) / 72 < 0.25
    assert {thing for _, thing in HELD_OUT} == set(affect.FACTS["thing"])
    assert {face for face, _ in HELD_OUT} == set(affect.FACTS["face"])
    assert max(Counter((face, KIND_OF[thing]) for face, thing in HELD_OUT).values()) == 1


@given(seeds, splits)
@settings(max_examples=50, deadline=None)
def test_scenes_survive_the_round_trip(seed: int, split: str) -> None:
    scene = scene_of(seed, split)
    assert affect.Scene.from_dict(scene.to_dict()) == scene
    facts = affect.scene_facts(scene)
    assert facts["count"] == ("one" if len(scene.things) == 1 else "two")
    assert affect.true_facts(scene) >= {f"face={facts['face']}", f"side={facts['side']}"}


@pytest.mark.parametrize(
    "change", [{"face": "grin"}, {"style": "oil"}, {"things": []}, {"things": ["ox"]}, {"mood": 1}]
)
def test_unknown_scene_values_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError):
        affect.Scene.from_dict({**scene_of(0).to_dict(), **change})


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split 'dev'"):
        scene_of(0, "dev")


# The rule


@given(seeds, splits)
@settings(max_examples=100, deadline=None)
def test_probabilities_and_ratings_are_distributions(seed: int, split: str) -> None:
    scene = scene_of(seed, split)
    assert sum(affect.probabilities(scene)) == pytest.approx(1)
    annotation = affect.annotate(scene, random.Random(seed))
    assert sum(annotation.values()) == pytest.approx(1) and set(annotation) <= set(affect.CLASSES)
    assert all(share > 0 and share * 15 == pytest.approx(round(share * 15)) for share in annotation.values())


def test_what_is_beside_the_point_and_the_order_of_things_change_nothing() -> None:
    for seed in range(50):
        scene = scene_of(seed)
        other = dataclasses.replace(scene, setting="beach", shirt="red", hat=not scene.hat, tree=not scene.tree,
                                    side="left", style="ink", things=scene.things[::-1], seed=1)  # fmt: skip
        assert affect.probabilities(other) == pytest.approx(affect.probabilities(scene))


def test_raters_follow_the_rule() -> None:
    scene = scene_of(5)
    rng = random.Random(0)
    rated = [affect.annotate(scene, rng) for _ in range(2000)]
    means = [sum(a.get(name, 0.0) for a in rated) / len(rated) for name in affect.CLASSES]
    assert means == pytest.approx(affect.probabilities(scene), abs=0.015)


def test_the_same_cue_means_different_things_in_different_company() -> None:
    """For every face, the likeliest class depends on the thing; for every thing, on the face."""
    base = dataclasses.replace(scene_of(0), weather="fog", light="day", posture="standing")

    def likeliest(face: str, thing: str) -> int:
        chances = affect.probabilities(dataclasses.replace(base, face=face, things=(thing,)))
        return chances.index(max(chances))

    for face in affect.FACTS["face"]:
        assert len({likeliest(face, thing) for thing in affect.FACTS["thing"]}) >= 2
    for thing in affect.FACTS["thing"]:
        assert len({likeliest(face, thing) for face in affect.FACTS["face"]}) >= 3


def test_no_single_cue_suffices_and_the_best_score_is_high() -> None:
    train, test = sample("train", 400), sample("test", 300)
    found = floors(train, test)
    assert found["uniform"] < 0.62 and found["mean"] < 0.62
    assert found["mean"] + 0.05 < found["single_cue"] < 0.72
    assert found["single_cue"] + 0.08 < found["additive"] < best_possible(test) - 0.06
    assert best_possible(test) >= 0.92


def pairs_of(scene: affect.Scene) -> np.ndarray:
    """All products of two one-hot cues."""
    cues = [1.0]
    for family in ("face", "posture", "weather", "light", "thing"):
        there = scene.things if family == "thing" else (getattr(scene, family),)
        cues += [(value in there) / len(there) for value in affect.FACTS[family]]
    return np.outer(cues, cues)[np.triu_indices(len(cues))]


def test_the_rule_can_be_learnt_from_400_records_by_who_combines_the_cues() -> None:
    train, test = sample("train", 400), sample("test", 300)

    def softmax(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    inputs = np.array([pairs_of(scene) for scene, _ in train])
    targets = np.array([[a.get(name, 0.0) for name in affect.CLASSES] for _, a in train])
    weights = np.zeros((inputs.shape[1], 7))
    for _ in range(600):
        weights -= 0.5 * (inputs.T @ (softmax(inputs @ weights) - targets) / 400 + 0.0003 * weights)
    guesses = softmax(np.array([pairs_of(scene) for scene, _ in test]) @ weights)
    rated = [[a.get(name, 0.0) for name in affect.CLASSES] for _, a in test]
    learnt = np.mean([agreement(g.tolist(), r) for g, r in zip(guesses, rated, strict=True)])
    found = floors(train, test)
    assert learnt > found["single_cue"] + 0.12 and learnt > found["additive"] + 0.02
    assert learnt < best_possible(test) - 0.03


def test_the_documented_rule_is_the_rule() -> None:
    page = (Path(__file__).parents[2] / "docs/worlds/affect.md").read_text(encoding="utf-8")
    told = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in page.splitlines()}
    for key, weights in [*PAIRS.items(), *SINGLES.items()]:
        cues = key if isinstance(key, tuple) else (key,)
        assert (*cues, ", ".join(f"{name} {weight:g}" for name, weight in weights.items())) in told
    assert f"softmax of {SHARPNESS:g} times" in page.replace("\n", " ")


def test_agreement_matches_an_independent_jensen_shannon() -> None:
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.dirichlet(np.full(7, 0.3), 2)
        assert agreement(p.tolist(), q.tolist()) == pytest.approx(1 - jensenshannon(p, q, base=2) ** 2)
    assert agreement([1, 0], [0, 1]) == 0 and agreement([0.5, 0.5], [0.5, 0.5]) == 1


# The dataset


def test_make_gives_the_same_bytes_for_the_same_seed_and_a_readable_dataset(tmp_path: Path) -> None:
    world = load_world("affect")
    summary = world.make(tmp_path / "a", train=6, val=2, test=3, seed=1)
    assert world.make(tmp_path / "b", train=6, val=2, test=3, seed=1) == summary
    assert world.make(tmp_path / "c", train=6, val=2, test=3, seed=2) != summary
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 14 + 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    dataset = Dataset.open(tmp_path / "a")
    assert summary["records"] == {"train": 6, "val": 2, "test": 3, "ood": 3}
    for split, count in summary["records"].items():
        records = list(dataset.records(split))
        assert len(records) == count
        for record in records:
            scene = affect.Scene.from_dict(record.meta["scene"])
            assert sum(record.annotation.values()) == pytest.approx(1)
            assert dataset.image(record).tobytes() == affect.draw(scene).tobytes()


def test_a_larger_dataset_begins_with_the_smaller_one(tmp_path: Path) -> None:
    affect.make(tmp_path / "small", train=2, val=0, test=0, seed=3)
    affect.make(tmp_path / "large", train=4, val=0, test=0, seed=3)
    small, large = ((tmp_path / name / "train.jsonl").read_text() for name in ("small", "large"))
    assert small and large.startswith(small) and large != small
