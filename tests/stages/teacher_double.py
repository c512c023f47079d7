"""A teacher's endpoint for tests: it does to each record what its script says, and notes all that it is sent."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter

TRUTH = 5
RATIONALE = "There is a mark in each corner of sheet {id} and another in the middle."


def make_counting(root: Path, train: int = 6) -> Path:
    """Sheets whose questions name their ids, so that a request tells which record it is of; none has a rationale but
    the first."""
    with DatasetWriter(root, Card(name="sheets", task="counting")) as writer:
        for split, count in {"train": train, "val": 2, "test": 2}.items():
            for i in range(count):
                id = f"{split}-{chr(97 + i)}"
                writer.add(
                    split,
                    id=id,
                    image=picture(i + 10 * len(split)),
                    annotation=TRUTH,
                    question=f"How many marks are on sheet {id}?",
                    rationale="An old one." if i == 0 else None,
                    meta={"level": i},
                )
    return root


class Teacher:
    """What the endpoint does: ``script`` maps a record's id to the acts of its requests in turn, the last for all that
    follow; without one it answers rightly. ``asked`` and ``read`` list the ids of the two kinds of requests."""

    def __init__(self, script: dict[str, list[str]] | None = None) -> None:
        self.script = script or {}
        self.asked: list[str] = []
        self.read: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self.url = ""

    def act(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[str, str, bool]:
        """(act, record id, whether this is a reading)."""
        text = body["messages"][0]["content"][-1]["text"]
        found = re.search(r"sheet (\w+-\w)", text)
        assert found, text
        id, reading = found[1], text.startswith("Someone described")
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            (self.read if reading else self.asked).append(id)
            acts = self.script.get(id, ["right"])
            act = acts.pop(0) if len(acts) > 1 else acts[0]
        return act, id, reading


def completion(text: Any, **choice: Any) -> bytes:
    message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | choice
    return json.dumps({"choices": [message], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}).encode()


def reply(act: str, id: str, reading: bool) -> bytes:
    """The body of a reply with status 200."""
    rationale = RATIONALE.format(id=id)
    if reading:
        return completion(f"<think>Hm.</think><answer>{TRUTH + (act == 'misread')}</answer>")
    if act == "leak":
        rationale = f"There are {TRUTH} marks on it, one in each corner and another in the middle."
    right = f"<think>{rationale}</think><answer>{TRUTH + (act == 'wrong')}</answer>"
    bodies = {
        "malformed": b'{"choices": [{"mess',
        "no choices": b'{"choices": []}',
        "empty": completion(""),
        "null": completion(None),
        "cut off": completion(right[:20], finish_reason="length"),
        "untagged": completion("It is five."),
        "huge": completion("x" * (5 << 20)),
        "parts": completion([{"type": "text", "text": right}]),
        "half": completion(right.replace("There", "\ud83d There")),
        "thinks": completion(f"<think>Let me see.</think>{right}"),
    }
    return bodies.get(act, completion(right))


@contextmanager
def serving(teacher: Teacher) -> Iterator[Teacher]:
    """The endpoint, at ``teacher.url``, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            act, id, reading = teacher.act(body, {name.lower(): value for name, value in self.headers.items()})
            teacher.hold.wait()
            if act == "drop":
                self.connection.close()
                return
            if act.isdigit():
                key = self.headers.get("authorization", "").removeprefix("Bearer ")
                self._send(int(act), json.dumps({"error": {"message": f"No luck\nwith {key or 'it'}"}}).encode())
                return
            if act == "slow":
                teacher.ended.wait()
            self._send(200, reply(act, id, reading), early=act == "early")

        def do_GET(self) -> None:
            teacher.headers.append({name.lower(): value for name, value in self.headers.items()})
            self._send(200, b"{}")

        def _send(self, status: int, body: bytes, *, early: bool = False) -> None:
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("location", f"{teacher.url}/elsewhere")
            if status == 429:
                self.send_header("retry-after", "0.01")
            self.send_header("content-length", str(len(body) + 10 * early))
            self.end_headers()
            with contextlib.suppress(OSError):  # nobody waited
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    teacher.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield teacher
    finally:
        teacher.hold.set()
        teacher.ended.set()
        server.shutdown()
        server.server_close()
