"""street: boxes fit what is seen, splits differ where they should, captions say nothing untrue and name no class."""

from __future__ import annotations

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
from rise_vlm.worlds import load_world, street
from rise_vlm.worlds.canvas import STYLES
from rise_vlm.worlds.street import CLASSES, Placed, Scene
from rise_vlm.worlds.street_things import THINGS, TINTS

SPLITS = ("train", "val", "test", "ood", "any")

scenes = st.builds(
    lambda seed, split: street.sample_scene(random.Random(seed), split), st.integers(0, 10**9), st.sampled_from(SPLITS)
)


def sampled(split: str, count: int = 500) -> list[Scene]:
    return [street.sample_scene(random.Random(f"{split} {i}"), split) for i in range(count)]


def test_the_world_is_found_by_its_name() -> None:
    assert load_world("street") is street
    assert street.TASK == "detection"
    assert len(CLASSES) == 8


@given(scenes)
@settings(deadline=None, max_examples=40)
def test_boxes_have_area_and_lie_inside(scene: Scene) -> None:
    boxes = street.seen(scene)
    assert len(boxes) == len(scene.things) <= 6
    for thing, (x1, y1, x2, y2) in zip(scene.things, boxes, strict=True):
        assert 0 <= x1 < x2 <= 336 and 0 <= y1 < y2 <= 336
        assert min(x2 - x1, y2 - y1) >= 8, thing
        whole = [edge * 336 for edge in thing.span()]
        assert x1 >= whole[0] - 4 and x2 <= whole[2] + 4 and y1 >= whole[1] - 4 and y2 <= whole[3] + 4


@given(scenes)
@settings(deadline=None, max_examples=25)
def test_the_annotation_passes_the_task_and_runs_from_left_to_right(scene: Scene) -> None:
    task = make_task(Card(name="street", task="detection", classes=list(CLASSES), question="Which?"))
    annotation = street.annotate(scene)
    row = Record(id="one", images=("one.png",), annotation=annotation, width=336, height=336)
    assert task.check(annotation, row) is None
    assert [one["box"][0] for one in annotation] == sorted(one["box"][0] for one in annotation)
    value = task.parse(task.render(annotation, row, Thousand()), row, Thousand()).value
    assert task.score(annotation, value) > 0.9


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", THINGS)
def test_boxes_are_tight_to_three_pixels(kind: str, style: str) -> None:
    """What changes in the picture when the thing is taken away, shadow aside, is what lies in its box."""
    rng = random.Random(f"{kind} {style}")
    for row, y in (("far lane", 0.74), ("near walk", 0.97)):
        thing = Placed(kind, rng.choice(TINTS[kind]), row, rng.uniform(0.45, 0.55), y, rng.random() < 0.5, 1)
        with_it = Scene(style, "houses", "cloudy", (thing,), rng.randrange(1000))
        pictures = [street.draw(scene) for scene in (with_it, Scene(style, "houses", "cloudy", (), with_it.seed))]
        before, after = (np.asarray(picture, dtype=int) for picture in pictures)
        rows, columns = np.nonzero(np.abs(before - after).sum(-1) > 40)
        x1, y1, x2, y2 = street.seen(with_it)[0]
        above = rows < y * 336 - 12  # the shadow lies about the ground line
        assert abs(rows.min() - y1) <= 3
        assert columns[above].min() >= x1 - 3 and columns[above].max() <= x2 + 2
        assert abs(y2 - y * 336) <= 6


def test_what_is_hidden_is_not_in_the_box() -> None:
    behind = Placed("bus", "red", "far lane", 0.5, 0.72, False, 0)
    alone, before = (
        Scene("paint", "houses", "clear", things, 1)
        for things in ((behind,), (behind, Placed("traffic light", "red", "near walk", 0.22, 0.985, False, 0)))
    )
    assert street.seen(before)[0][2] == street.seen(alone)[0][2]
    assert street.seen(before)[0][0] > street.seen(alone)[0][0] + 5
    for scene in sampled("any", 60):
        assert all(street._hidden(thing, list(scene.things[i + 1 :])) <= 0.45 for i, thing in enumerate(scene.things))


def test_streets_hold_none_to_six_things_of_all_kinds_and_some_are_hidden_in_part() -> None:
    train = sampled("train", 500)
    numbers = Counter(len(scene.things) for scene in train)
    assert set(numbers) == set(range(7))
    assert 0.03 < numbers[0] / 500 < 0.1
    kinds = Counter(thing.kind for scene in train for thing in scene.things)
    assert set(kinds) == set(CLASSES)
    assert min(kinds.values()) > max(kinds.values()) / 3
    hidden = sum(
        any(street._hidden(thing, list(scene.things[i + 1 :])) > 0.05 for i, thing in enumerate(scene.things))
        for scene in train
    )
    assert hidden > 0.25 * len(train)
    sides = [max(x2 - x1, y2 - y1) for scene in train[:150] for x1, y1, x2, y2 in street.seen(scene)]
    assert min(sides) < 32 and max(sides) > 130


def test_splits_differ_where_they_should() -> None:
    train, ood = sampled("train"), sampled("ood")

    def share(group: list[Scene]) -> float:
        things = [thing for scene in group for thing in scene.things]
        return sum(thing.colour == street.held_out_colour(thing.kind) for thing in things) / len(things)

    def unseen_places(group: list[Scene]) -> int:
        return sum(any(street.held_out_backdrop(t.kind) == s.backdrop for t in s.things) for s in group)

    assert {scene.style for scene in train} == {"paint"}
    assert {scene.style for scene in ood} == {"ink"}
    assert share(train) == 0
    assert 0.4 < share(ood) < 0.6
    assert unseen_places(train) == 0
    assert unseen_places(ood) > 0.45 * len(ood)
    assert {scene.style for scene in sampled("any", 40)} == set(STYLES)
    with pytest.raises(ValueError, match="training"):
        street.sample_scene(random.Random(0), "training")


@given(scenes, st.integers(0, 10**6), st.sampled_from([None, 1, 2, 3, 6]))
@settings(deadline=None, max_examples=150)
def test_captions_are_true_and_name_what_is_seen(scene: Scene, seed: int, facts: int | None) -> None:
    text = street.describe(scene, random.Random(seed), facts)
    stated = street.stated_facts(text)
    assert stated <= street.true_facts(scene), text
    kinds = {thing.kind for thing in scene.things}
    assert sum(fact.startswith("thing=") for fact in stated) >= min(1, len(kinds))
    assert not re.search(r"\d|\ba [aeiou]|\ban [^aeiou]|  ", text), text
    if facts is None:
        assert 12 <= len(text.split()) <= 45


@given(scenes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=80)
def test_captions_never_name_a_class(scene: Scene, seed: int) -> None:
    card = Card(name="street", task="detection", classes=list(CLASSES), question="Which?", synonyms=street.SYNONYMS)
    annotation = street.annotate(scene)
    row = Record(id="one", images=("one.png",), annotation=annotation, width=336, height=336)
    text = street.describe(scene, random.Random(seed))
    assert make_task(card).leaks(text, row, Thousand()) == [], text


@given(scenes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_a_caption_of_another_scene_is_found_out(scene: Scene, seed: int) -> None:
    """What is told of a scene is not true of the same scene with every colour, side and backdrop changed."""
    data = scene.to_dict()
    for thing in data["things"]:
        tints = TINTS[thing["kind"]]
        own = {t["colour"] for t in scene.to_dict()["things"] if t["kind"] == thing["kind"]}
        thing["colour"] = next((tint for tint in tints if tint not in own), None)
    told = {fact for fact in street.stated_facts(street.describe(scene, random.Random(seed))) if ".colour=" in fact}
    other = Scene.from_dict(data)
    changed = {f"{t.kind}.colour={t.colour}" for t in other.things if t.colour}
    assert not told & changed


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A red low vehicle is on the left.", "thing=car car.colour=red car.place=left"),
        ("On the right there is a figure in a blue coat, close by.",
         "thing=person person.colour=blue person.place=right"),
        ("There are two long vehicles and a pet wearing a green cloth.",
         "thing=bus bus.count=two thing=dog dog.colour=green"),
        ("A wide seat can be seen. It is far off in the middle.", "thing=bench bench.depth=far bench.place=middle"),
        ("The signal post glows yellow while the sky is clear.",
         "thing=traffic light|traffic light.colour=yellow|sky=clear"),
        ("The street is empty. Tall towers rise behind.", "empty=yes backdrop=towers"),
        ("There is a car and a fire hydrant.", ""),
    ],
)  # fmt: skip
def test_the_reader_finds_facts_in_any_text(text: str, facts: str) -> None:
    expected = facts.split("|") if "|" in facts else facts.split()
    assert street.stated_facts(text) == frozenset(expected)


def test_captions_vary_and_their_vocabulary_is_small() -> None:
    rng = random.Random(1)
    one = next(scene for scene in sampled("train") if len(scene.things) == 3)
    assert len({street.describe(one, rng) for _ in range(50)}) >= 48
    texts = [street.describe(scene, rng) for scene in sampled("any", 400)]
    assert len(set(re.findall(r"[a-z]+", " ".join(texts).lower()))) < 200


@given(scenes)
@settings(deadline=None, max_examples=15)
def test_a_scene_survives_json_and_draws_the_same(scene: Scene) -> None:
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert street.draw(again, 84).tobytes() == street.draw(scene, 84).tobytes()


def test_any_size_gives_the_same_picture() -> None:
    scene = street.sample_scene(random.Random(11), "train")
    large = np.asarray(street.draw(scene, 336).resize((168, 168)), dtype=float)
    assert np.abs(large - np.asarray(street.draw(scene, 168), dtype=float)).mean() < 3


def test_make_is_reproducible_and_reads_back(tmp_path: Path) -> None:
    summary = street.make(tmp_path / "a", train=8, val=2, test=5, seed=4)
    street.make(tmp_path / "b", train=12, val=2, test=5, seed=4)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8 + 2 + 5 + 5 + 5
    for file in files:
        mine, theirs = (tmp_path / "a" / file).read_bytes(), (tmp_path / "b" / file).read_bytes()
        assert theirs.startswith(mine) if file.name == "train.jsonl" else theirs == mine, file
    assert summary["records"] == {"train": 8, "val": 2, "test": 5, "ood": 5}
    dataset = Dataset.open(tmp_path / "a")
    task = make_task(dataset.card)
    for record in dataset.records("ood", strict=True):
        scene = Scene.from_dict(record.meta["scene"])
        assert record.annotation == street.annotate(scene)
        assert task.score(record.annotation, record.annotation) == 1
        assert dataset.image(record).tobytes() == street.draw(scene).tobytes()


def test_floors_are_those_of_the_task(tmp_path: Path) -> None:
    summary = street.make(tmp_path / "d", train=30, val=0, test=30, seed=0)
    dataset = Dataset.open(tmp_path / "d")
    train, test = ([record.annotation for record in dataset.records(split)] for split in ("train", "test"))
    floors = make_task(dataset.card).floors(test, train)
    assert {name: summary["floors"][name] for name in floors} == pytest.approx(floors)
    assert max(summary["floors"].values()) < 0.3
    assert summary["best"] == 1.0
    assert street.make(tmp_path / "empty", train=0, val=0, test=0, seed=0)["floors"] == {}
