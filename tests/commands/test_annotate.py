"""``rise annotate``: a row for every picture, a word about every broken one, and nothing done twice."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import picture

from rise_vlm.cli import run
from rise_vlm.engine.sample import Rollout
from rise_vlm.stages.files import read_rows

TASK = "task: classification\nclasses: [red, blue]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "my photos ü"
    (photos / "inner").mkdir(parents=True)
    for i in range(3):
        picture(i).save(photos / f"p {i}.png")
    picture(9, 640, 480).save(photos / "inner" / "big.jpg")
    (photos / "notes.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    return photos


def annotate(model: Path, *arguments: str) -> int:
    return run(["annotate", str(model), "--max-new-tokens", "48", *arguments])


def test_every_picture_of_a_folder_gets_a_row(model: Path, folder: Path, capsys) -> None:
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", "a.jsonl", "--json") == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err.startswith(f"annotate: loading {model} for 4 images.")
    rows = list(read_rows(Path("a.jsonl")))
    assert told["annotated"] == len(rows) == 4 and told["broken"] == 0
    names = {Path(row["image"]).name for row in rows}
    assert names == {"p 0.png", "p 1.png", "p 2.png", "big.jpg"}
    big = next(row for row in rows if row["image"].endswith("big.jpg"))
    assert (big["width"], big["height"]) == (640, 480)
    for row in rows:
        assert (row["annotation"] is None) == (row["reason"] is not None)
        assert row["annotation"] in ("red", "blue", None) and row["completion"]
        assert row["annotation"] is None or row["rationale"]


def test_a_run_for_another_task_and_the_built_in_model_are_told(model: Path, folder: Path, capsys) -> None:
    stage = Path("r/stages/01-sft")
    shutil.copytree(model, stage / "model")
    (stage / "done.json").write_text('{"summary": {"model": "model"}}', encoding="utf-8")
    Path("r/recipe.yaml").write_text("stages: [sft, evaluate]\nmodel: tiny\n", encoding="utf-8")
    Path("r/results.json").write_text('{"data": {"task": "detection"}}', encoding="utf-8")
    arguments = (str(folder / "inner"), "--task", "task.yaml", "--out", "a.jsonl", "--report", "page.html")
    assert annotate(Path("r"), *arguments) == 0
    told = capsys.readouterr().err
    top = Path("page.html").read_text(encoding="utf-8").partition("<main>")[0]
    assert "trained on detection, not on classification" in top and "the built-in model knows drawn scenes" in top
    assert told.count("note: ") == 2
    assert "trained on detection, not on classification" in told and "the built-in model knows drawn scenes" in told


@pytest.mark.parametrize(("roles", "asked", "notes"), [
    ("answer", (), 1), ("answer", ("--role", "answer"), 0), ("answer", ("--role", "think"), 0), ("think", (), 0),
])  # fmt: skip
def test_a_run_that_answers_without_rationales_says_so_unless_the_role_was_asked_for(
    model: Path, folder: Path, capsys, roles: str, asked: tuple[str, ...], notes: int
) -> None:
    stage = Path("r/stages/01-sft")
    shutil.copytree(model, stage / "model")
    (stage / "done.json").write_text('{"summary": {"model": "model"}}', encoding="utf-8")
    recipe = f"stages: [sft, evaluate]\nmodel: {model}\nevaluate: {{roles: [{roles}]}}\n"
    Path("r/recipe.yaml").write_text(recipe, encoding="utf-8")
    assert annotate(Path("r"), str(folder / "inner"), "--task", "task.yaml", "--out", "a.jsonl", *asked) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(told) == notes
    assert all("no rationales are written" in line and "--role think" in line for line in told)
    (row,) = read_rows(Path("a.jsonl"))
    assert row["source"]["role"] == (asked[1] if asked else roles) and (not notes or not row["rationale"])


def test_boxes_come_back_in_pixels(model: Path, folder: Path) -> None:
    Path("where.yaml").write_text("task: grounding\n", encoding="utf-8")
    arguments = (str(folder / "inner"), "--task", "where.yaml", "--question", "What is odd?", "--out", "b.jsonl")
    assert annotate(model, *arguments) == 0
    (row,) = read_rows(Path("b.jsonl"))
    assert row["question"] == "What is odd?"
    assert row["annotation"] is None or (len(row["annotation"]) == 4 and row["annotation"][2] <= 640)


def test_a_broken_picture_is_told_and_skipped_and_the_exit_code_is_1(model: Path, folder: Path, capsys) -> None:
    whole = (folder / "inner" / "big.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("hello", encoding="utf-8")
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", "a.jsonl") == 1
    captured = capsys.readouterr()
    assert len(list(read_rows(Path("a.jsonl")))) == 4
    assert "cut.jpg" in captured.err and "text.jpg" in captured.err and "2 images could not be read" in captured.err


def test_a_second_call_does_only_what_is_new(model: Path, folder: Path, capsys) -> None:
    arguments = (str(folder), "--task", "task.yaml", "--out", "a.jsonl", "--json")
    assert annotate(model, *arguments) == 0
    before = Path("a.jsonl").read_text(encoding="utf-8")
    picture(5).save(folder / "new.png")
    with Path("a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"image": "torn')
    capsys.readouterr()
    assert annotate(model, *arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["annotated"], told["skipped"]) == (1, 4)
    after = Path("a.jsonl").read_text(encoding="utf-8")
    assert after.startswith(before) and len(list(read_rows(Path("a.jsonl")))) == 5 and "torn" not in after


NOT_OURS = {
    "notes.txt": b"my notes\nline two",
    "photo.jpg": b"\xff\xd8\xff\xe0 a picture",
    "other.jsonl": b'{"id": "a", "images": ["a.png"]}\n{"id": "b", "images": ["b.png"]}\n',
    "one.jsonl": b'{"id": "a", "images": ["a.png"]}',
    "list.json": b'[{"id": 1}]\n',
    "damaged.jsonl": b'{"id": "a", "image": "a.png", "source": {}}\nline two\n',
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_file_of_something_else_is_refused_and_left_alone(model: Path, folder: Path, capsys, name: str) -> None:
    out = Path(name)
    out.write_bytes(NOT_OURS[name])
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", name) in (1, 2)
    assert out.read_bytes() == NOT_OURS[name]
    told = capsys.readouterr().err
    assert name in told and "Traceback" not in told and "bug" not in told


@pytest.mark.parametrize("torn", [b"", b'{"i', b'{"id": "p 0.png", "image": "p'])
def test_a_first_row_that_was_torn_is_ours(model: Path, folder: Path, torn: bytes) -> None:
    Path("a.jsonl").write_bytes(torn)
    arguments = (str(folder / "p 0.png"), "--task", "task.yaml", "--out", "a.jsonl")
    assert annotate(model, *arguments) == 0
    assert len(list(read_rows(Path("a.jsonl")))) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--task", "other.yaml"], "another set of classes"),
        (["--task", "count.yaml"], "another task"),
        (["--question", "What colour is it?"], "another question"),
        (["--role", "answer"], "another role"),
        (["--max-new-tokens", "9"], "another longest completion"),
        (["--max-pixels", "90000"], "another bound of a resized picture"),
        (["MODEL"], "another model"),
    ],
)
def test_answers_of_something_else_are_refused_and_left_alone(
    model: Path, folder: Path, tmp_path: Path, capsys, changed: list[str], says: str
) -> None:
    Path("other.yaml").write_text("task: classification\nclasses: [red, green]\n", encoding="utf-8")
    Path("count.yaml").write_text("task: counting\nquestion: Which class does this picture show?\n", encoding="utf-8")
    picture_file = str(folder / "p 0.png")
    assert annotate(model, picture_file, "--task", "task.yaml", "--out", "a.jsonl") == 0
    before = Path("a.jsonl").read_bytes()
    if changed == ["MODEL"]:
        changed, other = [], tmp_path / "other-model"
        shutil.copytree(model, other)
        config = other / "config.json"
        config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        model = other
    options = [] if "--task" in changed else ["--task", "task.yaml"]
    assert annotate(model, str(folder), *options, *changed, "--out", "a.jsonl") == 2
    told = capsys.readouterr().err
    assert says in told and "another --out" in told
    assert Path("a.jsonl").read_bytes() == before


def test_a_picture_of_a_shape_that_the_model_does_not_take_is_named_and_skipped(
    model: Path, folder: Path, capsys
) -> None:
    picture(3, 3000, 10).save(folder / "strip.png")
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", "a.jsonl") == 1
    told = capsys.readouterr().err
    assert "strip.png" in told and "3000 x 10" in told and "1 image could not be" in told
    assert len(list(read_rows(Path("a.jsonl")))) == 4


def test_a_name_that_is_not_utf_8_is_told_and_skipped(model: Path, folder: Path, capsys) -> None:
    try:
        picture(4).save(os.fsdecode(os.fsencode(str(folder)) + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", "a.jsonl") == 1
    told = capsys.readouterr().err
    assert "caf" in told and "not UTF-8" in told and "Traceback" not in told
    assert len(list(read_rows(Path("a.jsonl")))) == 4


def test_pictures_of_one_name_in_several_folders_get_ids_of_their_own(model: Path, folder: Path) -> None:
    picture(7).save(folder / "inner" / "p 0.png")
    assert annotate(model, str(folder), "--task", "task.yaml", "--out", "a.jsonl") == 0
    rows = list(read_rows(Path("a.jsonl")))
    assert len({row["id"] for row in rows}) == len(rows) == 5


def test_a_dataset_gives_the_task_and_a_glob_the_pictures(model: Path, folder: Path, classes: Path, capsys) -> None:
    assert annotate(model, str(folder / "*.png"), "--task", str(classes), "--out", "a.jsonl", "--role", "answer") == 0
    rows = list(read_rows(Path("a.jsonl")))
    assert len(rows) == 3 and all(row["rationale"] is None for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing-*.png", "--task", "task.yaml"], "matches nothing"),
        (["{folder}", "--task", "nowhere.yaml"], "nowhere.yaml"),
        (["{folder}", "--task", "bad.yaml"], "unknown key 'clases'"),
        (["{folder}", "--task", "where.yaml"], "needs a question"),
        (["{folder}", "--task", "odd.yaml"], "unknown task 'clasification'"),
        (["{folder}", "--task", "task.yaml", "--out", "{folder}"], "is a folder"),
        (["{folder}", "--task", "task.yaml", "--out", "no/such/a.jsonl"], "there is no folder"),
        (["{folder}/notes.txt", "--task", "task.yaml", "--role", "speak"], "--role is think or answer"),
        (["{folder}", "--task", "task.yaml", "--question", "x" * 10_000], "--question has 10000 characters"),
        (["{folder}", "--task", "long.yaml"], "long.yaml"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(model: Path, folder: Path, capsys, arguments, says) -> None:
    Path("bad.yaml").write_text("task: classification\nclases: [a, b]\n", encoding="utf-8")
    Path("where.yaml").write_text("task: grounding\n", encoding="utf-8")
    long = "why " * 2500
    Path("long.yaml").write_text(f"task: classification\nclasses: [a, b]\nquestion: {long}\n", encoding="utf-8")
    Path("odd.yaml").write_text("task: clasification\nclasses: [a, b]\n", encoding="utf-8")
    assert annotate(model, *(argument.format(folder=folder) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err and "Traceback" not in captured.err


def test_a_greedy_answer_has_no_confidence(model: Path, folder: Path) -> None:
    assert annotate(model, str(folder / "p 0.png"), "--task", "task.yaml", "--out", "a.jsonl") == 0
    (row,) = read_rows(Path("a.jsonl"))
    assert list(row)[:1] == ["id"] and list(row)[-1] == "source"
    assert all(row[key] is None for key in ("samples", "confidence", "scores", "reconstruction", "leaks"))
    assert row["review"] is (row["annotation"] is None)


def test_samples_check_files_and_page_are_made_and_made_again(model: Path, folder: Path, capsys) -> None:
    arguments = [str(folder), "--task", "task.yaml", "--out", "a.jsonl", "--samples", "3", "--check", "--json"]
    files = ["--to", "labelstudio:tasks.json", "--to", "folders:sorted", "--report", "page.html"]
    assert annotate(model, *arguments, *files) == 0
    told = json.loads(capsys.readouterr().out)
    rows = list(read_rows(Path("a.jsonl")))
    assert told["annotated"] == len(rows) == 4
    for row in rows:
        assert row["samples"] == 3 and 0 <= row["confidence"] <= 1
        if row["annotation"] is not None:
            assert row["annotation"] in row["completion"]
            assert row["confidence"] in (pytest.approx(1 / 3, abs=1e-6), pytest.approx(2 / 3, abs=1e-6), 1)
            assert (row["reconstruction"] in (0, 1)) == (row["leaks"] is not None) == bool(row["rationale"])
    read = sum(row["annotation"] is not None for row in rows)
    assert told["review"] == sum(row["review"] for row in rows)
    assert [one["answers"] for one in told["wrote"]] == [read, read, 4]
    assert len(json.loads(Path("tasks.json").read_text(encoding="utf-8"))) == read
    assert len(list(Path("sorted").rglob("*.*"))) == read and Path("page.html").stat().st_size > 10_000
    picture(5).save(folder / "new.png")
    assert annotate(model, *arguments, *files) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["annotated"], told["skipped"], told["wrote"][2]["answers"]) == (1, 4, 5)


def test_the_same_seed_gives_the_same_samples_and_another_gives_others(model: Path, folder: Path) -> None:
    arguments = (str(folder), "--task", "task.yaml", "--samples", "4", "--temperature", "2")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert annotate(model, *arguments, "--seed", seed, "--out", f"{name}.jsonl") == 0
    kept = {name: [row["completion"] for row in read_rows(Path(f"{name}.jsonl"))] for name in "abc"}
    assert kept["a"] == kept["b"] != kept["c"]


def scripted(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    """Let the model say ``texts`` in turn."""

    def say(policy, prompts, n, **how):
        empty = torch.zeros(0)
        return [[Rollout(empty, empty, texts.pop(0), True) for _ in range(n)] for _ in prompts]

    for asks in ("annotate", "rebuilding"):
        monkeypatch.setattr(f"rise_vlm.stages.{asks}.sample", say)


def test_boxes_of_several_samples_become_coco_with_scores(model: Path, folder: Path, monkeypatch) -> None:
    Path("find.yaml").write_text("task: detection\nclasses: [cup, jar]\n", encoding="utf-8")
    cup, jar = "cup: [100, 100, 500, 500]", "jar: [600, 600, 900, 900]"
    said = [f"<think>A rim.</think><answer>{answer}</answer>" for answer in (cup, f"{cup}; {jar}", cup, "a cup")]
    said.append(f"<answer>{cup}</answer>")
    scripted(monkeypatch, said)
    arguments = (str(folder / "inner"), "--task", "find.yaml", "--samples", "4", "--check", "--out", "b.jsonl")
    assert annotate(model, *arguments, "--to", "coco:c.json") == 0
    (row,) = read_rows(Path("b.jsonl"))
    assert row["annotation"] == [{"label": "cup", "box": [64, 48, 320, 240]}]
    assert row["confidence"] == pytest.approx((1 + 0.5 + 1 + 0) / 4) and row["scores"] == [0.75]
    assert (row["reconstruction"], row["review"], row["rationale"]) == (1, False, "A rim.")
    (found,) = json.loads(Path("c.json").read_text(encoding="utf-8"))["annotations"]
    assert (found["score"], found["bbox"]) == (0.75, [64, 48, 256, 192])


def test_an_answer_of_only_half_the_samples_is_for_review(model: Path, folder: Path, monkeypatch) -> None:
    scripted(monkeypatch, [f"<think>Look.</think><answer>{answer}</answer>" for answer in ("red", "blue")])
    arguments = (str(folder / "p 0.png"), "--task", "task.yaml", "--samples", "2", "--out", "a.jsonl")
    assert annotate(model, *arguments) == 0
    (row,) = read_rows(Path("a.jsonl"))
    assert (row["annotation"], row["confidence"], row["review"]) == ("red", 0.5, True)


def test_a_rationale_that_leads_elsewhere_is_for_review(model: Path, folder: Path, monkeypatch, capsys) -> None:
    scripted(monkeypatch, ["<think>Like blood.</think><answer>red</answer>", "<answer>blue</answer>"])
    arguments = (str(folder / "p 0.png"), "--task", "task.yaml", "--check", "--out", "a.jsonl", "--json")
    assert annotate(model, *arguments) == 0
    (row,) = read_rows(Path("a.jsonl"))
    assert (row["annotation"], row["confidence"], row["reconstruction"], row["review"]) == ("red", None, 0, True)
    assert row["leaks"] == [] and json.loads(capsys.readouterr().out)["review"] == 1


@pytest.mark.parametrize(
    ("back", "says"),
    [
        (["red"] * 6, 'all 6 rationales lead back to the same answer, "red": here --check says nothing'),
        (["green"] * 6, "no answer could be read of what came back from 6 rationales: here --check says nothing"),
        (["red", "blue"] * 3, ""),
    ],
)
def test_a_check_that_tells_nothing_apart_is_told(
    model: Path, folder: Path, monkeypatch, capsys, back: list[str], says: str
) -> None:
    monkeypatch.setattr("rise_vlm.stages.pictures.FIRST_BATCH", 6)
    for i in range(3, 5):
        picture(i).save(folder / f"p {i}.png")
    (folder / "inner" / "big.jpg").rename(folder / "p 5.png")
    said = [f"<think>Like this.</think><answer>{answer}</answer>" for answer in ["red", "blue"] * 3]
    scripted(monkeypatch, said + [f"<answer>{answer}</answer>" for answer in back])
    arguments = (str(folder), "--task", "task.yaml", "--check", "--out", "a.jsonl", "--report", "p.html")
    for _ in range(2):  # of rows that were there before it is told too
        assert annotate(model, *arguments) == 0
        told = capsys.readouterr().err
        assert ("--check says nothing" in told) == bool(says) and says in told
        assert ("--check says nothing" in Path("p.html").read_text(encoding="utf-8")) == bool(says)
    rebuilt = [row["rebuilt"] for row in read_rows(Path("a.jsonl"))]
    assert rebuilt == [None if answer == "green" else answer for answer in back]


def test_files_follow_an_interruption_by_the_same_command(model: Path, folder: Path, monkeypatch, capsys) -> None:
    from rise_vlm.stages import annotate as stage

    arguments = (str(folder), "--task", "task.yaml", "--out", "a.jsonl", "--to", "csv:a.csv")
    real, calls = stage.append_rows, 0

    def once(path: Path, rows: list[dict[str, object]]) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        real(path, rows)

    monkeypatch.setattr("rise_vlm.stages.pictures.BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "append_rows", once)
        assert annotate(model, *arguments) == 130
    assert "same command continues" in capsys.readouterr().err and not Path("a.csv").exists()
    before = Path("a.jsonl").read_text(encoding="utf-8")
    assert before.count("\n") == 2
    assert annotate(model, *arguments) == 0
    rows = list(read_rows(Path("a.jsonl")))
    assert Path("a.jsonl").read_text(encoding="utf-8").startswith(before) and len(rows) == 4
    read = sum(row["annotation"] is not None for row in rows)
    assert Path("a.csv").read_text(encoding="utf-8").count("\n") == 1 + read


def test_a_second_command_on_the_same_answers_is_refused_and_changes_nothing(model: Path, folder: Path, capsys) -> None:
    from rise_vlm.lock import alone

    arguments = (str(folder), "--task", "task.yaml", "--out", "a.jsonl", "--to", "csv:a.csv")
    with alone(Path("a.jsonl")):  # as another process: a lock is of the file as it was opened
        Path("a.jsonl").write_text('{"id": "half a row', encoding="utf-8")
        assert annotate(model, *arguments) == 1
        assert Path("a.jsonl").read_text(encoding="utf-8") == '{"id": "half a row'
    assert "--out a.jsonl: another process is at work in this file" in capsys.readouterr().err
    assert annotate(model, *arguments) == 0 and len(list(read_rows(Path("a.jsonl")))) == 4


def test_where_no_picture_could_be_read_no_file_is_left(model: Path, folder: Path) -> None:
    (folder / "text.jpg").write_text("hello", encoding="utf-8")
    arguments = (str(folder / "text.jpg"), "--task", "task.yaml", "--out", "a.jsonl")
    assert annotate(model, *arguments, "--to", "csv:a.csv", "--report", "p.html") == 1
    assert not any(Path(name).exists() for name in ("a.jsonl", "a.csv", "p.html"))


def test_a_prompt_without_room_for_its_answer_is_skipped_and_not_the_end(model: Path, folder: Path, capsys) -> None:
    arguments = [str(folder / "p 0.png"), "--task", "task.yaml", "--out", "a.jsonl", "--to", "csv:a.csv"]
    assert run(["annotate", str(model), *arguments, "--max-new-tokens", "1500"]) == 1
    told = capsys.readouterr().err
    assert "p 0.png: its prompt has" in told and "Lower --max-pixels or --max-new-tokens" in told
    assert not Path("a.csv").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--samples", "1"], "--samples 1 has nothing to agree with"),
        (["--samples", "4", "--temperature", "0"], "--temperature is above 0"),
        (["--samples", "4", "--temperature", "nan"], "--temperature is above 0"),
        (["--samples", "65"], "64"),
        (["--review-below", "2"], "review-below"),
        (["--to", "coco:a.json"], "'coco' cannot hold classification"),
        (["--to", "csvv:a.csv"], "Did you mean 'csv'"),
        (["--to", "csv:task.yaml"], "task.yaml exists and was not made from these answers"),
        (["--report", "task.yaml"], "task.yaml exists and was not made from these answers"),
        (["--report", "no/such/page.html"], "there is no folder no/such"),
        (["--report", "p.html", "--to", "csv:p.html"], "p.html is written to already"),
        (["--report", "answers.jsonl"], "--report"),
    ],
)
def test_a_wrong_option_is_told_before_the_model_is_loaded(folder: Path, capsys, options: list[str], says: str) -> None:
    assert run(["annotate", "no/such/model", str(folder), "--task", "task.yaml", *options]) == 2
    captured = capsys.readouterr()
    told = " ".join(captured.err.replace("│", " ").split())
    assert captured.out == "" and says in told and "Traceback" not in told


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that not even root can write to")
@pytest.mark.parametrize("option", ["--out", "--report"])
def test_a_place_that_cannot_be_written_is_told_before_the_model_is_loaded(folder: Path, capsys, option: str) -> None:
    arguments = ["annotate", "no/such/model", str(folder), "--task", "task.yaml", option, "/proc/answers.jsonl"]
    assert run(arguments) == 1
    told = capsys.readouterr().err
    assert f"{option} /proc cannot be written" in told and "Traceback" not in told


def test_answers_of_other_samples_or_without_check_are_refused(model: Path, folder: Path, capsys) -> None:
    arguments = (str(folder / "p 0.png"), "--task", "task.yaml", "--out", "a.jsonl")
    assert annotate(model, *arguments) == 0
    old = [{key: row[key] for key in ("id", "image", "source")} for row in read_rows(Path("a.jsonl"))]
    for key in ("samples", "temperature", "check"):
        del old[0]["source"][key]  # as rows were before there were such settings
    Path("a.jsonl").write_text(json.dumps(old[0]) + "\n", encoding="utf-8")
    capsys.readouterr()
    assert annotate(model, *arguments, "--samples", "2", "--check") == 2
    told = capsys.readouterr().err
    assert "another number of samples and another temperature and another setting of --check" in told
    assert annotate(model, *arguments) == 0
