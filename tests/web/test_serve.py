"""A model over HTTP: Label Studio's protocol, plain requests, load, limits and bad input, by a real HTTP client."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from web_kit import picture, serve_in_thread

from rise_vlm.errors import UserError
from rise_vlm.tasks import TASKS
from rise_vlm.tasks.base import Task
from rise_vlm.web.addresses import Addresses
from rise_vlm.web.answering import Answer, Asked, Queue, open_image
from rise_vlm.web.guard import Door
from rise_vlm.web.serve import Limits, make_app
from rise_vlm.web.server import listen

SAID: dict[str, Any] = {
    "classification": "red",
    "distribution": {"red": 0.75, "blue": 0.25},
    "grounding": [20.0, 15.0, 120.0, 90.0],
    "detection": [
        {"label": "red", "box": [20.0, 15.0, 120.0, 90.0]},
        {"label": "blue", "box": [0.0, 0.0, 200.0, 150.0]},
    ],
    "counting": 3,
}


def png(number: int = 0) -> bytes:
    out = io.BytesIO()
    picture(number).save(out, "PNG")
    return out.getvalue()


@dataclass
class Stub:
    """An annotator that knows its answer, decodes each picture, and notes how it was asked."""

    task: Task
    version: str = "stub-1"
    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)
    questions: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    confidence: float | None = 0.5
    scores: list[float] | None = None
    reconstruction: float | None = None
    poison: bytes = b"no picture has this"
    gate: threading.Event = field(default_factory=threading.Event)

    def answer(self, asked: Sequence[Asked]) -> list[Answer | UserError]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.batches.append(len(asked))
        time.sleep(self.seconds)
        self.gate.wait(60)
        try:
            return [self._one(each) for each in asked]
        finally:
            self.at_once -= 1

    def _one(self, asked: Asked) -> Answer | UserError:
        self.questions.append(asked.question)
        if asked.content == self.poison:
            raise RuntimeError("out of memory at /secret/path")
        try:
            width, height = open_image(asked.content).size
        except UserError as error:
            return error
        said = SAID[self.task.name]
        told = self.confidence, self.scores, self.reconstruction
        return Answer(said, "A square.", None, "<answer>", asked.question or "?", width, height, *told)


@dataclass
class Served:
    address: str
    stub: Stub

    def ask(self, path: str, body: Any = None, kind: str = "application/json", **headers: str) -> tuple[int, Any]:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, content, {"content-type": kind, **headers})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def predict(self, *images: str, config: str | None = None, **data: Any) -> tuple[int, Any]:
        tasks = [{"id": number, "data": {"image": image, **data}} for number, image in enumerate(images)]
        return self.ask("/predict", {"tasks": tasks, "project": "1.2", "label_config": config, "params": {}})


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    stops: list[Callable[[], None]] = []

    def start(
        task: str = "classification",
        *,
        seconds: float = 0.0,
        size: int = 16,
        limits: Limits | None = None,
        root: Path | None = None,
        urls: bool = False,
        token: str | None = None,
    ) -> Served:
        stub = Stub(TASKS[task](["red", "blue"], "Where?"), seconds=seconds)
        stub.gate.set()
        limits = limits or Limits()
        queue = Queue(stub, size)
        server = listen("127.0.0.1", 0)
        port = server.getsockname()[1]
        door = Door.of("127.0.0.1", port, token, max_body=limits.body)
        app = make_app(queue, limits, Addresses(root, urls, limits.bytes), door)
        stops.append(serve_in_thread(app, server, connections=200))
        stops.append(queue.close)
        return Served(f"http://127.0.0.1:{port}", stub)

    yield start
    for stop in stops:
        stop()


def data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def form(content: bytes, name: str = "image", **fields: str) -> tuple[bytes, str]:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="p.png"\r\n\r\n'
    return "".join([*parts, head]).encode() + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


# What is asked for


def test_a_picture_is_taken_as_base64_as_a_form_and_as_it_is(serve: Serve) -> None:
    served = serve("grounding")
    encoded = base64.b64encode(png()).decode()
    answers = [
        served.ask("/annotate", {"image": encoded, "question": "Q1"}),
        served.ask("/annotate", {"image": data_uri(png()), "question": "Q1"}),
        served.ask("/annotate", *form(png(), question="Q1")),
        served.ask("/annotate?question=Q1", png(), "image/png"),
        served.ask("/annotate?question=Q1", png(), "application/octet-stream"),
    ]
    assert [status for status, _ in answers] == [200] * 5
    assert all(answer == answers[0][1] for _, answer in answers)
    assert answers[0][1]["annotation"] == SAID["grounding"] and answers[0][1]["rationale"] == "A square."
    assert (answers[0][1]["width"], answers[0][1]["height"], answers[0][1]["model_version"]) == (200, 150, "stub-1")
    assert served.stub.questions == ["Q1"] * 5


def test_label_studio_connects_and_asks(serve: Serve) -> None:
    served = serve("detection")
    config = (
        '<View><Image name="img" value="$photo"/><RectangleLabels name="boxes" toName="img"><Label value="Red"/>'
        '<Label value="blue"/></RectangleLabels><TextArea name="why" toName="img"/></View>'
    )
    for path in ("/", "/health"):
        status, said = served.ask(path)
        assert (status, said["status"]) == (200, "UP")
    setup = {"project": "1.2", "schema": config, "hostname": "http://localhost:8080", "access_token": "secret"}
    assert served.ask("/setup", setup) == (200, {"model_version": "stub-1"})
    tasks = [{"id": 7, "data": {"photo": data_uri(png())}}]
    status, said = served.ask(
        "/predict", {"tasks": tasks, "label_config": config, "project": "1.2", "params": {"x": 1}}
    )
    assert status == 200 and said["errors"] == []
    (prediction,) = said["results"]
    red, blue, why = prediction["result"]
    assert prediction["model_version"] == "stub-1" and prediction["score"] == 0.5
    assert red["from_name"] == "boxes" and red["to_name"] == "img" and red["type"] == "rectanglelabels"
    assert red["value"]["rectanglelabels"] == ["Red"]  # as the configuration spells it
    sides = [red["value"][side] for side in ("x", "y", "width", "height")]
    assert sides == pytest.approx([10, 10, 50, 50]) and blue["value"]["width"] == pytest.approx(100)
    assert (red["original_width"], red["original_height"]) == (200, 150)
    assert why == {**why, "from_name": "why", "type": "textarea", "value": {"text": ["A square."]}}
    assert served.ask("/webhook", {"action": "ANNOTATION_CREATED"}) == (200, {"status": "ignored"})


@pytest.mark.parametrize(
    ("confidence", "reconstruction", "score"),
    [(0.5, None, 0.5), (0.5, 0.25, 0.25), (None, 0.25, 0.25), (None, None, 1.0)],
)
def test_a_prediction_is_worth_the_smaller_of_its_figures(
    serve: Serve, confidence: float | None, reconstruction: float | None, score: float
) -> None:
    served = serve()
    served.stub.confidence, served.stub.reconstruction = confidence, reconstruction
    assert served.predict(data_uri(png()))[1]["results"][0]["score"] == score
    told = served.ask("/annotate", png(), "image/png")[1]
    assert (told["confidence"], told["reconstruction"], told["leaks"]) == (confidence, reconstruction, None)


@pytest.mark.parametrize(
    ("task", "config", "expected"),
    [
        ("classification", '<Choices name="c" toName="i"/>', {"choices": ["red"]}),
        ("distribution", '<Choices name="c" toName="i"/>', {"choices": ["red"]}),
        ("distribution", '<Number name="Blue" toName="i"/>', {"number": 0.25}),
        ("counting", '<Number name="n" toName="i"/>', {"number": 3}),
        ("grounding", '<Rectangle name="r" toName="i"/>', {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0}),
    ],
)
def test_each_task_has_its_controls(serve: Serve, task: str, config: str, expected: Any) -> None:
    config = f'<View><Image name="i" value="$image"/>{config}<Text name="t" value="$x"/></View>'
    status, said = serve(task).predict(data_uri(png()), config=config)
    assert status == 200
    assert [one["value"] for one in said["results"][0]["result"]] == [expected]


def test_a_task_that_cannot_be_answered_does_not_spoil_the_others(serve: Serve) -> None:
    served = serve()
    served.stub.poison = png(2)
    status, said = served.predict(data_uri(png()), "data:image/png;base64,AAAA", data_uri(png(1)), data_uri(png(2)))
    assert status == 200 and [bool(one["result"]) for one in said["results"]] == [True, False, True, False]
    assert [one["task"] for one in said["errors"]] == [1, 3]
    assert "/secret" not in json.dumps(said)


# Where pictures may come from


def test_local_files_are_read_below_the_root_only(serve: Serve, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "upload" / "1").mkdir(parents=True)
    for path in (root / "a b.png", root / "upload" / "1" / "c.png", tmp_path / "outside.png"):
        path.write_bytes(png())
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    served = serve(root=root)
    good = ["a b.png", "/data/upload/1/c.png", "/data/local-files/?d=a%20b.png", str(root / "a b.png"), "./a%20b.png"]
    status, said = served.predict(*good)
    assert status == 200 and said["errors"] == []
    bad = ["../outside.png", str(tmp_path / "outside.png"), "/data/local-files/?d=../outside.png", "link.png"]
    bad += [
        "file:///etc/passwd",
        "/etc/passwd",
        "..%2foutside.png",
        "\0",
        "upload",
        "/data/local-files/",
        "~/x",
        "x" * 9999,
    ]
    status, said = served.predict(*bad)
    assert status == 200 and [one["task"] for one in said["errors"]] == list(range(len(bad)))
    assert not any(one["result"] for one in said["results"])
    _, said = serve().predict("a b.png")
    assert "without --root" in said["errors"][0]["error"]


def test_urls_are_fetched_only_when_that_was_allowed(serve: Serve, tmp_path: Path) -> None:
    import http.server

    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            leads = {"/moved": "/p.png", "/out": "file:///etc/passwd", "/loop": "/loop"}.get(self.path)
            self.send_response(302 if leads else 200 if self.path in ("/p.png", "/long") else 404)
            if leads:
                self.send_header("location", leads)
            self.end_headers()
            self.wfile.write(png() if self.path == "/p.png" else b"x" * 3_000_000 if self.path == "/long" else b"")

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{site.server_port}"
        _, said = serve(urls=False, root=tmp_path).predict(f"{base}/p.png")
        assert "without --allow-urls" in said["errors"][0]["error"] and asked == []
        served = serve(urls=True, limits=Limits(bytes=2_000_000))
        _, said = served.predict(*(f"{base}/{name}" for name in ("p.png", "moved", "out", "loop", "none", "long")))
        assert [one["task"] for one in said["errors"]] == [2, 3, 4, 5], said
        _, said = served.predict("ftp://127.0.0.1/x", "http://169.254.169.254/latest", "http://[::", "http:///x")
        assert len(said["errors"]) == 4
        site.shutdown()


def test_a_site_that_sends_a_drop_at_a_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from rise_vlm.errors import DataError
    from rise_vlm.web import addresses

    monkeypatch.setattr(addresses, "FETCH_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as site:

        def drip() -> None:
            sent, _ = site.accept()
            with sent, contextlib.suppress(OSError):
                sent.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                for _ in range(600):
                    sent.sendall(b"x")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(DataError, match="took more than 1 s"):
            Addresses(None, True, 1 << 20).read(f"http://127.0.0.1:{site.getsockname()[1]}/")
        assert time.monotonic() - began < 30


# Load


def test_many_clients_are_answered_one_batch_at_a_time(serve: Serve) -> None:
    served = serve(seconds=0.02, size=64)
    with ThreadPoolExecutor(24) as clients:
        answers = list(
            clients.map(lambda n: served.ask("/annotate?question=" + str(n), png(n), "image/png"), range(96))
        )
    assert [status for status, _ in answers] == [200] * 96
    assert [said["question"] for _, said in answers] == [str(n) for n in range(96)]  # nobody got another's answer
    assert served.stub.most_at_once == 1
    assert sum(served.stub.batches) == 96 and max(served.stub.batches) <= 8 and len(served.stub.batches) < 96


def test_a_full_queue_says_so_and_empties_again(serve: Serve) -> None:
    served = serve(seconds=0.5, size=2)
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda n: served.ask("/annotate", png(n), "image/png"), range(12)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503} and statuses.count(200) >= 2
    assert all("waiting" in said["error"] for status, said in answers if status == 503)
    assert served.ask("/annotate", png(), "image/png")[0] == 200
    assert served.ask("/health")[1]["waiting"] == 0


def test_a_request_that_takes_too_long_is_given_up_and_gives_its_place_back(serve: Serve) -> None:
    served = serve(limits=Limits(seconds=3.0), size=2)
    served.stub.gate.clear()
    assert served.ask("/annotate", png(), "image/png")[0] == 504
    assert served.predict(data_uri(png()))[0] == 504
    served.stub.gate.set()
    while served.stub.at_once:
        time.sleep(0.05)
    assert sum(served.stub.batches) == 1  # the second was given up before the model had begun with it
    assert served.ask("/health")[1]["waiting"] == 0
    assert served.ask("/annotate", png(), "image/png")[0] == 200


def test_a_model_that_fails_does_not_take_the_server_with_it(serve: Serve) -> None:
    served = serve()
    served.stub.poison = png(1)
    status, said = served.ask("/annotate", png(1), "image/png")
    assert status == 500 and "RuntimeError" in said["error"] and "secret" not in said["error"]
    assert served.ask("/annotate", png(), "image/png")[0] == 200


# Limits and bad input


def test_bytes_pixels_and_tasks_are_limited(serve: Serve) -> None:
    served = serve(limits=Limits(bytes=2000, pixels=200 * 150 - 1, tasks=2))
    status, said = served.ask("/annotate", png(), "image/png")
    assert status == 422 and "at most 29999" in said["error"]
    assert served.ask("/annotate", b"x" * 2001, "image/png")[0] == 413
    assert served.ask("/annotate", {"image": base64.b64encode(b"x" * 2001).decode()})[0] == 422
    assert served.ask("/annotate", b"x" * (3 << 20), "image/png")[0] == 413
    assert served.predict("a", "b", "c")[0] == 413
    assert served.stub.batches == []


def test_a_bomb_is_refused_by_its_header(serve: Serve) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    served = serve()
    status, said = served.ask("/annotate", bomb, "image/png")
    assert status == 422 and "million pixels" in said["error"] and served.stub.batches == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 422),
        (b"no image", "image/png", 422),
        (png()[:100], "image/png", 422),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"image": 5}', "application/json", 422),
        (b'{"image": "!!!"}', "application/json", 422),
        (b'{"image": ""}', "application/json", 422),
        (b'{"image": "data:image/png,abc"}', "application/json", 422),
        (b'{"image": "https://example.com/x.png"}', "application/json", 422),
        (b'{"image": "AAAA", "question": 7}', "application/json", 422),
        (
            json.dumps({"image": base64.b64encode(png()).decode(), "question": "x" * 5000}).encode(),
            "application/json",
            422,
        ),
        (b"hello", "text/plain", 415),
        (b"hello", "", 415),
        (b"no form", "multipart/form-data", 400),
        (b"no form", "multipart/form-data; boundary=x", 400),
        (form(png(), name="other")[0], "multipart/form-data; boundary=x", 422),
        (form(png(), **{f"f{n}": "v" for n in range(9)})[0], "multipart/form-data; boundary=x", 400),
    ],
)
def test_bad_requests_are_told_in_one_line(serve: Serve, body: bytes, kind: str, status: int) -> None:
    got, said = serve().ask("/annotate", body, kind)
    assert got == status, said
    assert list(said) == ["error"] and said["error"] and "\n" not in said["error"] and "/tmp" not in said["error"]


def test_text_that_is_not_utf_8_is_refused(serve: Serve) -> None:
    served, lone = serve(), "\ud800"
    assert served.ask("/annotate", {"image": data_uri(png()), "question": lone})[0] == 422
    assert served.predict(data_uri(png()), question=lone)[0] == 422
    assert served.predict(lone)[0] == 422
    for task in ({"id": lone, "data": {"image": "a"}}, {"data": {lone: "a"}}):
        assert served.ask("/predict", {"tasks": [task]})[0] == 422
    assert served.stub.batches == []
    _, said = served.predict("new\nline")
    assert "'new\\nline'" in said["errors"][0]["error"]


def test_no_object_is_an_answer_of_full_score(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAID, "detection", [])
    served = serve("detection")
    config = '<View><Image name="i" value="$image"/></View>'
    served.stub.confidence = None
    assert served.predict(data_uri(png()), config=config)[1]["results"][0] == {
        "model_version": "stub-1", "score": 1.0, "result": []
    }  # fmt: skip


def test_every_box_has_its_own_score(serve: Serve) -> None:
    served = serve("detection")
    served.stub.scores = [0.9, 0.25]
    _, said = served.predict(data_uri(png()))
    regions = [one for one in said["results"][0]["result"] if one["type"] == "rectanglelabels"]
    assert [region["score"] for region in regions] == [0.9, 0.25]
    assert said["results"][0]["score"] == 0.5
    assert served.ask("/annotate", png(), "image/png")[1]["scores"] == [0.9, 0.25]
    _, said = serve("grounding").predict(data_uri(png()))
    assert said["results"][0]["result"][0]["score"] == 0.5


@pytest.mark.parametrize(
    "config",
    [
        "<View>",
        "<View/>",
        "no xml",
        '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>',
        "<View>" * 50_000,
        "<View>" + "x" * 300_000 + "</View>",
    ],
)
def test_a_configuration_that_cannot_be_used_is_told(serve: Serve, config: str) -> None:
    served = serve()
    status, said = served.ask("/setup", {"schema": config})
    assert status == 422 and "configuration" in said["error"]
    assert served.predict(data_uri(png()), config=config)[0] == 422


def test_the_token_is_needed_for_everything(serve: Serve) -> None:
    served = serve(token="a-long-enough-token")
    for path in ("/", "/health", "/openapi.json", "/annotate"):
        assert served.ask(path)[0] == 401
    assert served.ask("/annotate", png(), "image/png", authorization="Bearer a-long-enough-token")[0] == 200


# Whatever the page of its interface allows


def test_nothing_that_the_interface_allows_breaks_it(serve: Serve) -> None:
    """schemathesis: cases made from the OpenAPI page; no 5xx, and every answer of a documented status, type and form.

    That valid ones succeed is not asked here: no text that it makes up is a picture.
    """
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra dev)")
    from hypothesis import HealthCheck, given, settings
    from schemathesis import checks

    served = serve()
    schema = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
    seen: set[str] = set()
    asked = [checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance]
    asked += [checks.response_schema_conformance, checks.response_headers_conformance]

    def check(operation: Any) -> None:
        @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def every_case(case: Any) -> None:
            case.call_and_validate(base_url=served.address, timeout=60, checks=asked)

        every_case()

    for found in schema.get_all_operations():
        operation = found.ok()
        seen.add(operation.path)
        check(operation)
    assert seen == {"/health", "/setup", "/predict", "/webhook", "/annotate"}
