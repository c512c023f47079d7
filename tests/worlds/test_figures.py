"""figures: every mark is true of the drawing, answers follow, rationales and captions say nothing untrue."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.data import Dataset
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import think_answer
from rise_vlm.tasks.structure import number_of
from rise_vlm.worlds import figures, load_world
from rise_vlm.worlds.figures import FAMILIES, Scene
from rise_vlm.worlds.figures_draw import placed
from rise_vlm.worlds.figures_families import KNOWN
from rise_vlm.worlds.figures_new import NEW
from rise_vlm.worlds.figures_plan import Plan, number

scenes = st.builds(
    lambda seed, split: figures.sample_scene(random.Random(seed), split),
    st.integers(0, 10**9),
    st.sampled_from(figures.SPLITS),
)


def some(split: str, count: int) -> list[Scene]:
    return [figures.sample_scene(random.Random(f"{split} {i}"), split) for i in range(count)]


def some_of(number: int) -> Scene:
    """A scene of train or of the out-of-domain test."""
    return figures.sample_scene(random.Random(number), ("train", "ood")[number % 2])


def angle_of(plan: Plan, a: str, v: str, b: str) -> float:
    """The angle at `v` between `a` and `b`, in degrees, from the coordinates."""
    (ax, ay), (vx, vy), (bx, by) = (plan.points[name] for name in (a, v, b))
    turn = math.degrees(math.atan2(by - vy, bx - vx) - math.atan2(ay - vy, ax - vx)) % 360
    return min(turn, 360 - turn)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_marks_are_true_of_the_drawing(family: str) -> None:
    """Angles by coordinates, and lengths all in one proportion: the figure is to scale, what is asked too."""
    rng = random.Random(family)
    for _ in range(25):
        values = FAMILIES[family].pick(rng)
        plan = FAMILIES[family].build(values, "ABCDEF"[: FAMILIES[family].letters])
        marks = [*plan.marks, *([plan.asked] if plan.asked else [])]
        for mark in marks:
            if mark.kind in ("angle", "right"):
                assert angle_of(plan, *mark.points) == pytest.approx(mark.value), (values, mark)
        lengths = [(math.dist(*(plan.points[p] for p in m.points)), m.value) for m in marks if m.kind == "length"]
        for drawn, value in lengths:
            assert drawn / value == pytest.approx(lengths[0][0] / lengths[0][1]), values
        ticked: dict[str, list[float]] = {}
        for mark in marks:
            if mark.kind == "ticks":
                ticked.setdefault(mark.text, []).append(math.dist(*(plan.points[p] for p in mark.points)))
        assert all(max(equal) == pytest.approx(min(equal)) for equal in ticked.values())
        arrows = [mark.points for mark in marks if mark.kind == "arrow"]
        ways = [np.subtract(plan.points[b], plan.points[a]) for a, b in arrows]
        assert not ways or abs(ways[0][0] * ways[1][1] - ways[0][1] * ways[1][0]) < 1e-9
        assert plan.answer > 0 and plan.question and plan.reasons.endswith(".")


@given(scenes)
@settings(deadline=None, max_examples=80)
def test_a_rationale_is_true_and_reaches_the_answer(scene: Scene) -> None:
    text, plan = figures.rationale(scene), figures.plan(scene)
    stated = figures.stated_facts(text)
    assert stated and stated <= figures.true_facts(scene), text
    reached = re.sub(r" That is choice [A-D]\.$", "", text).rstrip(".")
    assert re.findall(r"\d+(?:\.\d)?", reached)[-1] == number(plan.answer), text
    sums = r"(?<![\d.*] )(?<![\d.])(\d+(?:\.\d)?) ([-+*/]) (\d+) = (\d+)(?![\dx])"
    for left, sign, right, total in re.findall(sums, text):
        a, b = float(left), float(right)
        if f"- {left} {sign}" not in text and f"+ {left} {sign}" not in text:
            assert {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign] == float(total), text
    if scene.algebra:
        a, b, x = scene.algebra
        assert plan.answer == x
        built = FAMILIES[scene.family].build(dict(scene.values), scene.names)
        assert a * x + b == built.answer


@pytest.mark.parametrize("family", FAMILIES)
def test_rationales_of_a_family_have_several_wordings(family: str) -> None:
    scenes = (scene for i in range(10**6) if (scene := some_of(i)).family == family and not scene.algebra)
    scene = next(scenes).to_dict()
    texts = {figures.rationale(Scene.from_dict(scene | {"seed": seed})) for seed in range(50)}
    assert len({text.split(". ", 1)[1] for text in texts}) >= 3, texts  # beyond how it begins
    assert len(texts) >= 8, texts
    true = figures.true_facts(Scene.from_dict(scene))
    facts = {figures.stated_facts(text) for text in texts}
    assert all(stated <= true for stated in facts)
    assert len({frozenset(f for f in stated if not f.startswith("shape")) for stated in facts}) == 1, facts


@given(scenes)
@settings(deadline=None, max_examples=80)
def test_choices_hold_the_answer_once(scene: Scene) -> None:
    answer = figures.plan(scene).answer
    if not scene.choices:
        assert figures.annotation(scene) == answer
        assert "Choices" not in figures.question(scene)
        return
    assert len(set(scene.choices)) == 4
    values = [number_of(choice) for choice in scene.choices]
    assert values == sorted(values) and min(values) > 0
    assert values["ABCD".index(str(figures.annotation(scene)))] == pytest.approx(answer, abs=0.05)


@pytest.mark.parametrize("split", ["test", "ood"])
def test_choices_alone_do_not_tell_the_answer(split: str) -> None:
    """Least squares of the four numbers, by what is asked for, is no better than chance."""

    def seen(scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
        asked = [scene for scene in scenes if scene.choices]
        values = np.array([[float(choice) for choice in scene.choices] for scene in asked]) / 100
        kinds = np.array([[word in figures.question(s) for word in ("angle", "long", "")] for s in asked])
        features = np.concatenate([np.ones((len(asked), 1)), values, np.log(values)], 1)
        letters = np.array(["ABCD".index(str(figures.annotation(scene))) for scene in asked])
        return (kinds[:, :, None] * features[:, None]).reshape(len(asked), -1), letters

    known, letters = seen(some("train", 1200))
    weights = np.linalg.lstsq(known, np.eye(4)[letters], rcond=None)[0]
    others, truth = seen(some(split, 600))
    assert len(truth) > 200 and ((others @ weights).argmax(1) == truth).mean() < 0.33
    assert np.bincount(truth, minlength=4).max() < 0.33 * len(truth)


@given(scenes, st.integers(0, 10**6), st.sampled_from([None, 2, 5]))
@settings(deadline=None, max_examples=80)
def test_captions_are_true_and_never_give_the_answer(scene: Scene, seed: int, facts: int | None) -> None:
    text, plan = figures.describe(scene, random.Random(seed), facts), figures.plan(scene)
    stated = figures.stated_facts(text)
    assert stated and stated <= figures.true_facts(scene), text
    if plan.asked is not None:
        assert not any(fact.startswith(f"{plan.asked.fact}=") for fact in stated)
    if facts is None:
        assert 12 <= len(text.split()) <= 45, text


def test_false_statements_are_found_out() -> None:
    scene = next(s for s in some("train", 50) if s.family == "angle_sum")
    plan, true = figures.plan(scene), figures.true_facts(scene)
    first = plan.marks[0]
    name, value = first.fact.removeprefix("angle."), int(first.value)
    assert figures.stated_facts(f"Angle {name} is {value}.") <= true
    assert not figures.stated_facts(f"Angle {name} is {value + 1}.") <= true
    assert not figures.stated_facts("The picture shows a circle.") <= true


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("Side BA is marked 12 and angle CBA shows 40 degrees.", ["side.AB=12", "angle.ABC=40"]),
        ("A right triangle with a right angle at C.", ["shape=right triangle", "right.C"]),
        ("Angle K is (3x + 5)°.", ["angle.K=3x+5"]),
        ("Sides CA and BC are equal. Two lines are parallel.", ["equal.AC=BC", "lines=parallel"]),
        ("Nothing to be seen in a triangular hat.", []),
    ],
)
def test_reader(text: str, facts: list[str]) -> None:
    assert figures.stated_facts(text) == frozenset(facts)


def test_splits_differ_where_they_should() -> None:
    train, ood = some("train", 300), some("ood", 200)
    assert {scene.family for scene in train} == set(KNOWN)
    assert {scene.family for scene in ood} >= set(NEW)
    assert {scene.style for scene in train} == {"clean"} and {scene.style for scene in ood} == {"textbook"}
    assert not any(scene.algebra for scene in train)
    assert 0.5 < sum(scene.algebra is not None for scene in ood) / len(ood) < 0.8
    assert 0.4 < sum(bool(scene.choices) for scene in train) / len(train) < 0.6
    letters = [figures.annotation(scene) for scene in train if scene.choices]
    assert max(letters.count(letter) for letter in "ABCD") < 0.35 * len(letters)
    with pytest.raises(ValueError, match="training"):
        figures.sample_scene(random.Random(0), "training")


@given(scenes)
@settings(deadline=None, max_examples=40)
def test_all_points_are_in_the_picture(scene: Scene) -> None:
    plan = figures.plan(scene)
    for name, (x, y) in placed(plan, scene.turn, scene.flip).items():
        assert 0.1 < x < 0.9 and 0.1 < y < 0.9, name
    assert "X" not in scene.names and "O" not in scene.names


def test_the_picture_shows_what_is_written() -> None:
    """Another number in a mark makes another picture, and only there."""
    scene = next(s for s in some("train", 80) if s.family == "rectangle")
    values = dict(scene.values)
    shown = np.asarray(figures.draw(scene, 168), dtype=int)
    wider = Scene.from_dict({**scene.to_dict(), "values": {**values, "w": values["w"] + 1}})
    assert (np.asarray(figures.draw(wider, 168), dtype=int) != shown).any()
    assert shown.mean() > 200 and shown.min() < 80  # dark lines on a pale page


@given(scenes)
@settings(deadline=None, max_examples=10)
def test_a_scene_survives_json_and_draws_the_same(scene: Scene) -> None:
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert figures.draw(again, 84).tobytes() == figures.draw(scene, 84).tobytes()


def test_any_size_gives_the_same_picture() -> None:
    scene = some("train", 1)[0]
    large = np.asarray(figures.draw(scene, 336).resize((168, 168)), dtype=float)
    assert np.abs(large - np.asarray(figures.draw(scene, 168), dtype=float)).mean() < 3


def test_make_is_reproducible_and_its_rationales_score_full(tmp_path: Path) -> None:
    summary = load_world("figures").make(tmp_path / "a", train=8, val=2, test=4, seed=4)
    figures.make(tmp_path / "b", train=8, val=2, test=4, seed=4)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8 + 2 + 8 + 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert summary["records"] == {"train": 8, "val": 2, "test": 4, "ood": 4}
    dataset = Dataset.open(tmp_path / "a")
    frame = Thousand()
    for split in dataset.splits:
        for record in dataset.records(split, strict=True):
            scene = Scene.from_dict(record.meta["scene"])
            wanted = "letter" if scene.choices else "number"
            assert wanted in dataset.task.prompt("answer", record, frame).split("Give ")[1].split(".")[0]
            whole = think_answer(record.rationale or "", dataset.task.render(record.annotation, record, frame))
            read = dataset.task.parse_completion(whole, record, frame, "think")
            assert read.well_formed and dataset.task.score(record.annotation, read.parsed.value) == 1.0
    assert dataset.image(record).tobytes() == figures.draw(scene).tobytes()


def test_floors_are_low() -> None:
    floors = figures.floors(some("train", 200), some("test", 100))
    assert floors["majority"] < 0.45 and floors["choice"] < 0.2
    assert figures.floors([], []) == {}
