"""Small datasets and files of answers to review, and servers in threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import rise_vlm
from rise_vlm.data import Card, DatasetWriter
from rise_vlm.web.session import Session

CARDS = {
    "classification": Card(name="colours", task="classification", classes=["red", "green", "blue"]),
    "distribution": Card(name="moods", task="distribution", classes=["joy", "fear", "calm"]),
    "grounding": Card(name="places", task="grounding", question="Where is the square?"),
    "detection": Card(name="things", task="detection", classes=["cup", "plate"]),
    "counting": Card(name="counts", task="counting", question="How many squares?"),
}
ANNOTATIONS: dict[str, list[Any]] = {
    "classification": ["red", "green", "blue"],
    "distribution": [{"joy": 0.7, "fear": 0.3}, {"calm": 1.0}, {"joy": 0.5, "calm": 0.5}],
    "grounding": [[40, 30, 100, 90], [10, 10, 60, 60], [20, 20, 80, 70]],
    "detection": [[{"label": "cup", "box": [40, 30, 100, 90]}], [], [{"label": "plate", "box": [5, 5, 50, 50]}]],
    "counting": [1, 2, 3],
}


def picture(number: int) -> Image.Image:
    image = Image.new("RGB", (200, 150), (230, 230, 220))
    ImageDraw.Draw(image).rectangle((40, 30, 100, 90), fill=[(200, 60, 40), (40, 150, 60), (40, 80, 200)][number % 3])
    return image


def make_dataset(root: Path, task: str, *, split: str = "train") -> Path:
    with DatasetWriter(root, CARDS[task]) as writer:
        for number, annotation in enumerate(ANNOTATIONS[task]):
            said = f"What can be seen, number {number}."
            writer.add(split, id=f"r{number}", image=picture(number), annotation=annotation, rationale=said)
    return root


def make_answers(folder: Path, rows: list[dict[str, Any]], task: str = "grounding") -> Path:
    """A file as ``rise annotate`` writes it, with pictures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, row in enumerate(rows):
        name = f"p{number}.png"
        picture(number).save(folder / name)
        source = {"model": "runs/some/model", "digest": "0", "task": task, "classes": "", "role": "think"}
        source["question"] = "Where is the square?"
        base = {"id": name, "image": name, "width": 200, "height": 150, "question": source["question"]}
        lines.append(
            json.dumps({**base, "rationale": "A square.", "completion": "", "reason": None, **row, "source": source})
        )
    path = folder / "answers.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass
class Running:
    """A server in a thread."""

    address: str
    session: Session


def serve_in_thread(app: Any, server: Any, connections: int = 64) -> Callable[[], None]:
    """Start uvicorn; what is returned stops it."""
    import uvicorn

    options = {"log_config": None, "ws": "none", "lifespan": "off", "limit_concurrency": connections}
    runner = uvicorn.Server(uvicorn.Config(app, **options, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: runner.run(sockets=[server]), daemon=True)
    thread.start()
    while not runner.started:
        time.sleep(0.01)

    def stop() -> None:
        runner.should_exit = True
        thread.join(20)

    return stop


def journal(session: Session) -> list[dict[str, Any]]:
    """The decisions on the disk."""
    lines = session.journal.path.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "decision" in row]


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """The process of a ``rise`` command that serves, and the address that it printed."""
    environment = os.environ | {"PYTHONPATH": str(Path(rise_vlm.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "rise_vlm", *arguments], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "http://" in line:
            return process, next(word for word in line.split() if word.startswith("http://"))
    raise AssertionError("it ended without an address")


def post(address: str, path: str, body: object) -> dict:
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())
