"""moves: the rules of TRANCE hold, the camera is the real one, rationales are true, the truth scores full."""

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
from PIL import Image

from rise_vlm.data import Dataset, Record
from rise_vlm.data.inspecting import inspect
from rise_vlm.policy.frames import Thousand
from rise_vlm.rewards.states import UNIT, Call, change, fits
from rise_vlm.tasks.base import think_answer
from rise_vlm.tasks.transformation import Transformation
from rise_vlm.tasks.transformation_ways import ways as unseen_ways
from rise_vlm.worlds import load_world, moves
from rise_vlm.worlds.blocks_camera import VIEWS, Camera
from rise_vlm.worlds.blocks_solids import View
from rise_vlm.worlds.moves import Scene
from rise_vlm.worlds.moves_rivals import one_answer
from rise_vlm.worlds.moves_scene import LOOKS, MOVES, camera

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "transform-trance-sample" / "assets"
TASK, SIMULATED = Transformation(), Transformation(score="simulated")

scenes = st.builds(
    lambda seed, split: moves.sample_scene(random.Random(seed), split),
    st.integers(0, 10**9),
    st.sampled_from(moves.SPLITS),
)


def some(split: str, count: int) -> list[Scene]:
    return [moves.sample_scene(random.Random(f"{split} {i}"), split) for i in range(count)]


@given(scenes)
@settings(deadline=None, max_examples=60)
def test_the_rules_of_trance_hold(scene: Scene) -> None:
    states = scene.states()
    assert len(scene.initial) == 10
    assert 1 <= len(scene.calls) <= 4
    assert all(fits(scene.initial, k) for k in range(10))
    touched: set[int] = set()
    for before, after, call in zip(states, states[1:], scene.calls, strict=False):
        assert before != after
        assert fits(after, call.object)
        was, now = before[call.object].visible, after[call.object].visible
        assert was or (now and call.function == "change_position")
        assert now or call.object not in touched, "what is out of sight in the end, changed before"
        touched.add(call.object)
    gone = {k for k in touched if not scene.final[k].visible}
    assert all(sum(call.object == k for call in scene.calls) == 1 for k in gone)
    pairs = [(call.function, call.object) for call in scene.calls]
    assert len(set(pairs)) == len(pairs)


@given(scenes)
@settings(deadline=None, max_examples=40)
def test_the_truth_scores_full_in_every_way(scene: Scene) -> None:
    truth = moves.annotation(scene)
    record = Record(id="a", images=("1.png", "2.png"), annotation=truth, width=9, height=9)
    assert TASK.check(truth, record) is None
    metrics = TASK.metrics([(truth, moves.functions(scene))])
    assert metrics["final_state"] == metrics["exact_set"] == metrics["score"] == 1.0
    assert metrics["difference"] == 0.0
    for at, ways in enumerate(moves.options(scene)):
        own = scene.calls[at]
        assert ways[0] == [own.value] if own.steps is None else ways[0] == [own.value, own.steps]
        for way in ways[:3]:  # each option, put in its place, ends in a state as right
            calls = [*scene.calls]
            calls[at] = own._replace(value=way[0], steps=way[1] if len(way) > 1 else None)
            assert SIMULATED.score(truth, ", ".join(map(str, calls))) == 1.0


@given(scenes)
@settings(deadline=None, max_examples=40)
def test_rationales_are_true_and_tell_every_change(scene: Scene) -> None:
    text = moves.rationale(scene)
    assert moves.stated_facts(text) <= moves.true_facts(scene), text
    numbers = {f"{match[1]}": int(match[2]) for match in re.finditer(r"(?:an? |The )((?:\w+ ){3}\w+) \((\d)\)", text)}
    assert numbers and all(" ".join(moves.looks(scene.initial[at])) == name for name, at in numbers.items())
    changed = {int(number) for number in re.findall(r"The (?:\w+ ){3}\w+ \((\d)\)(?:: | is out)", text)}
    assert changed == {call.object for call in scene.calls}
    for call in scene.calls:
        assert (moves.WAYS if call.function == "change_position" else {call.value: call.value})[call.value] in text
    assert ("taken from the same place" in text) is (scene.view == "center")
    assert len(text.split()) < 230


@given(scenes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_captions_are_true_without_digits_and_short(scene: Scene, seed: int) -> None:
    text = moves.describe(scene, random.Random(seed))
    stated = moves.stated_facts(text)
    assert stated and stated <= moves.true_facts(scene), text
    assert not re.search(r"\d|change|now", text)
    assert 12 <= len(text.split()) <= 45, text


def test_a_caption_of_another_scene_is_found_out() -> None:
    found = 0
    for a, b in zip(some("train", 20), some("test", 20), strict=True):
        found += not moves.stated_facts(moves.describe(a, random.Random(0))) <= moves.true_facts(b)
    assert found >= 18


def test_splits_differ_in_the_second_camera_alone() -> None:
    for split, views in (("train", {"center"}), ("ood_left", {"left"}), ("ood_right", {"right"}), ("any", set(VIEWS))):
        chosen = some(split, 24)
        assert {scene.view for scene in chosen} == views
        assert {len(scene.calls) for scene in chosen} == {1, 2, 3, 4}
    with pytest.raises(ValueError, match="ood'"):
        moves.sample_scene(random.Random(0), "ood")


def test_a_third_of_the_functions_are_moves_and_of_these_a_third_each_go_in_out_and_within() -> None:
    kinds = Counter[str]()
    for scene in some("train", 300):
        for call in scene.calls:
            sight = (scene.initial[call.object].visible, scene.final[call.object].visible)
            way = next(kind for kind, both in MOVES.items() if both == sight)
            kinds[way if call.function == "change_position" else call.function] += 1
    assert set(kinds) == {*LOOKS, *MOVES}
    for kind, count in kinds.items():  # three standard deviations
        assert count / kinds.total() == pytest.approx(1 / 9 if kind in MOVES else 1 / 6, abs=0.04), kind


@given(scenes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_all_that_can_be_seen_is_enough_for_the_full_score(scene: Scene, seed: int) -> None:
    """No other answer is as short (see `test_moves_rivals`), and any way into sight or out of it is right."""
    truth, rng = moves.annotation(scene), random.Random(seed)
    assert one_answer(scene.initial, scene.final, {call.object for call in scene.calls})
    said: list[Call] = []
    for call, kept in zip(scene.calls, moves.options(scene), strict=True):
        ways = sorted({way for way, _ in unseen_ways(scene.initial, scene.final, call.object)})
        own = call.function == "change_position" and ways
        assert not own or {way[0] for way in kept} <= set(ways), "TRANCE's options are among them"
        said.append(call._replace(value=rng.choice(ways) if own else call.value, steps=None))
    answer = ", ".join(map(str, said))
    assert TASK.score(truth, answer) == Transformation(score="exact").score(truth, answer) == 1.0


def test_what_changed_can_be_seen_from_every_side() -> None:
    for scene in some("train", 10):
        everything = moves.parts(scene.final, scene)
        for view in VIEWS:
            whole = View(camera(view, scene.shift), 120)
            whole.outline(everything)
            for index in {call.object for call in scene.calls if scene.final[call.object].visible}:
                alone = View(camera(view, scene.shift), 120)
                alone.outline([part for part in everything if part.owner == index])
                assert (whole.owner == index).sum() > 0.3 * (alone.owner == index).sum() > 0


def test_the_pictures_show_the_change_and_only_things_in_sight() -> None:
    scene = next(s for s in some("train", 50) if s.calls[0].function == "change_color" and len(s.calls) == 1)
    first, second = (np.asarray(picture, dtype=int) for picture in moves.pictures(scene, 168))
    rows, columns = np.nonzero(np.abs(first - second).max(-1) > 25)
    thing = scene.initial[scene.calls[0].object]
    u, v, _ = camera("center", scene.shift).project(thing.x * UNIT, thing.y * UNIT, thing.radius)
    assert abs(np.median(columns) / 168 - u) < 0.03 and abs(np.median(rows) / 168 - v) < 0.05
    assert {part.owner for part in moves.parts(scene.initial, scene)} == {
        k for k, thing in enumerate(scene.initial) if thing.visible
    }


def test_the_cameras_are_those_of_the_published_sample() -> None:
    """Where the cameras say a thing of the final state is, each published picture has its colour."""
    if not SAMPLE.is_dir():
        pytest.skip(f"the real TRANCE sample is not there: {SAMPLE}")
    things = json.loads((SAMPLE / "example.json").read_text())["states"][-1]["objects"]
    looks = {
        "blue": lambda r, g, b: b > 1.5 * r,
        "brown": lambda r, g, b: r > 1.5 * b,
        "cyan": lambda r, g, b: g > 1.2 * r,
    }
    for view, letter in (("center", "C"), ("left", "L"), ("right", "R")):
        pixels = np.asarray(Image.open(SAMPLE / f"img_000000-fin.{letter}.png").convert("RGB"), dtype=float)
        for index in (2, 3, 4):
            x, y = things[index]["position"]
            size = {"small": 0.3, "medium": 0.6, "large": 0.9}[things[index]["size"]]
            u, v, _ = Camera(eye=VIEWS[view], aspect=0.75).project(x * UNIT, y * UNIT, size / 2**0.5)
            r, g, b = pixels[round(v * 160) - 1 : round(v * 160) + 2, round(u * 160) - 1 : round(u * 160) + 2].mean(
                (0, 1)
            )
            assert looks[things[index]["color"]](r, g, b), (view, index, r, g, b)


@given(scenes)
@settings(deadline=None, max_examples=5)
def test_a_scene_survives_json_and_draws_the_same(scene: Scene) -> None:
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert moves.draw(again, 56).tobytes() == moves.draw(scene, 56).tobytes()
    assert moves.rationale(again) == moves.rationale(scene)


def test_make_is_reproducible_with_two_pictures_a_record(tmp_path: Path) -> None:
    summary = load_world("moves").make(tmp_path / "a", train=4, val=1, test=1, seed=4)
    moves.make(tmp_path / "b", train=4, val=1, test=1, seed=4)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2 * (4 + 1 + 3) + 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert summary["records"] == {"train": 4, "val": 1, "test": 1, "ood_left": 1, "ood_right": 1}
    dataset = Dataset.open(tmp_path / "a")
    frame = Thousand()
    for split in dataset.splits:
        for record in dataset.records(split, strict=True):
            scene = Scene.from_dict(record.meta["scene"])
            first, second = moves.pictures(scene)
            assert len(record.images) == 2
            assert dataset.image(record, 0).tobytes() == first.tobytes()
            assert dataset.image(record, 1).tobytes() == second.tobytes()
            assert record.meta["level"] == len(scene.calls) and record.meta["view"] == scene.view
            whole = think_answer(record.rationale or "", dataset.task.render(record.annotation, record, frame))
            read = dataset.task.parse_completion(whole, record, frame, "think")
            assert read.well_formed and dataset.task.score(record.annotation, read.parsed.value) == 1.0
    tests = [next(dataset.records(split)) for split in ("test", "ood_left", "ood_right")]
    assert len({(record.question, record.annotation["functions"]) for record in tests}) == 1
    firsts, seconds = ({(dataset.root / r.images[k]).read_bytes() for r in tests} for k in (0, 1))
    assert (len(firsts), len(seconds)) == (1, 3)  # the same scene, and only the second view differs
    assert not [f for f in inspect(dataset).findings if "leak" in f.kind]
    (tmp_path / "a" / record.images[1]).unlink()
    assert not list(dataset.records(split))  # a record with a missing second picture is put aside, not used
    assert "is missing" in (tmp_path / "a" / "quarantine.jsonl").read_text()


def test_floors_are_low() -> None:
    floors = moves.floors(some("train", 100), some("test", 60))
    assert 0.0 < floors["majority"] < 0.25 and 0.0 < floors["other"] < 0.25
    assert moves.floors([], []) == {}


def test_the_simulator_and_the_pictures_agree_on_ways() -> None:
    """`front` is up in the first picture (away), `right` is right."""
    scene = some("train", 1)[0]
    cam = camera("center", (0, 0, 0))
    for way, (du, dv) in {"front": (0, -1), "behind": (0, 1), "left": (-1, 0), "right": (1, 0)}.items():
        state = (scene.initial[0].__class__("cube", "small", "red", "metal", 0, 0),)
        moved = change(state, Call("change_position", 0, way, 1))[0]
        u, v, _ = cam.project(moved.x * UNIT, moved.y * UNIT, 0)
        u0, v0, _ = cam.project(0, 0, 0)
        assert np.sign(round(u - u0, 6)) == du and np.sign(round(v - v0, 6)) == dv
