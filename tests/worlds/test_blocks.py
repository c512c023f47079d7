"""blocks: the camera is the real one, answers follow by counting, rationales and captions say nothing untrue."""

from __future__ import annotations

import colorsys
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.data import Dataset
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import think_answer
from rise_vlm.worlds import blocks, load_world
from rise_vlm.worlds.blocks import Scene
from rise_vlm.worlds.blocks_camera import CLEVR, VIEWS, Camera
from rise_vlm.worlds.blocks_questions import FAMILIES, LARGEST, THING, Program, answer, apart, covers, sample_program
from rise_vlm.worlds.blocks_things import COLOURS, SOLIDS, VEHICLES
from rise_vlm.worlds.blocks_words import Seen, fits

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vqa-superclevr" / "output"

TEMPLATES = {
    "add_same", "add_total", "subtract_all_shape", "subtract_all_detailed", "subtract_some_total", "subtract_goal",
    "subtract_all_total", "subtract_some_shape", "multihop", "adversarial_two", "adversarial_other", "adversarial_add",
}  # fmt: skip

scenes = st.builds(
    lambda seed, split: blocks.sample_scene(random.Random(seed), split),
    st.integers(0, 10**9),
    st.sampled_from(blocks.SPLITS),
)


def some(split: str, count: int) -> list[Scene]:
    return [blocks.sample_scene(random.Random(f"{split} {i}"), split) for i in range(count)]


def test_the_camera_is_that_of_real_super_clevr_to_a_pixel() -> None:
    """With the camera's jitter fitted (three numbers), all published pixel coordinates are met."""
    if not SHARED.is_dir():
        pytest.skip(f"real scenes are not there: {SHARED}")
    from scipy.optimize import least_squares

    worst = 0.0
    for path in sorted((SHARED / "scenes").glob("*.json")):
        objects = json.loads(path.read_text())["objects"]
        world = [thing["3d_coords"] for thing in objects]
        pixels = np.array([thing["pixel_coords"][0][:2] for thing in objects], dtype=float)

        def off(eye: np.ndarray, world: list = world, pixels: np.ndarray = pixels) -> np.ndarray:
            camera = Camera(eye=(eye[0], eye[1], eye[2]), aspect=0.75)
            found = np.array([camera.project(*point)[:2] for point in world]) * 640
            return (found - pixels).ravel()

        fitted = least_squares(off, CLEVR)
        assert np.abs(fitted.x - np.array(CLEVR)).max() < 0.75  # the published jitter is at most 0.5
        worst = max(worst, float(np.abs(fitted.fun).max()))
    assert worst < 1.0


@pytest.mark.parametrize("family", [*FAMILIES, "long"])
def test_things_that_are_all_alike_can_be_asked_about(family: str) -> None:
    alike = [Seen("small", "red", "metal", "cube", "left")] * 3
    for seed in range(20):
        program = sample_program(random.Random(seed), alike, family)
        assert 0 <= answer(program, alike) <= LARGEST


def test_the_camera_looks_at_the_origin_and_sees_right_and_up() -> None:
    for eye in (CLEVR, *VIEWS.values()):
        camera = Camera(eye=eye)
        assert camera.project(0, 0, 0)[:2] == pytest.approx((0.5, 0.5))
        assert camera.project(0, 0, 1)[1] < 0.5
        forward, right, up = (np.array(axis) for axis in camera.axes)
        assert np.allclose(np.cross(forward, right) + up, 0) and abs(right[2]) < 1e-12
    center = Camera(eye=VIEWS["center"])
    assert center.project(0, 1, 0)[0] > 0.5  # +y is to the right
    assert center.project(1, 0, 0)[1] > 0.5  # +x is nearer, lower in the picture


@given(scenes)
@settings(deadline=None, max_examples=40)
def test_a_rationale_reaches_the_answer_and_is_true(scene: Scene) -> None:
    text, number = blocks.rationale(scene), blocks.answer(scene)
    assert 0 <= number <= 10
    assert int(re.findall(r"\d+", text.rstrip(".").removesuffix(" must go"))[-1]) == number
    assert blocks.stated_facts(text) <= blocks.true_facts(scene), text
    for sums in re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", text):
        a, b, total = int(sums[0]), int(sums[2]), int(sums[3])
        assert (a + b if sums[1] == "+" else a - b) == total
    assert len(text.split()) < 130


@given(scenes, st.integers(0, 10**6), st.sampled_from([None, 1, 3, 5]))
@settings(deadline=None, max_examples=40)
def test_captions_are_true_without_digits_and_short(scene: Scene, seed: int, facts: int | None) -> None:
    text = blocks.describe(scene, random.Random(seed), facts)
    stated = blocks.stated_facts(text)
    assert stated
    assert stated <= blocks.true_facts(scene), text
    assert not re.search(r"\d", text)
    if facts is None:
        assert 12 <= len(text.split()) <= 45, text


def test_captions_vary() -> None:
    one = some("train", 1)[0]
    assert len({blocks.describe(one, random.Random(i)) for i in range(40)}) >= 36


def brute(program: Program, seen: list[Seen]) -> int:
    """The answer by moving things about one by one: an independent way to the same number."""
    table = [one.full for one in seen]
    for action, amount, what in program.steps:
        if action == "add":
            table += [what] * int(amount)
        else:
            matching = [row for row in table if all(w in ("", "thing", r) for w, r in zip(what, row, strict=True))]
            gone = matching if amount == "all" else matching[: int(amount)]
            for row in gone:
                table.remove(row)
    left = sum(all(q in ("", "thing", r) for q, r in zip(program.query, row, strict=True)) for row in table)
    return left if program.goal is None else left - program.goal


@given(scenes)
@settings(deadline=None, max_examples=60)
def test_answers_agree_with_moving_things_one_by_one(scene: Scene) -> None:
    assert blocks.answer(scene) == brute(scene.program, blocks.seen(scene))


def test_a_program_whose_answer_is_open_is_refused() -> None:
    seen = [Seen("small", "red", "metal", "cube", "left"), Seen("small", "red", "metal", "sphere", "left")]
    red, cube = ("", "red", "", "thing"), ("", "", "", "cube")
    for steps, query in (
        ((("add", 1, cube),), red),  # are the added cubes red?
        ((("subtract", 1, THING),), cube),  # is it the cube that goes?
        ((("subtract", 3, THING),), THING),  # there are only two
        ((("add", 2, cube), ("subtract", "all", red)), THING),
    ):
        with pytest.raises(ValueError, match="no certain answer"):
            answer(Program("x", steps, query), seen)
    assert covers(red, ("small", "red", "", "cube")) and not covers(("small", "red", "", "cube"), red)
    assert apart(("", "red", "", "cube"), ("", "blue", "", "thing")) and not apart(red, cube)
    assert fits(seen[0], red) and not fits(seen[1], cube)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A small red metal cube and two blue balls.", ["exists=small red metal cube", "count=two blue sphere"]),
        ("There are no cylinders, and 3 shiny objects.", ["count=no cylinder", "count=three metal thing"]),
        ("The big matte block is on the left.", ["exists=large rubber cube", "place=large rubber cube left"]),
        ("One grey bus.", ["exists=gray bus"]),
        ("Cubism is nothing here.", []),
    ],
)
def test_reader(text: str, facts: list[str]) -> None:
    assert blocks.stated_facts(text) == frozenset(facts)


def test_splits_differ_where_they_should() -> None:
    train, ood, long = some("train", 60), some("ood", 30), some("ood_long", 30)
    assert {item.shape for scene in train for item in scene.items} == set(SOLIDS)
    assert {item.shape for scene in ood for item in scene.items} == set(VEHICLES)
    assert {item.shape for scene in long for item in scene.items} == set(SOLIDS)
    programs = [
        sample_program(random.Random(f"{i} {family}"), blocks.seen(scene), family)
        for i, scene in enumerate(train)
        for family in FAMILIES
    ]
    assert {program.template for program in programs} == TEMPLATES  # CLEVR-Math's, each drawn
    assert {scene.program.template for scene in (*train, *ood)} <= TEMPLATES
    assert {scene.program.template.split("_")[0] for scene in train} == {"add", "subtract", "multihop", "adversarial"}
    assert max(len(scene.program.steps) for scene in train + ood) == 2
    assert min(len(scene.program.steps) for scene in long) == 3
    assert {scene.style for scene in some("any", 20)} == {"solids", "vehicles"}
    with pytest.raises(ValueError, match="training"):
        blocks.sample_scene(random.Random(0), "training")


def test_nothing_is_hidden_and_all_is_in_the_picture() -> None:
    for scene in [*some("train", 12), *some("ood", 6)]:
        assert min(blocks.visible(scene)) > 0.3
        view = blocks.camera(scene.eye)
        for item in scene.items:
            u, v, _ = view.project(item.x, item.y, 0.2)
            assert 0.01 < u < 0.99 and 0.01 < v < 0.99


def hue(rgb: Sequence[float]) -> float:
    return colorsys.rgb_to_hsv(*(value / 255 for value in rgb))[0]


def test_a_thing_is_seen_in_its_colour_where_the_camera_says() -> None:
    for scene in some("train", 4):
        shown = np.asarray(blocks.draw(scene, 168), dtype=float)
        for item in scene.items:
            radius = 0.35 if item.size == "small" else 0.7
            data = scene.to_dict()
            data["items"] = [i for i in data["items"] if (i["x"], i["y"]) == (item.x, item.y)]
            alone = np.asarray(blocks.draw(Scene.from_dict(data), 168), dtype=float)
            u, v, _ = blocks.camera(scene.eye).project(item.x, item.y, 0.8 * radius)
            pixel = alone[round(v * 168), round(u * 168)]
            assert (pixel.max() - pixel.min() < 30) == (item.colour == "gray"), item
            if item.colour != "gray":
                away = {name: abs((hue(pixel) - hue(rgb) + 0.5) % 1 - 0.5) for name, rgb in COLOURS.items()}
                assert min(away.keys() - {"gray"}, key=lambda name: away[name]) == item.colour, item
        assert shown.std() > 15


@given(scenes)
@settings(deadline=None, max_examples=8)
def test_a_scene_survives_json_and_draws_the_same(scene: Scene) -> None:
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert blocks.draw(again, 56).tobytes() == blocks.draw(scene, 56).tobytes()
    assert blocks.question(again) == blocks.question(scene)


def test_any_size_gives_the_same_picture() -> None:
    scene = some("train", 1)[0]
    large = np.asarray(blocks.draw(scene, 336).resize((168, 168)), dtype=float)
    assert np.abs(large - np.asarray(blocks.draw(scene, 168), dtype=float)).mean() < 3


def test_make_is_reproducible_and_its_rationales_score_full(tmp_path: Path) -> None:
    summary = load_world("blocks").make(tmp_path / "a", train=6, val=1, test=2, seed=4)
    blocks.make(tmp_path / "b", train=6, val=1, test=2, seed=4)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 6 + 1 + 3 * 2 + 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert summary["records"] == {"train": 6, "val": 1, "test": 2, "ood": 2, "ood_long": 2}
    dataset = Dataset.open(tmp_path / "a")
    frame = Thousand()
    for split in dataset.splits:
        for record in dataset.records(split, strict=True):
            scene = Scene.from_dict(record.meta["scene"])
            assert record.question == blocks.question(scene)
            whole = think_answer(record.rationale or "", dataset.task.render(record.annotation, record, frame))
            read = dataset.task.parse_completion(whole, record, frame, "think")
            assert read.well_formed and dataset.task.score(blocks.answer(scene), read.parsed.value) == 1.0
    assert dataset.image(record).tobytes() == blocks.draw(scene).tobytes()


def test_floors_are_low() -> None:
    train, test = some("train", 200), some("test", 100)
    floors = blocks.floors(train, test)
    assert set(floors) == {"majority", "by_template", "things_there"}
    assert max(floors.values()) < 0.45
    counts = [blocks.answer(scene) for scene in train]
    assert set(range(9)) <= set(counts)
    assert blocks.floors([], []) == {}
