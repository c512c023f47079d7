"""Real samples of Super-CLEVR, Geometry3K, TRANCE and NLVR by the commands that a user gives, and bad files of each."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from format_kit import found, put, put_text, skips

from rise_vlm.cli import run
from rise_vlm.data import Dataset, Record
from rise_vlm.data.checking import Problem
from rise_vlm.data.formats.base import Item
from rise_vlm.data.formats.guessing import guess
from rise_vlm.data.formats.superclevr import KINDS
from rise_vlm.tasks.transformation import Transformation
from rise_vlm.worlds.blocks_questions import FAMILIES, Program, answer, sample_program
from rise_vlm.worlds.blocks_words import Seen, fits, stated_in, true_of

Find = Callable[[str], Path]


def imported(source: Path, out: Path) -> tuple[Dataset, list[Record]]:
    """The dataset that ``rise data import SOURCE`` makes, and all its records; nothing is put aside."""
    assert run(["data", "import", str(source), "--out", str(out)]) == 0
    dataset = Dataset.open(out)
    records = [record for split in dataset.splits for record in dataset.records(split)]
    assert not any(counts.quarantined for counts in dataset.counts.values())
    assert not (out / "quarantine.jsonl").exists()
    return dataset, records


def objects(source: Path, image: str) -> list[Seen]:
    """What stands in a real scene, read here anew."""
    scene = json.loads((source / "output" / "scenes" / f"{image}.json").read_text())
    kind = {shape: kind for kind, shapes in KINDS.items() for shape in shapes}
    seen = []
    for thing in scene["objects"]:
        u = thing["pixel_coords"][0][0] / 640
        place = "left" if u < 0.38 else "right" if u > 0.62 else "middle"
        seen.append(Seen(thing["size"], thing["color"], thing["material"], kind[thing["shape"]], place))
    return seen


def test_super_clevr(tmp_path: Path, shared_data: Find) -> None:
    source = shared_data("vqa-superclevr")
    dataset, records = imported(source, tmp_path / "out")
    assert dataset.card.task == "counting"
    assert dataset.splits == ["test"]
    kinds = Counter(record.meta["questions"] for record in records)
    assert kinds == {"released": 45, "ours": 10 * len(FAMILIES)}  # of the 463 released questions 45 are counts
    for record in records:
        if record.meta["questions"] == "released":
            assert re.search(r"\b(how many|what number)\b", record.question or "", re.IGNORECASE)
            continue
        image = re.sub("-[a-z]+$", "", record.id)
        seen = objects(source, image)
        program = Program.from_dict(record.meta["program"])
        assert answer(program, seen) == record.annotation
        assert stated_in(record.rationale or "") <= true_of(seen), record.rationale
        told = [fits(one, ("", "", "", "thing")) for one in seen]
        assert sum(told) == len(seen)
        assert Path(record.images[0]).stem == image


def test_geometry3k(tmp_path: Path, shared_data: Find) -> None:
    source = shared_data("geo-geometry3k-samples")
    dataset, records = imported(source, tmp_path / "out")
    assert (dataset.card.task, len(records)) == ("structure", 10)
    for record in records:
        problem = json.loads((source / "problems" / record.id / "data.json").read_text())
        listed = f"Choices: A. {problem['choices'][0]} B. {problem['choices'][1]}"
        assert record.annotation == problem["answer"]
        assert (record.question or "").startswith(problem["problem_text"])
        assert listed in (record.question or "")
        assert record.meta["value"] == problem["precise_value"]["ABCD".index(problem["answer"])]
        assert record.meta["logic_form"]["point_positions"]
        image = dataset.image(record)  # transparent in the file: white, not black
        assert image.mode == "RGB"
        colours = Counter(image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata())
        assert colours.most_common(1)[0][0] == (255, 255, 255)


def test_trance(tmp_path: Path, shared_data: Find) -> None:
    source = shared_data("transform-trance-sample")
    dataset, records = imported(source, tmp_path / "out")
    assert dataset.card.task == "transformation"
    assert dataset.splits == ["test", "ood_left", "ood_right"]
    for record, letter in zip(records, "CLR", strict=True):
        assert [Path(name).name for name in record.images] == ["img_000000-init.C.png", f"img_000000-fin.{letter}.png"]
        told = "change_color(2, cyan), change_position(2, behind), change_color(4, brown)"
        assert record.annotation["functions"] == told
        assert Transformation().metrics([(record.annotation, told)])["final_state"] == 1.0
        assert "small yellow glass cube (2)" in (record.question or "")
        assert "The large blue glass cube (4): then its color has become brown." in (record.rationale or "")
        assert record.meta["options"] == [["cyan"], [["behind", 2]], ["brown"]]


def test_nlvr(tmp_path: Path, shared_data: Find) -> None:
    source = shared_data("vqa-nlvr1")
    dataset, records = imported(source, tmp_path / "out")
    assert (dataset.card.task, dataset.card.classes) == ("classification", ["false", "true"])
    told = {split: Counter(record.annotation for record in dataset.records(split)) for split in dataset.splits}
    assert told == {"val": {"true": 187, "false": 143}, "test": {"true": 84, "false": 59}}
    assert all("true or false" in (record.question or "") for record in records)
    assert all(dataset.image(record).size == (400, 100) for record in records[:5])


SOURCES = {"vqa-superclevr": "test", "geo-geometry3k-samples": "train", "transform-trance-sample": "ood_left"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), [*SOURCES.items(), ("vqa-nlvr1", "val")])
def test_the_built_in_model_is_evaluated_on_each(
    name: str, split: str, tmp_path: Path, shared_data: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared_data(name)
    monkeypatch.chdir(tmp_path)
    imported(source, Path("data"))
    words = ["evaluate", "tiny", "data", "--split", split, "--limit", "2", "--max-new-tokens", "8", "--out", "run"]
    assert run(words) == 0
    (arm,) = json.loads(Path("run/results.json").read_text())["arms"]
    assert arm["split"] == split
    assert arm["n"] in (1, 2)
    assert 0.0 <= arm["metrics"]["score"] <= 1.0


# --- bad files -------------------------------------------------------------------------------------------------------

THING = {"size": "small", "color": "red", "material": "metal", "shape": "suv", "pixel_coords": [[9, 9, 1], [64, 48]]}
SCENE = {"objects": [THING] * 3, "directions": {}, "relationships": {}, "image_filename": "1.png"}


def test_scenes_may_stand_in_one_file(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", "images/2.png")
    scenes = [SCENE | {"split": "val"}, SCENE | {"image_filename": "2.png", "split": "test"}, {"objects": []}]
    put_text(tmp_path / "scenes.json", {"info": {}, "scenes": scenes})
    assert guess(tmp_path)[0] == "superclevr"
    *items, problem = found("superclevr", tmp_path, "counting")
    assert [item.split for item in items if isinstance(item, Item)] == ["val"] * 4 + ["test"] * 4
    assert isinstance(problem, Problem)
    assert problem.row == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [({"objects": []}, "no objects"), ({"objects": [THING | {"shape": "tank"}]}, "shape 'tank'"),
     ({"objects": [{}]}, "size None"), ({"objects": [THING | {"pixel_coords": [[1], 2]}]}, "pixel_coords"),
     ({"image_filename": 3}, "no image_filename"), ({"image_filename": "../1.png"}, "1.png")],
)  # fmt: skip
def test_a_scene_that_cannot_be_read_is_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    put(tmp_path, "1.png")
    put_text(tmp_path / "scenes" / "1.json", SCENE | change)
    (problem,) = found("superclevr", tmp_path, "counting")
    assert isinstance(problem, Problem)
    assert why in problem.reason
    assert problem.file == "scenes/1.json"


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_scenes_of_few_things_can_be_asked_about(number: int, family: str) -> None:
    seen = [Seen("small", colour, "metal", "car", "left") for colour in ("red", "blue", "red")[:number]]
    for seed in range(5):
        assert answer(sample_program(random.Random(seed), seen, family), seen) >= 0


def test_questions_that_do_not_count_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    asked = [{"question": "How many?", "image_filename": "1.png", "answer": given} for given in (2, True, "red", "2")]
    put_text(tmp_path / "questions.json", {"info": {}, "questions": [*asked, {"answer": 3}]})
    first, *_, last = read = found("superclevr", tmp_path, "counting")
    assert isinstance(first, Item)
    assert first.annotation == 2
    assert isinstance(last, Problem)
    assert len(skips(read)) == 3


PROBLEM = {"problem_text": "Find x.", "choices": ["1", "2"], "answer": "B", "precise_value": [1, 2]}


@pytest.mark.parametrize(
    ("change", "why"),
    [({"answer": "C"}, "no letter of 2"), ({"answer": ""}, "no letter"), ({"choices": ["1"]}, "no list of choices"),
     ({"choices": 3}, "no list of choices"), ({"problem_text": None}, "no problem_text")],
)  # fmt: skip
def test_a_problem_that_cannot_be_read_is_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    put(tmp_path, "7/img_diagram.png", "8/img_problem.png")
    put_text(tmp_path / "7" / "data.json", PROBLEM | change)
    put_text(tmp_path / "8" / "data.json", PROBLEM)
    problem, left = found("geometry3k", tmp_path, "structure")
    assert isinstance(problem, Problem)
    assert why in problem.reason
    assert skips([left]) == ["a problem without img_diagram.png"]


@pytest.mark.parametrize(
    ("step", "why"),
    [({"attr": "weight", "val": "big"}, "none of TRANCE's"), ({"val": ["behind", 3]}, "none of TRANCE's"),
     ({"obj_idx": True}, "none of TRANCE's"), ({"obj_idx": 9}, "beyond the 1"), ({"val": ["left", 1]}, "do not lead")],
)  # fmt: skip
def test_a_sample_that_cannot_be_true_is_told(
    tmp_path: Path, step: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in", "a.png", "b.png")
    thing = {"shape": "cube", "size": "small", "color": "red", "material": "metal", "position": [0, 0]}
    states = [{"objects": [thing], "images": {"Camera_Center": "/x/a.png"}},
              {"objects": [thing | {"position": [10, 0]}], "images": {"Camera_Center": "/x/b.png"}}]  # fmt: skip
    good = {"obj_idx": 0, "attr": "position", "val": ["behind", 1], "options": []}
    sample = {"states": states, "transformations": [good]}
    file = put_text(tmp_path / "in" / "1.json", sample)
    assert run(["data", "import", str(file), "--out", str(tmp_path / "good")]) == 0
    put_text(file, sample | {"transformations": [good | step]})
    assert run(["data", "import", "trance", str(file), "--out", str(tmp_path / "bad")]) == 1
    assert why in " ".join(capsys.readouterr().err.split())


def test_lines_of_nlvr_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    put(tmp_path, "images/0/dev-1-0-0.png")
    row = {"sentence": "A box.", "label": "true", "identifier": "1-0", "directory": "0", "structured_rep": []}
    bad = [row | {"label": "maybe"}, row | {"identifier": ""}, row | {"sentence": 3}]
    bad.append(row | {"identifier": "/../../../../secret"})
    lines = [json.dumps(line) for line in (row, *bad)]
    put_text(tmp_path / "dev.json", "\n".join([*lines, "{"]))
    read = found("nlvr", tmp_path, "classification")
    assert [item.split for item in read if isinstance(item, Item)] == ["val"]
    told = " ".join(each.reason for each in read if isinstance(each, Problem))
    for why in ("neither true nor false", "no identifier", "no JSON", "leaves the folder"):
        assert why in told, told
