"""icons: one large thing of twenty classes, told apart in both styles, described in parts and never named."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.data import Card, Dataset, Record
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks import make_task
from rise_vlm.worlds import icons, load_world
from rise_vlm.worlds.canvas import STYLES, Canvas
from rise_vlm.worlds.icons import CLASSES, Scene
from rise_vlm.worlds.icons_words import CLUTTER, GROUND_WORDS, PART_WORDS, PARTS
from rise_vlm.worlds.things import COLOURS, THINGS

SPLITS = ("train", "val", "test", "ood", "any")

scenes = st.builds(
    lambda seed, split: icons.sample_scene(random.Random(seed), split), st.integers(0, 10**9), st.sampled_from(SPLITS)
)


def sampled(split: str, count: int = 600) -> list[Scene]:
    return [icons.sample_scene(random.Random(f"{split} {i}"), split) for i in range(count)]


def test_tables_are_whole() -> None:
    assert load_world("icons") is icons
    assert icons.TASK == "classification"
    assert len(CLASSES) == 20
    assert set(PARTS) == set(CLASSES)
    assert set(PART_WORDS) == set(icons.FACTS["part"])
    assert set(GROUND_WORDS) == set(icons.FACTS["ground"])
    assert not set(CLASSES) & set(THINGS)
    assert set(CLUTTER) <= set(THINGS)


def test_the_parts_of_a_class_are_those_of_no_other() -> None:
    for kind, parts in PARTS.items():
        assert not any(set(parts) <= set(other) for name, other in PARTS.items() if name != kind)


def test_classes_are_told_apart_across_styles_at_half_size() -> None:
    """An ink drawing 45 pixels high is nearest to the painting of the same class, by shape and shade alone."""

    def drawn(kind: str, style: str) -> np.ndarray:
        canvas = Canvas(48, 2, style, 5, background=(238, 232, 222))
        icons.ICONS[kind](canvas.at(0.5, 0.5, 0.46), COLOURS["purple"])
        return np.asarray(canvas.finish(), dtype=float)

    painted = {kind: drawn(kind, "paint") for kind in CLASSES}
    for kind in CLASSES:
        inked = drawn(kind, "ink")
        assert min(painted, key=lambda other: float(((painted[other] - inked) ** 2).sum())) == kind


@pytest.mark.parametrize("kind", CLASSES)
def test_a_drawing_fills_its_frame_and_shows_its_colour(kind: str) -> None:
    x1, y1, x2, y2 = icons.reach(kind)
    assert min(x1, y1) >= -1.1 and max(x2, y2) <= 1.1
    assert max(x2 - x1, y2 - y1) > 1.5
    scene = dataclasses.replace(icons.sample_scene(random.Random(1), "train"), kind=kind, about=())
    red, blue = (np.asarray(icons.draw(dataclasses.replace(scene, colour=colour), 112)) for colour in ("red", "blue"))
    assert (red != blue).any(-1).sum() > 112 * 112 * 0.01


@given(scenes)
@settings(deadline=None, max_examples=80)
def test_things_lie_inside_and_clear_of_each_other(scene: Scene) -> None:
    spans = [(scene.x, scene.y, scene.side), *((small.x, small.y, small.side) for small in scene.about)]
    for i, (x, y, side) in enumerate(spans):
        assert x - side >= -0.005 and x + side <= 1.005 and y - side >= -0.005 and y + side <= 1.005
        for a, b, other in spans[:i]:
            assert max(abs(x - a), abs(y - b)) > side + other
    assert len(scene.about) <= 3
    assert scene.side > 2 * max((small.side for small in scene.about), default=0.0)


def test_splits_differ_where_they_should() -> None:
    train, ood = sampled("train"), sampled("ood")

    def new(scene: Scene) -> tuple[bool, bool]:
        held = icons.held_out_colour(scene.kind), icons.held_out_ground(scene.kind)
        return scene.colour == held[0], scene.ground == held[1]

    assert {scene.style for scene in train} == {"paint"}
    assert {scene.style for scene in ood} == {"ink"}
    assert not any(any(new(scene)) for scene in train)
    assert all(any(new(scene)) for scene in ood)
    assert len({new(scene) for scene in ood}) == 3
    assert {scene.style for scene in sampled("any", 40)} == set(STYLES)
    assert set(Counter(scene.kind for scene in train)) == set(CLASSES)
    with pytest.raises(ValueError, match="training"):
        icons.sample_scene(random.Random(0), "training")


@given(scenes, st.integers(0, 10**6), st.sampled_from([None, 1, 2, 4]))
@settings(deadline=None, max_examples=150)
def test_captions_are_true_and_clean(scene: Scene, seed: int, facts: int | None) -> None:
    text = icons.describe(scene, random.Random(seed), facts)
    stated = icons.stated_facts(text)
    assert stated <= icons.true_facts(scene), text
    told = sum(fact.startswith("part=") for fact in stated)
    assert told == min(facts, len(PARTS[scene.kind])) if facts else 1 <= told <= 3
    assert not re.search(r"\d|\ba [aeiou]|\ban [^aeiou]|  ", text), text
    assert 12 <= len(text.split()) <= 45
    assert TASK.leaks(text, ROW, Thousand()) == [], text


TASK = make_task(Card(name="icons", task="classification", classes=list(CLASSES), synonyms=icons.SYNONYMS))
ROW = Record(id="one", images=("one.png",), annotation="owl", width=336, height=336)


def test_no_words_of_any_caption_name_a_class() -> None:
    words = [*(w for ws in PART_WORDS.values() for w in ws), *(w for ws in GROUND_WORDS.values() for w in ws), *CLUTTER]
    assert TASK.leaks(". ".join(words), ROW, Thousand()) == []
    assert len(set(re.findall(r"[a-z]+", " ".join(words)))) < 200


@given(scenes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_a_caption_of_another_class_is_found_out(scene: Scene, seed: int) -> None:
    """With all its parts told, a caption is true of its own class alone."""
    stated = icons.stated_facts(icons.describe(scene, random.Random(seed), 4))
    other = dataclasses.replace(scene, kind=CLASSES[(CLASSES.index(scene.kind) + 1 + seed % 19) % 20])
    assert not stated <= icons.true_facts(other)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("The main thing is big and red. It has a beak and wings.", "size=big colour=red part=beak part=wings"),
        ("In the middle there is a small blue thing, and a green cup lies about.",
         "place=middle size=small colour=blue thing=cup cup.colour=green"),
        ("It has a small door and stripes while dots fill the back.", "part=door part=stripes ground=dots"),
        ("An owl and a fish.", ""),
    ],
)  # fmt: skip
def test_the_reader_finds_facts_in_any_text(text: str, facts: str) -> None:
    assert icons.stated_facts(text) == frozenset(facts.split())


@given(scenes)
@settings(deadline=None, max_examples=12)
def test_a_scene_survives_json_and_draws_the_same(scene: Scene) -> None:
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert icons.draw(again, 84).tobytes() == icons.draw(scene, 84).tobytes()


def test_captions_vary() -> None:
    rng = random.Random(1)
    one = next(scene for scene in sampled("train") if scene.about)
    assert len({icons.describe(one, rng) for _ in range(50)}) >= 48


def test_make_is_reproducible_and_reads_back(tmp_path: Path) -> None:
    summary = icons.make(tmp_path / "a", train=8, val=2, test=4, seed=4)
    icons.make(tmp_path / "b", train=12, val=2, test=4, seed=4)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8 + 2 + 4 + 4 + 5
    for file in files:
        mine, theirs = (tmp_path / "a" / file).read_bytes(), (tmp_path / "b" / file).read_bytes()
        assert theirs.startswith(mine) if file.name == "train.jsonl" else theirs == mine, file
    assert summary["records"] == {"train": 8, "val": 2, "test": 4, "ood": 4}
    dataset = Dataset.open(tmp_path / "a")
    for record in dataset.records("ood", strict=True):
        scene = Scene.from_dict(record.meta["scene"])
        assert record.annotation == scene.kind
        assert dataset.image(record).tobytes() == icons.draw(scene).tobytes()


def test_floors_are_those_of_the_task_and_cues_tell_little() -> None:
    train, test, ood = sampled("train", 1000), sampled("test", 1000), sampled("ood", 1000)
    floors = icons.floors(train, test)
    task = TASK.floors([scene.kind for scene in test], [scene.kind for scene in train])
    assert {name: floors[name] for name in task} == pytest.approx(task)
    assert max(floors.values()) < 0.12
    assert max(icons.floors(train, ood).values()) < 0.12
    assert icons.floors([], []) == {}
