"""The forms of what ``rise serve`` answers and is sent, for its OpenAPI page (``/openapi.json``)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from rise_vlm.data.record import MAX_QUESTION


class Health(BaseModel):
    """What answers here. ``waiting`` counts requests that wait or are being answered."""

    model_config = ConfigDict(protected_namespaces=())

    status: str
    model_class: str
    model_version: str
    task: str
    classes: list[str]
    waiting: int


class Version(BaseModel):
    """The model's version, which Label Studio keeps with each prediction."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str


class Prediction(BaseModel):
    """One prediction: its results in Label Studio's form, and how sure the model is."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    score: float
    result: list[dict[str, Any]]


class Predicted(BaseModel):
    """Predictions in the order of the tasks, and which tasks got an empty one for what reason."""

    model_config = ConfigDict(protected_namespaces=())

    results: list[Prediction]
    errors: list[dict[str, Any]]
    model_version: str


class Annotated(BaseModel):
    """The answer about one picture; boxes are pixels of the upright picture, ``scores`` the confidence in each;
    ``reconstruction`` and ``leaks`` are what ``--check`` found.
    """

    model_config = ConfigDict(protected_namespaces=())

    task: str
    model_version: str
    annotation: Any
    rationale: str | None
    reason: str | None
    completion: str
    question: str
    width: int
    height: int
    confidence: float | None
    scores: list[float] | None
    reconstruction: float | None
    leaks: list[str] | None


class Failure(BaseModel):
    """Why a request was refused."""

    error: str


MEANINGS = {
    400: "The body is not what its type says.",
    401: "The token is missing or wrong.",
    403: "A page of another site sent this.",
    408: "The body came too slowly.",
    413: "Too many bytes or tasks.",
    415: "A type of body that is not taken.",
    422: "An image, a question or a configuration that cannot be used.",
    500: "The model failed on this request.",
    503: "Too many requests are waiting.",
    504: "No answer in time.",
}


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The documented refusals of an endpoint."""
    return {code: {"model": Failure, "description": MEANINGS[code]} for code in codes}


_QUESTION = {"type": "string", "maxLength": MAX_QUESTION}
_JSON = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "description": "base64, or a data: address"}, "question": _QUESTION},
}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary"}, "question": _QUESTION},
}
ANNOTATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _JSON},
            "multipart/form-data": {"schema": _FORM},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The three forms of a request to ``/annotate``."""
