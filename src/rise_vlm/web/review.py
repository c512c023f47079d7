"""The review page over HTTP: a session's items, pictures and decisions, and the files of the page itself.

An item is asked for by its number, never by a path, so no address leads to another file. Left out: several reviews on
one port.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from rise_vlm.errors import DataError, UserError
from rise_vlm.web.guard import Door, Guard
from rise_vlm.web.pictures import Pictures
from rise_vlm.web.session import Action, Refused, Session

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MAX_BODY = 4 << 20
"""Bytes of the largest decision: some ten thousand boxes."""

PAGE = {
    "": ("review.html", "text/html"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "review.css": ("review.css", "text/css"),
    "review.js": ("review.js", "text/javascript"),
    "boxes.js": ("boxes.js", "text/javascript"),
    "editors.js": ("editors.js", "text/javascript"),
    "picture.js": ("picture.js", "text/javascript"),
}
"""Path -> file of the page and its media type; there are no others."""

States = Literal["any", "undecided", "accepted", "corrected", "rejected"]


class Sent(BaseModel):
    """A decision as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    annotation: Any = None
    rationale: str = ""
    text: str | None = None


class Finish(BaseModel):
    """What becomes of the undecided when the dataset is written."""

    model_config = ConfigDict(extra="forbid")

    undecided: Literal["keep", "leave out"]


def make_app(session: Session, door: Door) -> ASGIApp:
    """The page and its data, behind the guard."""
    batch = session.batch
    mine = batch.digest

    def same(review: str | None = None) -> None:
        if review not in (None, mine):
            raise HTTPException(409, "Not saved: this page is of another review. Load it again.")

    app = FastAPI(title="rise review", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(same)])
    pictures = Pictures()

    def there(index: int) -> int:
        if not 0 <= index < len(batch.items):
            raise HTTPException(404, f"there is no item {index}")
        return index

    def shown(index: int) -> dict[str, Any]:
        return item_as_json(session, index)

    @app.get("/api/session")
    def about() -> dict[str, Any]:
        first = session.next(-1, 1, "undecided")
        return {
            "review": mine,
            "name": batch.source.name,
            "task": batch.card.task,
            "classes": batch.card.classes,
            "total": len(batch.items),
            "counts": session.counts,
            "out": str(session.out),
            "journal": str(session.journal.path),
            "model": batch.model,
            "start": 0 if first is None else first,
        }

    @app.get("/api/items/{index}")
    def one(index: int) -> dict[str, Any]:
        return shown(there(index))

    @app.get("/api/next")
    def following(start: int, step: Literal["1", "-1"] = "1", state: States = "any") -> dict[str, int | None]:
        start = min(max(start, -1), len(batch.items))
        return {"index": session.next(start, int(step), state)}

    @app.post("/api/items/{index}")
    def decide(index: int, sent: Sent) -> dict[str, Any]:
        session.decide(there(index), sent.action, sent.annotation, sent.rationale, sent.text)
        return {"item": shown(index), "counts": session.counts}

    @app.post("/api/finish")
    def finish(how: Finish) -> dict[str, Any]:
        return session.finish(how.undecided)

    @app.get("/pictures/{index}/{number}")
    def picture(index: int, number: int) -> Response:
        paths = batch.items[there(index)].pictures
        if not 0 <= number < len(paths):
            raise HTTPException(404, f"item {index} has no picture {number}")
        content, kind = pictures.get(paths[number])
        return Response(content, media_type=kind)  # never stored: another review uses the same addresses

    @app.get("/{path:path}")
    def page(path: str) -> Response:
        if path not in PAGE:
            raise HTTPException(404, "there is nothing here")
        name, kind = PAGE[path]
        return Response((files("rise_vlm.web") / "templates" / name).read_bytes(), media_type=kind)

    tell_errors(app)
    return Guard(app, door)


def item_as_json(session: Session, index: int) -> dict[str, Any]:
    """One item for the page: what came, what stands now, and what was said about it."""
    item, now = session.batch.items[index], session.now(index)
    record = item.record
    return {
        "index": index,
        "id": record.id,
        "split": item.split,
        "question": record.question or session.batch.task.question or session.batch.task.default_question,
        "width": record.width,
        "height": record.height,
        "pictures": len(item.pictures),
        "state": session.state(index),
        "annotation": now.annotation,
        "rationale": now.rationale,
        "text": now.text,
        "original": {"annotation": record.annotation, "rationale": record.rationale or ""},
        "hints": dict(item.hints),
    }


def tell_errors(app: FastAPI) -> None:
    """Every error as ``{"error": one line}``."""

    @app.exception_handler(HTTPException)
    def stopped(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"error": f"{where}: {first['msg']}".removeprefix(": ")}, 422)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(DataError)
    def bad_data(request: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(UserError)
    def mistaken(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(OSError)
    def no_storage(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"error": f"the disk refused: {error.strerror or error}"}, 507)
