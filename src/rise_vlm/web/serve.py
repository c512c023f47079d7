"""A model over HTTP: Label Studio's ML backend protocol, and ``POST /annotate`` for everything else.

What a request may cost is bounded: bytes, pixels, tasks, seconds, and how many requests wait for the one model. Left
out: training from Label Studio's events, which are acknowledged and ignored; ``rise run`` trains.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from rise_vlm.data.record import MAX_QUESTION
from rise_vlm.errors import DataError, UserError
from rise_vlm.web.addresses import Addresses, decode_base64
from rise_vlm.web.answering import BATCH, Annotator, Answer, Asked, Busy, ModelFailed, Queue, check_size
from rise_vlm.web.guard import Door, Guard
from rise_vlm.web.labelstudio import Controls, address_of, default_controls, read_controls, results
from rise_vlm.web.wire import ANNOTATE_BODY, Annotated, Failure, Health, Predicted, Prediction, Version, refusals

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SLACK = 1 << 20
"""Bytes of a request beside its image: the form around it, a labelling configuration, a question."""


@dataclass(frozen=True)
class Limits:
    """What one request may cost. ``pixels`` are those of a picture as it is sent."""

    bytes: int = 10 << 20
    pixels: int = 40_000_000
    tasks: int = 64
    seconds: float = 100.0

    @property
    def body(self) -> int:
        """Bytes of a request: an image as base64 takes a third more than it has."""
        return self.bytes * 4 // 3 + SLACK


class Setup(BaseModel):
    """What Label Studio sends when a project is connected; a configuration that has no picture is refused then."""

    model_config = ConfigDict(extra="ignore")

    project: Any = None
    schema_: str | None = Field(None, alias="schema")


class Task(BaseModel):
    """A task of Label Studio; its data names the picture."""

    model_config = ConfigDict(extra="ignore")

    id: Any = None
    data: dict[str, Any]

    @field_validator("id", "data", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise ValueError("holds text that is not UTF-8, or is nested too deep") from None
        return value


class Predict(BaseModel):
    """A request for predictions."""

    model_config = ConfigDict(extra="ignore")

    tasks: list[Task]
    label_config: str | None = None


class Server:
    """What the endpoints share: the queue before the model, the limits, and where pictures may come from."""

    def __init__(self, queue: Queue, limits: Limits, addresses: Addresses) -> None:
        self.queue, self.limits, self.addresses = queue, limits, addresses
        self.annotator: Annotator = queue.annotator

    async def predict(self, asked: Predict) -> Predicted:
        """One prediction per task, in their order; a task that cannot be answered gets an empty one and an error."""
        if len(asked.tasks) > self.limits.tasks:
            raise HTTPException(413, f"{len(asked.tasks)} tasks were sent; at most {self.limits.tasks} are taken")
        task = self.annotator.task
        controls = read_controls(asked.label_config) if asked.label_config else default_controls(task)
        version, deadline = self.annotator.version, time.monotonic() + self.limits.seconds
        found = Predicted(results=[], errors=[], model_version=version)
        with self.queue.place():
            for start in range(0, len(asked.tasks), BATCH):
                tasks = asked.tasks[start : start + BATCH]
                for one, answer in zip(tasks, await self._chunk(tasks, controls, deadline), strict=True):
                    if isinstance(answer, Answer):
                        result = results(task, answer, controls)
                        found.results.append(Prediction(model_version=version, score=answer.score, result=result))
                        if answer.reason:
                            found.errors.append({"task": one.id, "error": f"no answer: {answer.reason}"})
                    else:
                        found.results.append(Prediction(model_version=version, score=0.0, result=[]))
                        found.errors.append({"task": one.id, "error": str(answer)})
        return found

    async def _chunk(self, tasks: Sequence[Task], controls: Controls, deadline: float) -> list[Answer | UserError]:
        """The answers for a few tasks, whose pictures are read beside the model's thread."""
        waiting: list[Future[Answer | UserError] | UserError] = []
        for one in tasks:
            try:
                asked = await self._bounded(asyncio.to_thread(partial(self._read, one.data, controls)), deadline)
                waiting.append(self.queue.submit(asked, deadline))
            except UserError as error:
                waiting.append(error)
        return [one if isinstance(one, UserError) else await self._answered(one, deadline) for one in waiting]

    def _read(self, data: Mapping[str, Any], controls: Controls) -> Asked:
        content = self.addresses.read(address_of(data, controls))
        check_size(content, self.limits.pixels)
        question = data.get("question")
        return Asked(content, checked_question(question if isinstance(question, str) else None))

    async def annotate(self, content: bytes, question: str | None) -> Answer:
        """The answer about one picture, for who has a place in the queue. Raises UserError where the picture or
        question cannot be taken.
        """
        deadline = time.monotonic() + self.limits.seconds
        await asyncio.to_thread(check_size, content, self.limits.pixels)
        answer = await self._answered(self.queue.submit(Asked(content, question), deadline), deadline)
        if isinstance(answer, UserError):
            raise answer
        return answer

    async def _answered(self, future: Future[Answer | UserError], deadline: float) -> Answer | UserError:
        return await self._bounded(asyncio.wrap_future(future), deadline)

    async def _bounded(self, coming: Any, deadline: float) -> Any:
        try:
            return await asyncio.wait_for(coming, max(deadline - time.monotonic(), 0.001))
        except TimeoutError:
            raise HTTPException(504, f"no answer within {self.limits.seconds:g} s; send fewer tasks") from None


def make_app(queue: Queue, limits: Limits, addresses: Addresses, door: Door) -> ASGIApp:
    """The endpoints, behind the guard."""
    app = FastAPI(title="rise serve", version="1", docs_url=None, redoc_url=None)
    server, annotator = Server(queue, limits, addresses), queue.annotator

    @app.get("/", include_in_schema=False)
    @app.get("/health", responses=refusals(401))
    def health() -> Health:
        """Whether the server is up, and what it answers."""
        task = annotator.task
        return Health(
            status="UP",
            model_class="rise-vlm",
            model_version=annotator.version,
            task=task.name,
            classes=list(task.classes),
            waiting=queue.inside,
        )

    @app.post("/setup", responses=refusals(400, 401, 403, 408, 413, 422))
    def setup(sent: Setup) -> Version:
        """Label Studio connects a project."""
        if sent.schema_:
            read_controls(sent.schema_)
        return Version(model_version=annotator.version)

    @app.post("/predict", responses=refusals(400, 401, 403, 408, 413, 422, 503, 504))
    async def predict(sent: Predict) -> Predicted:
        """Label Studio asks for predictions."""
        return await server.predict(sent)

    @app.post("/webhook", responses=refusals(401, 403, 413))
    def webhook() -> dict[str, str]:
        """An event of Label Studio, which is ignored."""
        return {"status": "ignored"}

    @app.post(
        "/annotate", responses=refusals(400, 401, 403, 408, 413, 415, 422, 500, 503, 504), openapi_extra=ANNOTATE_BODY
    )
    async def annotate(request: Request) -> Annotated:
        """An answer about one picture, sent as base64 in JSON, as a form's file, or as the plain body."""
        with queue.place():  # before the body is read, so that bodies in memory are as few as places
            content, question = await read_request(request, limits.bytes)
            answer = await server.annotate(content, checked_question(question))
        return Annotated(task=annotator.task.name, model_version=annotator.version, **vars(answer))

    tell_errors(app)
    return Guard(app, door)


async def read_request(request: Request, most: int) -> tuple[bytes, str | None]:
    """The image's bytes and the question of a request to /annotate."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind == "application/json":
        return _from_json(await request.body(), most)
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=4, max_part_size=SLACK // 4) as form:
            image, question = form.get("image"), form.get("question")
            if not isinstance(image, UploadFile):
                raise HTTPException(422, "the form has no file 'image'")
            content = await image.read(most + 1)
            return _not_too_long(content, most), question if isinstance(question, str) else None
    if kind.startswith("image/") or kind == "application/octet-stream":
        return _not_too_long(await request.body(), most), request.query_params.get("question")
    raise HTTPException(415, "send application/json, multipart/form-data, or an image as image/* ")


def _from_json(body: bytes, most: int) -> tuple[bytes, str | None]:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not valid JSON") from None
    if not isinstance(sent, dict) or not isinstance(sent.get("image"), str):
        raise HTTPException(422, 'the body must be {"image": base64, "question": text or nothing}')
    question = sent.get("question")
    if question is not None and not isinstance(question, str):
        raise HTTPException(422, "'question' must be text")
    return decode_base64(sent["image"], most), question


def _not_too_long(content: bytes, most: int) -> bytes:
    if len(content) > most:
        raise HTTPException(413, f"the image has more than {most} bytes")
    return content


def checked_question(question: str | None) -> str | None:
    """The question, None where it is empty. Raises DataError where it is too long or no UTF-8."""
    if question and len(question) > MAX_QUESTION:
        raise DataError(f"the question has {len(question)} characters; at most {MAX_QUESTION} are asked")
    try:
        (question or "").encode()
    except UnicodeEncodeError:
        raise DataError("the question is not UTF-8") from None
    return (question or "").strip() or None


def tell_errors(app: FastAPI) -> None:
    """Every error as ``{"error": one line}``; what went wrong inside is told without its details."""

    def failed(status: int, why: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse(Failure(error=why).model_dump(), status, headers=dict(headers or {}))

    @app.exception_handler(HTTPException)
    def stopped(request: Request, error: HTTPException) -> JSONResponse:
        return failed(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return failed(400 if first["type"] == "json_invalid" else 422, f"{where}: {first['msg']}".removeprefix(": "))

    @app.exception_handler(UserError)
    def mistaken(request: Request, error: UserError) -> JSONResponse:
        return failed(500 if isinstance(error, ModelFailed) else 422, str(error))

    @app.exception_handler(Busy)
    def busy(request: Request, error: Busy) -> JSONResponse:
        return failed(503, "too many requests are waiting; come again in a moment", {"retry-after": "5"})

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> JSONResponse:
        return failed(500, f"this failed ({type(error).__name__}); the server goes on")
