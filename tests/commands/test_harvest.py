"""rise harvest: fresh samples and a loop's own, another threshold without sampling again, exports, and mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from stage_kit import small_recipe

from rise_vlm.cli import run
from rise_vlm.commands.harvest import chart
from rise_vlm.data import Dataset
from rise_vlm.data.formats.sharegpt import row_of
from rise_vlm.policy.frames import FRAMES
from rise_vlm.recipes import load_recipe
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.run import run_recipe
from rise_vlm.tasks.base import think_answer

EASY = ("--threshold", "-9", "--gain", "-9", "--repetition", "1")


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory, classes: Path, model: Path) -> Path:
    """A run with a closed loop; its settings make rationales short."""
    out = tmp_path_factory.mktemp("runs") / "loop"
    recipe = small_recipe("rise", classes, model, "stages=[closed_loop]", "grounding.weight=0")
    run_recipe(recipe, out, report=False)
    return out


def test_the_help_says_what_the_recipe_does(capsys) -> None:
    usual = load_recipe("rise").harvest
    assert run(["harvest", "--help"]) == 0
    said = " ".join(re.sub(r"[│\n]", " ", capsys.readouterr().out).split())
    for told in (f"sampled per record; {usual.samples}.", f"Kept per record at most; {usual.top_k}.",
                 f"may have come before in it; {usual.repetition:g}."):  # fmt: skip
        assert told in said


def harvest(capsys, *words: object) -> dict:
    assert run(["harvest", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def as_llama_factory_reads(folder: Path, name: str) -> list[tuple[str, str, dict]]:
    """Prompt, reply and provenance of each row, by the rules of LLaMA-Factory's converter for ``sharegpt``: the columns
    and tags of dataset_info.json, user and assistant in turn, a mark per picture, pictures below ``media_dir``."""
    about = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))[name]
    assert about["formatting"] == "sharegpt"
    columns, tags = about["columns"], about["tags"]
    turns = (tags["user_tag"], tags["assistant_tag"])
    found = []
    for row in json.loads((folder / about["file_name"]).read_text(encoding="utf-8")):
        messages, images = row[columns["messages"]], row[columns["images"]]
        assert tuple(one[tags["role_tag"]] for one in messages) == turns
        prompt, reply = (one[tags["content_tag"]] for one in messages)
        assert (prompt + reply).count("<image>") == len(images) and all((folder / one).is_file() for one in images)
        found.append((prompt, reply, row["provenance"]))
    return found


def test_fresh_samples_are_kept_with_where_they_come_from_and_chosen_again_without_sampling(
    looped: Path, classes: Path, tmp_path: Path, capsys
) -> None:
    words = (looped, classes, "--samples", 2, "--out", tmp_path / "h")
    found = harvest(capsys, *words, *EASY, "--to", f"sharegpt:{tmp_path / 'kept'}")
    assert found["sampled"] == 8 and 0 < found["kept"] <= 8 and found["kept"] + sum(found["dropped"].values()) == 8
    rows = list(read_rows(tmp_path / "h" / "rationales.jsonl"))
    assert len(rows) == found["kept"] and found["conditions"] == "threshold -9, gain -9"
    for row in rows:
        assert row["source"] == "samples" and row["run"] == str(looped) and "closed_loop" in row["model"]
        assert {"id", "sample", "worth", "gain", "leaks", "threshold"} <= set(row)
    told = as_llama_factory_reads(tmp_path / "kept", f"{Dataset.open(classes).card.name}_train")
    assert len(told) == found["kept"]
    task, records = Dataset.open(classes).task, {one.id: one for one in Dataset.open(classes).records("train")}
    for (prompt, reply, source), row in zip(told, rows, strict=True):
        record = records[row["id"]]
        assert prompt == "<image>" + task.prompt("think", record, FRAMES["thousand"]())
        assert reply == think_answer(row["rationale"], record.annotation)
        assert source["record"] == row["id"] and source["leak_free"] and source["min_gain"] == -9
        same = ("source", "run", "model", "seed", "sample", "score", "gain", "worth", "threshold")
        assert {name: source[name] for name in same} == {name: row[name] for name in same}
    shown = json.loads((tmp_path / "h" / "histogram.json").read_text(encoding="utf-8"))
    assert sum(shown["gain"]["counts"]) == sum(shown["counts"]) == 8 and shown["gain"]["threshold"] == -9
    samples = tmp_path / "h" / "samples.jsonl"
    before = samples.stat().st_mtime_ns
    again = harvest(capsys, *words, *EASY, "--top-k", 1, "--to", f"dataset:{tmp_path / 'set'}")
    assert samples.stat().st_mtime_ns == before and again["kept"] == again["records"] <= 4
    records = list(Dataset.open(tmp_path / "set").records("train"))
    assert len(records) == again["kept"] and all(record.rationale for record in records)
    assert {record.meta["harvest"]["model"] for record in records} == {rows[0]["model"]}
    assert run(["harvest", *map(str, words), "--threshold", "9"]) == 1
    said = capsys.readouterr().err
    assert "none of 8 rationales is kept (threshold 9, gain 0.05, repetition 0)" in said
    assert "would" in said and "harvest." not in said and "Traceback" not in said
    assert run(["harvest", str(looped), str(classes), "--samples", "3", "--out", str(tmp_path / "h")]) == 2
    assert "sampled otherwise" in capsys.readouterr().err


def test_only_so_many_records_are_asked_about(looped: Path, classes: Path, tmp_path: Path, capsys) -> None:
    found = harvest(capsys, looped, classes, "--samples", 1, "--records", 2, "--out", tmp_path / "h", *EASY)
    assert found["of_records"] == 2


def test_the_loop_s_own_rationales_need_no_model(
    looped: Path, classes: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("rise_vlm.policy.Policy.load", None)
    words = (looped, classes, "--rollouts", "--out", tmp_path / "h", *EASY)
    found = harvest(capsys, *words)
    assert found["sampled"] == 2 * 2 * 3
    rows = list(read_rows(tmp_path / "h" / "rationales.jsonl"))
    assert {row["source"] for row in rows} == {"rollouts"} and all(row["step"] in (1, 2) for row in rows)
    assert harvest(capsys, *words, "--last", 1)["sampled"] == 6
    assert run(["harvest", *map(str, words)]) == 0
    shown = capsys.readouterr().out
    assert "worth" in shown and "Kept" in shown and "rationales.jsonl" in shown


def test_rollouts_of_other_records_with_the_same_ids_are_refused(
    looped: Path, classes: Path, tmp_path: Path, capsys
) -> None:
    words = [
        "harvest",
        str(looped),
        str(tmp_path / "copy"),
        "--rollouts",
        "--out",
        str(tmp_path / "h"),
        *EASY,
        "--json",
    ]
    shutil.copytree(classes, tmp_path / "copy")
    assert run(words) == 0
    capsys.readouterr()
    first, *rest = Dataset.open(classes).records("train")
    (tmp_path / "copy" / rest[0].images[0]).write_bytes((classes / first.images[0]).read_bytes())
    assert run(words) == 2
    said = capsys.readouterr().err
    assert f"was trained on {classes}, where 1 of 4 records" in said and f"'{rest[0].id}'" in said


def test_rows_that_a_harvest_leaves_out_are_told(looped: Path, classes: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(classes, tmp_path / "bad")
    with (tmp_path / "bad" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    found = harvest(capsys, looped, tmp_path / "bad", "--rollouts", "--out", tmp_path / "h", *EASY)
    assert any(note.startswith("1 bad rows of split 'train' are left out") for note in found["notes"])


def test_a_long_rationale_of_the_loop_is_not_taken_for_one_that_was_cut_off(
    looped: Path, classes: Path, tmp_path: Path, capsys
) -> None:
    """Its log says which were; in one of an earlier version, which does not, an excess of 1 counts as cut off."""
    run_folder = tmp_path / "loop"
    shutil.copytree(looped, run_folder)
    path = run_folder / "stages" / "01-closed_loop" / "rollouts.parquet"
    logged = pyarrow.parquet.read_table(path).to_pylist()
    assert all(isinstance(row["finished"], bool) for row in logged)

    def cut_off(out: str, *dropped: str) -> int:
        rows = [{k: v for k, v in row.items() if k not in dropped} | {"leaks": "[]", "excess": 1.0} for row in logged]
        rows = [row | {"rationale": "soft glow", "finished": i > 0} if "finished" in row else row
                for i, row in enumerate(rows)]  # fmt: skip
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        words = ["harvest", run_folder, classes, "--rollouts", "--out", tmp_path / out, *EASY, "--json"]
        if run([str(word) for word in words]):  # none is kept
            capsys.readouterr()
            return len(rows)
        return json.loads(capsys.readouterr().out)["dropped"].get("cut off", 0)

    assert cut_off("new") == 1
    assert cut_off("old", "finished") == len(logged)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{model}", "{data}", "--rollouts"], "needs a run folder with a closed loop"),
        (["{model}", "{data}", "--last", "2"], "needs --rollouts"),
        (["{model}", "{data}", "--to", "coco:x"], "does not keep rationales; these do: dataset, "),
        (["{model}", "{data}", "--to", "sharegtp:x"], "Did you mean 'sharegpt'"),
        (["{model}", "{data}", "--to", "swift:x"], "cannot hold classification"),
        (["{model}", "{data}", "--to", "sharegpt"], "FORMAT:FOLDER"),
        (["{model}", "{data}", "--to", "sharegpt:{data}"], "exists already"),
        (["{model}", "nowhere"], "There is no folder nowhere"),
        (["nowhere", "{data}"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    words: list[str], says: str, classes: Path, model: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["harvest", *(word.format(model=model, data=classes) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err and "Traceback" not in captured.err


def test_a_text_cannot_make_up_pictures() -> None:
    row = row_of("1", "What is an <image> tag?", "<think>A <video>.</think>", ["a.png", "b.png"])
    assert row["messages"][0]["content"] == "<image><image>What is an < image> tag?"
    assert row["messages"][1]["content"] == "<think>A < video>.</think>"


def test_the_bars_show_every_rationale_and_the_threshold() -> None:
    lines = chart({"edges": [0, 0.5, 1.0], "counts": [40, 1], "kept": [0, 1], "threshold": 0.6})
    assert lines[1].endswith("40") and "░" * 40 in lines[1]
    assert "<" in lines[2] and "█" in lines[2] and lines[2].endswith("1 (1)")
