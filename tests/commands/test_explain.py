"""rise explain: every kind of reply, what is kept and why not, going on after a stop, and where the key does not go."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from stage_kit import small_recipe
from teacher_double import RATIONALE, Teacher, make_counting, serving

import rise_vlm
from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.errors import UserError
from rise_vlm.stages.explain import FRAME, Asking, judge
from rise_vlm.stages.explaining import journal_folder, open_material
from rise_vlm.stages.facts import facts_of, untrue
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.rebuilding import reconstruct_prompt
from rise_vlm.stages.run import run_recipe
from rise_vlm.web import chat
from rise_vlm.worlds import load_world

KEY = "sk-not-for-anyone-else"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("TEACHERS_KEY", KEY)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_counting(tmp_path_factory.mktemp("data") / "sheets")


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with serving(Teacher()) as one:
        yield one


def words(teacher: Teacher, data: Path, out: Path, *more: str) -> list[str]:
    return ["explain", str(data), "--teacher", teacher.url, "--model", "big", "--out", str(out), *more]


def explain(capsys: Any, teacher: Teacher, data: Path, out: Path, *more: str, code: int = 0) -> dict[str, Any]:
    found = run([*words(teacher, data, out, *more), "--json"])
    said = capsys.readouterr()
    assert found == code, said.err
    assert KEY not in said.out + said.err
    return json.loads(said.out) if code == 0 else {"error": said.err}


def rationales(out: Path) -> dict[str, str | None]:
    return {record.id: record.rationale for record in Dataset.open(out).records("train")}


def test_right_replies_are_kept_with_where_they_come_from(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explain(capsys, teacher, sheets, tmp_path / "out", "--key-env", "TEACHERS_KEY")
    assert (found["kept"], found["requests"], found["refused"]) == (6, 12, {})
    assert (found["prompt_tokens"], found["completion_tokens"]) == (1200, 240)
    out = Dataset.open(tmp_path / "out")
    assert out.splits == ["train", "val", "test"]
    for record in out.records("train"):
        assert record.rationale == RATIONALE.format(id=record.id)
        about = record.meta["teacher"]
        assert "level" in record.meta and about["endpoint"] == teacher.url.split("/")[2]
        told = {"model": "big", "score": 1.0, "reader": "teacher", "reading_score": 1.0, "leak_free": True}
        assert about.items() >= told.items()
        assert out.image(record).size == Dataset.open(sheets).image(record).size
    assert [record.rationale for record in out.records("test")] == ["An old one.", None]
    assert any("had a rationale, which is left out" in note for note in found["notes"])


def test_the_teacher_is_told_the_annotation_and_the_reader_is_not(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain(capsys, teacher, sheets, tmp_path / "out", "--records", "1", "--no-leaks")
    asked, read = (body["messages"][0]["content"] for body in teacher.bodies)
    assert "The right answer is: 5" in asked[-1]["text"] and "Do not give the number." in asked[-1]["text"]
    head, _, data = asked[0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (56, 56)
    assert [part["type"] for part in read] == ["text"] and "5" not in read[0]["text"], "a blind reading"


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("wrong", "wrong answer"),
        ("misread", "not reached from the rationale"),
        ("leak", "leaks"),
        ("empty", "empty"),
        ("null", "empty"),
        ("untagged", "not of the form"),
        ("cut off", "cut off"),
        ("malformed", "no reply"),
        ("no choices", "no reply"),
        ("huge", "no reply"),
        ("drop", "no reply"),
        ("early", "no reply"),
        ("500", "no reply"),
        ("400", "no reply"),
    ],
)
def test_a_reply_that_cannot_be_trusted_is_refused_and_counted(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], act: str, reason: str
) -> None:
    teacher.script = {"train-b": [act]}
    found = explain(capsys, teacher, sheets, tmp_path / "out", "--tries", "2", "--no-leaks")
    assert found["kept"] == 5 and found["refused"] == {reason: 1}
    assert [id for id, text in rationales(tmp_path / "out").items() if text is None] == ["train-b"]
    tries = {"huge": 1, "400": 1, "misread": 1}.get(act, 2 if reason == "no reply" else 1)
    assert teacher.asked.count("train-b") == tries
    assert teacher.read.count("train-b") == (act == "misread"), "what is refused already is not read"


@pytest.mark.parametrize(
    ("rationale", "reason"),
    [
        ("x", "says too little"),
        ("5", "says too little"),
        ("The answer is 5.", "says too little"),
        ("QUESTION", "says too little"),
        ("I was told the answer is 5, so I look at each corner and find them.", "says that the answer was given"),
        ("The given answer is 5: each corner has a mark and so has the middle.", "says that the answer was given"),
        ("There is a mark in each corner and one more in the middle, so there are 5.", None),
    ],
)  # fmt: skip
def test_where_reasons_may_name_the_answer_they_must_say_more(
    sheets: Path, rationale: str, reason: str | None
) -> None:
    material = open_material(sheets, None)
    record = material.train[0]
    said = rationale.replace("QUESTION", record.question or "")
    judged = judge(material, record, f"<think>{said}</think><answer>5</answer>", finished=True, asking=Asking())
    assert judged.reason == reason


@pytest.mark.parametrize("act", ["429", "500", "503", "drop", "malformed", "early"])
def test_what_passes_is_tried_again(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], act: str
) -> None:
    teacher.script = {"train-c": [act, act, "right"]}
    found = explain(capsys, teacher, sheets, tmp_path / "out")
    assert found["kept"] == 6 and teacher.asked.count("train-c") == 3


def test_a_slow_reply_is_waited_for_no_longer_than_asked(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-f": ["slow"]}
    found = explain(capsys, teacher, sheets, tmp_path / "out", "--tries", "1", "--timeout", "3")
    assert found["kept"] == 5 and found["refused"] == {"no reply": 1}
    assert any("no reply in 3 s" in note for note in found["notes"])


@pytest.mark.parametrize("act", ["parts", "thinks"])
def test_other_spellings_of_a_reply_are_read(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], act: str
) -> None:
    teacher.script = {"train-a": [act]}
    assert explain(capsys, teacher, sheets, tmp_path / "out", "--records", "6")["kept"] == 6
    assert rationales(tmp_path / "out")["train-a"] == RATIONALE.format(id="train-a")


def test_half_a_character_is_kept_as_text(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-b": ["half"]}
    assert explain(capsys, teacher, sheets, tmp_path / "out")["kept"] == 6
    assert rationales(tmp_path / "out")["train-b"] == "\\ud83d " + RATIONALE.format(id="train-b")


def test_a_reading_that_is_not_answered_is_told_apart_and_asked_for_again(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-b": ["right", "400"]}
    found = explain(capsys, teacher, sheets, tmp_path / "out")
    assert found["refused"] == {"not read": 1}
    assert any("1 requests got no reply, the first because of: HTTP 400" in note for note in found["notes"])
    teacher.script = {}
    found = explain(capsys, teacher, sheets, tmp_path / "out", "--force")
    assert (found["kept"], found["requests"]) == (6, 1)


@pytest.mark.parametrize(("act", "says"), [("401", "HTTP 401 (No luck with ***)"), ("404", "HTTP 404"), ("302", "302")])
def test_an_endpoint_that_refuses_everybody_ends_it_at_once(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], act: str, says: str
) -> None:
    teacher.script = {f"train-{letter}": [act] for letter in "abcdef"}
    more = ("--key-env", "TEACHERS_KEY", "--threads", "1")
    error = explain(capsys, teacher, sheets, tmp_path / "out", *more, code=1)["error"]
    assert says in error and error.count("\n") == 1 and len(teacher.headers) == 1, "a redirect is not followed"
    assert not (tmp_path / "out").exists()


def test_an_endpoint_that_is_not_there_is_told_in_one_line(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = Teacher()
    nobody.url = "http://127.0.0.1:9/v1"
    error = explain(capsys, nobody, sheets, tmp_path / "out", "--tries", "2", code=1)["error"]
    assert "127.0.0.1:9: cannot be reached" in error and "2 times" in error


def test_where_nothing_is_kept_nothing_is_written(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {f"train-{letter}": ["wrong"] for letter in "abcdef"}
    error = explain(capsys, teacher, sheets, tmp_path / "out", code=1)["error"]
    assert "none of 6 rationales is kept (6 x wrong answer)" in error and not (tmp_path / "out").exists()
    assert "got no reply" not in error


def test_where_nothing_is_kept_it_is_told_why_there_were_no_replies(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-a": ["wrong"], **{f"train-{letter}": ["500"] * 2 for letter in "bcdef"}}
    error = explain(capsys, teacher, sheets, tmp_path / "out", "--tries", "1", "--threads", "1", code=1)["error"]
    assert "(5 x no reply, 1 x wrong answer)" in error
    assert "5 requests got no reply, the first because of: " in error and "500" in error


def test_the_key_is_in_one_header_and_nowhere_else(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    explain(capsys, teacher, sheets, tmp_path / "out", "--key-env", "TEACHERS_KEY")
    assert {one["authorization"] for one in teacher.headers} == {f"Bearer {KEY}"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    teacher.headers.clear()
    explain(capsys, teacher, sheets, tmp_path / "open")
    assert not any("authorization" in one for one in teacher.headers)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--key-env", KEY), "--key-env names an environment variable that is not set"),
        (("--teacher", "localhost:8000"), "--teacher is the address"),
        (("--teacher", "http://me:secret@host/v1"), "--teacher is the address"),
        (("--teacher", "http://:secret@host/v1"), "--teacher is the address"),
        (("--teacher", "http://[secret/v1"), "--teacher is the address"),
        (("--teacher", "http://host:port/v1"), "--teacher is the address"),
        (("--teacher", "http://host/vé"), "--teacher is the address"),
        (("--reader", "nowhere/at-all/here"), "nowhere/at-all/here"),
    ],
)
def test_a_mistake_is_told_before_anything_is_sent(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str], says: str
) -> None:
    error = explain(capsys, teacher, sheets, tmp_path / "out", *more, code=2)["error"]
    assert says in error and "secret" not in error and not teacher.asked


def test_a_dry_run_says_how_much_would_be_sent_and_leaves_nothing(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explain(capsys, teacher, sheets, tmp_path / "out", "--dry-run")
    assert (found["records"], found["requests"], found["requests_at_most"]) == (6, 6, 12)
    explain(capsys, teacher, sheets, tmp_path / "out", "--reader", "none")
    sent = [len(json.dumps(body)) for body in teacher.bodies]
    assert found["bytes"] == pytest.approx(sum(sent), rel=0.1)
    assert [path.name for path in tmp_path.iterdir() if "dry" in path.name] == []


def test_another_threshold_asks_for_nothing_twice(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-b": ["misread"], "train-c": ["wrong"], "train-d": ["500"]}
    out = tmp_path / "out"
    explain(capsys, teacher, sheets, out, "--tries", "1")
    assert "holds a dataset already" in explain(capsys, teacher, sheets, out, code=2)["error"]
    before = len(teacher.bodies)
    teacher.script = {}
    found = explain(capsys, teacher, sheets, out, "--force", "--read-threshold", "0")
    assert found["kept"] == 5 and found["requests"] == 2 and len(teacher.bodies) == before + 2, "train-d alone"
    assert "holds replies of another temperature" in explain(
        capsys, teacher, sheets, out, "--force", "--temperature", "1", code=2
    )["error"]  # fmt: skip


def test_another_annotation_is_asked_for_anew(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_counting(tmp_path / "data")
    explain(capsys, teacher, data, tmp_path / "out")
    rows = (data / "train.jsonl").read_text(encoding="utf-8")
    (data / "train.jsonl").write_text(rows.replace('"annotation": 5', '"annotation": 7', 1), encoding="utf-8")
    found = explain(capsys, teacher, data, tmp_path / "out", "--force")
    assert found["requests"] == 1 and found["refused"] == {"wrong answer": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_was_stopped_goes_on(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    out = tmp_path / "out"
    journal = journal_folder(out) / "replies.jsonl"
    teacher.script = {f"train-{letter}": ["right"] for letter in "abcdef"}
    environment = os.environ | {"PYTHONPATH": str(Path(rise_vlm.__file__).parents[1])}
    command = [sys.executable, "-m", "rise_vlm", *words(teacher, sheets, out, "--threads", "1")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while len(list(read_rows(journal))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    teacher.hold.clear()
    time.sleep(0.2)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    assert number == signal.SIGKILL or "the same command continues from there" in said
    teacher.hold.set()
    done = {row["id"] for row in read_rows(journal)}
    with journal.open("a") as file:
        file.write('{"id": "train-f", "rep')  # torn by the kill
    before = len(teacher.asked)
    found = explain(capsys, teacher, sheets, out, "--threads", "1")
    assert found["kept"] == 6 and len(done) >= 2
    assert not done & set(teacher.asked[before:]), "no reply is paid for twice"


def test_what_states_something_false_of_a_drawn_scene_is_refused(sheets: Path) -> None:
    class World:
        Scene = type("Scene", (), {"from_dict": staticmethod(lambda values: values)})

        def true_facts(self, scene: Any) -> frozenset[str]:
            return frozenset({"corner"})

        def stated_facts(self, text: str) -> frozenset[str]:
            return frozenset(word for word in ("corner", "lake") if word in text)

    material = replace(open_material(sheets, None), world=World())  # type: ignore[arg-type]
    record = material.train[0].model_copy(update={"meta": {"scene": {}}})
    for text, reason in {"corner.": None, "corner and a lake.": "states what is not there"}.items():
        text = f"Every edge is straight and ends at a {text}"
        said = f"<think>{text}</think><answer>5</answer>"
        assert judge(material, record, said, finished=True, asking=Asking()).reason == reason
        assert judge(material, record, said, finished=True, asking=Asking(facts=False)).reason is None


@pytest.mark.parametrize("world", ["blocks", "figures", "moves"])
def test_a_world_s_own_rationales_pass(tmp_path: Path, world: str) -> None:
    load_world(world).make(tmp_path / world, train=40, val=1, test=1, seed=3)
    material = open_material(tmp_path / world, None)
    for record in material.train:
        answer = material.task.render(record.annotation, record, FRAME)
        said = f"<think>{record.rationale}</think><answer>{answer}</answer>"
        judged = judge(material, record, said, finished=True, asking=Asking())
        assert judged.reason is None, (judged, record.rationale)


def test_of_what_reasons_work_out_only_contradictions_are_untrue(tmp_path: Path) -> None:
    load_world("figures").make(tmp_path / "figures", train=20, val=1, test=1, seed=3)
    material = open_material(tmp_path / "figures", None)
    for record in material.train:
        _, true = facts_of(material, record, "") or (None, frozenset())
        marked = {fact[6] for fact in true if fact.startswith("angle.") and fact[7] == "="}
        for name in marked:
            assert untrue(material, record, f"The angle {name} is 179.") == {f"angle.{name}=179"}
        free = next(name for name in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if name not in marked)
        assert not any("angle" in fact for fact in untrue(material, record, f"So the angle {free} is 90."))


def test_leaks_are_kept_where_that_is_asked_for(
    teacher: Teacher, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script = {"train-b": ["leak", "right"]}
    assert explain(capsys, teacher, sheets, tmp_path / "out", "--leaks", "--reader", "none")["kept"] == 6
    assert "Do not give" not in json.dumps(teacher.bodies)
    about = {record.id: record.meta["teacher"] for record in Dataset.open(tmp_path / "out").records("train")}
    assert about["train-b"]["leak_free"] is False and about["train-b"]["reader"] is None


def test_boxes_are_asked_for_in_thousandths_and_read_with_the_picture(
    teacher: Teacher, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def boxed(body: dict[str, Any], _: Any) -> tuple[str, str, bool]:
        teacher.bodies.append(body)
        return "boxes", "", False

    monkeypatch.setattr(teacher, "act", boxed)
    truth = {"text": "<think>The thing on the table.</think><answer>[0, 0, 1, 1]</answer>"}
    monkeypatch.setattr("teacher_double.reply", lambda *_: json.dumps(
        {"choices": [{"message": {"content": truth["text"]}}]}).encode())  # fmt: skip
    error = explain(capsys, teacher, places, tmp_path / "out", "--threads", "1", code=1)["error"]
    assert "x wrong answer" in error
    asked = teacher.bodies[0]["messages"][0]["content"][-1]["text"]
    right = asked.split("<answer>")[1].split("</answer>")[0]
    truth["text"] = f"<think>The thing on the table.</think><answer>{right}</answer>"
    teacher.bodies.clear()
    run([*words(teacher, places, tmp_path / "next", "--threads", "1", "--json")])
    readings = [body["messages"][0]["content"] for body in teacher.bodies if "Someone" in str(body)]
    assert readings and all(one[0]["type"] == "image_url" for one in readings)


@pytest.mark.parametrize("recipe", ["cot_sft", "reason_rft"])
def test_what_is_kept_trains(
    teacher: Teacher, sheets: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    teacher.script = {"train-b": ["wrong"]}
    out = tmp_path / "out"
    explain(capsys, teacher, sheets, out)
    more = () if recipe == "cot_sft" else ("sft.records=2", "grpo.records=rest")
    results = run_recipe(small_recipe(recipe, out, model, *more), tmp_path / "run", report=False)
    assert results["arms"]


def test_a_model_of_ours_reads_in_the_teachers_place(
    teacher: Teacher, sheets: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    found = explain(capsys, teacher, sheets, out, "--reader", str(model), "--read-threshold", "0")
    assert found["kept"] == 6 and found["requests"] == 6 and not teacher.read
    rows = list({row["id"]: row for row in read_rows(journal_folder(out) / "replies.jsonl")}.values())
    assert all(name.startswith(f"{model}@") for row in rows for name in row["readings"])
    strict = run([*words(teacher, sheets, tmp_path / "out", "--reader", str(model), "--force", "--json")])
    wrong = sum(one["score"] < 1 for row in rows for one in row["readings"].values())
    assert strict == (1 if wrong == 6 else 0)


@pytest.mark.parametrize(("tokens", "read"), [(80, True), (81, False), (None, False)])
def test_a_rationale_that_our_model_cannot_hold_stops_nothing(sheets: Path, tokens: int | None, read: bool) -> None:
    def encode(*_: Any) -> range:
        if tokens is None:
            raise UserError("too long")
        return range(tokens)

    material = open_material(sheets, 1)
    policy = SimpleNamespace(frame=FRAME, context=100, encode=encode)
    prompt = reconstruct_prompt(policy, material.task, material.train[0], [], "Reasons.", 20)  # type: ignore[arg-type]
    assert (prompt is not None) == read
