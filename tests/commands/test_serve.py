"""``rise serve`` from the command line, with a real model; mistakes are one line."""

from __future__ import annotations

import base64
import io
import json
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import torch

from rise_vlm.cli import run
from rise_vlm.commands.serve import load_annotator
from rise_vlm.engine.sample import Rollout

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from web_kit import picture, serve_in_thread

from rise_vlm.tasks.classification import Classification
from rise_vlm.web.addresses import Addresses
from rise_vlm.web.answering import Answer, Asked, Queue
from rise_vlm.web.guard import Door
from rise_vlm.web.serve import Limits, make_app
from rise_vlm.web.server import listen

TASK = "task: classification\nclasses: [red, blue]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    return tmp_path


def encoded(number: int) -> bytes:
    out = io.BytesIO()
    picture(number).save(out, "PNG")
    return out.getvalue()


def test_a_run_that_answers_without_rationales_says_so(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r").mkdir()
    recipe = f"stages: [evaluate]\nmodel: {model}\nevaluate: {{roles: [answer]}}\n"
    Path("r/recipe.yaml").write_text(recipe, encoding="utf-8")
    for role, noted in ((None, 1), ("think", 0)):
        load_annotator("r", Classification(["red", "blue"]), None, role, 0, 32, None)
        assert capsys.readouterr().err.count("note: no rationales are written") == noted


def test_a_real_model_answers_over_http_as_it_does_alone(model: Path) -> None:
    annotator = load_annotator(str(model), Classification(["red", "blue"]), None, None, 0, 32, None)
    alone = annotator.answer([Asked(encoded(n)) for n in range(3)] + [Asked(b"no image")])
    assert [type(one) is Answer for one in alone] == [True, True, True, False]
    queue = Queue(annotator, 16)
    server = listen("127.0.0.1", 0)
    port = server.getsockname()[1]
    limits = Limits()
    app = make_app(
        queue, limits, Addresses(None, False, limits.bytes), Door.of("127.0.0.1", port, None, max_body=limits.body)
    )
    stop = serve_in_thread(app, server)
    got: dict[int, dict] = {}

    def ask(number: int) -> None:
        body = json.dumps({"image": base64.b64encode(encoded(number)).decode()}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/annotate", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            got[number] = json.loads(answer.read())

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    stop()
    queue.close()
    for number, one in enumerate(alone[:3]):
        assert isinstance(one, Answer)
        assert {key: got[number][key] for key in vars(one)} == vars(one)
        assert (one.annotation is None) == (one.reason is not None) and one.completion


def test_samples_give_a_confidence(model: Path) -> None:
    annotator = load_annotator(str(model), Classification(["red", "blue"]), None, "answer", 3, 16, None)
    (one,) = annotator.answer([Asked(encoded(0), "Which colour?")])
    assert isinstance(one, Answer) and one.question == "Which colour?"
    assert one.confidence is not None and 0 <= one.confidence <= 1


def test_check_tells_whether_the_rationale_alone_leads_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["<think>Like blood.</think><answer>red</answer>", "<think>The sky.</think><answer>blue</answer>"]
    texts += ["No answer.", "<think> </think><answer>red</answer>", "<answer>blue</answer>", "<answer>blue</answer>"]
    asked: list[str] = []

    def say(policy, prompts, n, **how):
        asked.extend(prompt.text for prompt in prompts)
        return [[Rollout(torch.zeros(0), torch.zeros(0), texts.pop(0), True)] for _ in prompts]

    for where in ("stages.rebuilding", "engine.sample"):  # the first, if new, would keep what the second patches
        monkeypatch.setattr(f"rise_vlm.{where}.sample", say)
    annotator = load_annotator(str(model), Classification(["red", "blue"]), None, None, 0, 32, None, check=True)
    said = [one for one in annotator.answer([Asked(encoded(n)) for n in range(4)]) if isinstance(one, Answer)]
    assert [(one.annotation, one.reconstruction, one.leaks) for one in said] == [
        ("red", 0, []),
        ("blue", 1, []),
        (None, None, None),
        ("red", 0, None),
    ]
    assert [one.score for one in said] == [0, 1, 0, 0], "what cannot be checked is not to be trusted"
    assert len(asked) == 6 and "Like blood." in asked[4] and "The sky." in asked[5]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere/model", "--task", "task.yaml"], "nowhere/model"),
        (["tiny", "--task", "none.yaml"], "none.yaml"),
        (["tiny", "--task", "bad.yaml"], "Did you mean 'classes'?"),
        (["tiny", "--task", "named.yaml"], "has no file name"),
        (["tiny", "--task", "where.yaml"], "needs a question"),
        (["tiny", "--task", "task.yaml", "--role", "reason"], "--role is think or answer"),
        (["tiny", "--task", "task.yaml", "--root", "nowhere"], "there is no such folder"),
        (["tiny", "--task", "task.yaml", "--token", "short"], "--token must be"),
        (["tiny", "--task", "task.yaml", "--host", "no.such.host.invalid"], "no address of this machine"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.yaml").write_text("task: classification\nclases: [a, b]\n", encoding="utf-8")
    (folder / "named.yaml").write_text(TASK + "question: What is {name}?\n", encoding="utf-8")
    (folder / "where.yaml").write_text("task: grounding\n", encoding="utf-8")
    assert run(["serve", *arguments, "--port", "0"]) in (1, 2)
    errors = capsys.readouterr().err
    assert told in errors and "Traceback" not in errors and errors.count("rise:") == 1


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["serve", "nowhere/model", "--task", "task.yaml", "--port", str(other.getsockname()[1])]) == 1
    assert "is taken; give another --port" in capsys.readouterr().err
