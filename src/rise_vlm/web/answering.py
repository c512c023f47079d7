"""A model that answers about pictures sent to it, and the one thread in which it does.

Requests wait in a queue of bounded length; what waits is taken in batches, so that many single pictures cost what one
batch costs. Left out: stopping a completion that has begun; its length is bounded instead.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rise_vlm.console import say
from rise_vlm.data.images import read_image, read_size
from rise_vlm.data.record import Record
from rise_vlm.errors import DataError, UserError
from rise_vlm.tasks.base import Role, Task

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.policy import ImageInput, Policy, Prompt

BATCH = 8


@dataclass(frozen=True)
class Asked:
    """An image file's bytes and the question about it (None: the task's own)."""

    content: bytes
    question: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the model says. ``annotation`` is None where it could not be read; ``reason`` then says why. ``scores`` are
    the confidences in the boxes of a detection, one each; ``reconstruction`` and ``leaks`` what ``--check`` found.
    """

    annotation: Any
    rationale: str | None
    reason: str | None
    completion: str
    question: str
    width: int
    height: int
    confidence: float | None = None
    scores: list[float] | None = None
    reconstruction: float | None = None
    leaks: list[str] | None = None

    @property
    def score(self) -> float:
        """How far to trust it: the smaller of confidence and reconstruction, or, where neither was asked for, 1 for an
        answer and 0 for none.
        """
        known = [one for one in (self.confidence, self.reconstruction) if one is not None]
        return min(known, default=float(self.annotation is not None))


class Annotator(Protocol):
    """What answers: a model, or a stand-in for it in a test."""

    @property
    def task(self) -> Task:
        """What it is asked."""
        ...

    @property
    def version(self) -> str:
        """What answers, by name and digest."""
        ...

    def answer(self, asked: Sequence[Asked]) -> list[Answer | UserError]:
        """One answer each, or why there is none."""
        ...


@dataclass(frozen=True)
class _Taken:
    """A picture as the model takes it, by its number in the batch."""

    number: int
    record: Record
    image: ImageInput
    prompt: Prompt


@dataclass(frozen=True)
class PolicyAnnotator:
    """A policy as an annotator. With ``samples`` it answers what they agree on and tells how far; else greedily. With
    ``check`` it is asked again from the rationale alone.
    """

    policy: Policy
    task: Task
    version: str
    question: str | None
    role: Role
    max_new_tokens: int
    samples: int = 0
    check: bool = False
    temperature: float = 0.7

    def answer(self, asked: Sequence[Asked]) -> list[Answer | UserError]:
        """See ``Annotator``. One batch; pictures are decoded here, so that only files wait in the queue."""
        import torch

        from rise_vlm.engine.sample import sample

        found: list[Answer | UserError] = [UserError("not answered")] * len(asked)
        taken: list[_Taken] = []
        for number, one in enumerate(asked):
            try:
                taken.append(self._take(number, one))
            except UserError as error:
                found[number] = error
        if not taken:
            return found
        sampled = sample(
            self.policy,
            [one.prompt for one in taken],
            self.samples or 1,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature if self.samples else 0.0,
            generator=torch.Generator().manual_seed(0),
        )
        answers = [
            self._read(one.record, [rollout.text for rollout in rollouts])
            for one, rollouts in zip(taken, sampled, strict=True)
        ]
        for one, answer in zip(taken, self._checked(taken, answers) if self.check else answers, strict=True):
            found[one.number] = answer
        return found

    def _take(self, number: int, asked: Asked) -> _Taken:
        record, opened = self._record(asked)
        image = self.policy.preprocess([opened])[0]
        return _Taken(
            number, record, image, self.policy.encode(self.task.prompt(self.role, record, self.policy.frame), [image])
        )

    def _checked(self, taken: Sequence[_Taken], answers: Sequence[Answer]) -> list[Answer]:
        """The answers, with what comes back of each: nothing where there is no rationale, or one that is too long."""
        from rise_vlm.stages.rebuilding import Given, rebuild

        given: dict[int, Given] = {}
        for at, (one, answer) in enumerate(zip(taken, answers, strict=True)):
            if answer.annotation is not None and answer.rationale:
                record = one.record.model_copy(update={"annotation": answer.annotation})
                given[at] = Given(record, one.image, answer.rationale, one.prompt.text)
        found = [answer if answer.annotation is None else replace(answer, reconstruction=0.0) for answer in answers]
        rebuilt = rebuild(self.policy, self.task, list(given.values()), self.max_new_tokens)
        for at, one in zip(given, rebuilt, strict=True):
            found[at] = replace(found[at], reconstruction=one.reconstruction or 0.0, leaks=one.leaks)
        return found

    def _record(self, asked: Asked) -> tuple[Record, Image.Image]:
        image = open_image(asked.content)
        question = asked.question or self.question
        width, height = image.size
        return Record(id="sent", images=("sent",), annotation="", question=question, width=width, height=height), image

    def _read(self, record: Record, texts: Sequence[str]) -> Answer:
        from rise_vlm.stages.consistency import agree

        read = [self.task.parse_completion(text, record, self.policy.frame, self.role) for text in texts]
        agreed = agree(self.task, [one.parsed.value for one in read])
        like = read[agreed.like]
        return Answer(
            agreed.value,
            like.rationale,
            like.parsed.reason if agreed.value is None else None,
            texts[agreed.like],
            self.task.ask(record),
            record.width,
            record.height,
            round(agreed.confidence, 6) if self.samples else None,
            [round(score, 6) for score in agreed.scores] if self.samples and agreed.scores is not None else None,
        )


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """A file of ``content``, of which errors speak as "the image"."""
    with tempfile.NamedTemporaryFile(prefix="rise-") as file:
        file.write(content)
        file.flush()
        try:
            yield Path(file.name)
        except DataError as error:
            raise DataError(str(error).replace(file.name, "the image")) from None


def open_image(content: bytes) -> Image.Image:
    """The picture that an image file's bytes hold, upright RGB. Raises DataError where they hold none."""
    with _as_file(content) as path:
        return read_image(path)


def check_size(content: bytes, max_pixels: int) -> None:
    """Raise DataError where the bytes are no image or one of more pixels, by its header alone."""
    with _as_file(content) as path:
        width, height = read_size(path).upright
    if width * height > max_pixels:
        raise DataError(f"the image has {width} x {height} pixels; at most {max_pixels} are taken")


class ModelFailed(UserError):
    """The model itself failed on a picture."""


class Busy(Exception):
    """The queue is full; come again later."""


Waiting = tuple[Asked, "Future[Answer | UserError]", float]


class Queue:
    """Requests in a row before one annotator. ``size`` bounds how many are inside, waiting or being answered."""

    def __init__(self, annotator: Annotator, size: int) -> None:
        self.annotator, self.size = annotator, size
        self._inside = 0
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="rise-model", daemon=True)
        self._thread.start()

    @property
    def inside(self) -> int:
        """How many requests are waiting or being answered."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue for one request. Raises Busy when there is none."""
        with self._lock:
            if self._inside >= self.size:
                raise Busy
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    def submit(self, asked: Asked, deadline: float) -> Future[Answer | UserError]:
        """Ask; what nobody waits for any more (cancelled, or past ``deadline`` of time.monotonic) is not answered."""
        future: Future[Answer | UserError] = Future()
        self._waiting.put((asked, future, deadline))
        return future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, ends = [first], False
            while len(batch) < BATCH and not ends:
                try:
                    one = self._waiting.get_nowait()
                except queue.Empty:
                    break
                ends = one is None
                batch += [one] if one is not None else []
            self._answer([one for one in batch if time.monotonic() < one[2] and one[1].set_running_or_notify_cancel()])
            if ends:
                return

    def _answer(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        try:
            answers = self.annotator.answer([asked for asked, _, _ in batch])
        except Exception as error:  # whatever one picture does to a model, the server goes on
            if len(batch) > 1:
                for one in batch:
                    self._answer([one])
                return
            answers = [error if isinstance(error, UserError) else self._failed(error)]
        for (_, future, _), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

    @staticmethod
    def _failed(error: Exception) -> ModelFailed:
        """What the client is told; the details, which may name files, go to the terminal."""
        say("".join(traceback.format_exception(error)).rstrip())
        return ModelFailed(f"the model failed ({type(error).__name__}); the server goes on")
