"""One sample: its images, its question and its annotation.

A box annotation is ``[x1, y1, x2, y2]`` in absolute pixels of the EXIF-upright image, a class annotation is the class
name, a distribution is ``{class: probability}``. Left out: what an annotation means, which is a task's business.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_QUESTION = 4000
"""Characters of the longest question; a longer one is surely a file pasted into the wrong column."""

LARGEST_NUMBER = 2**53
"""Of sizes and in annotations; greater whole numbers are no floats."""


class Record(BaseModel):
    """One sample of a dataset. ``width`` and ``height`` are those of the first image, EXIF-upright, in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1)]
    images: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    annotation: Any
    question: Annotated[str | None, Field(max_length=MAX_QUESTION)] = None
    rationale: str | None = None
    width: Annotated[int, Field(gt=0, le=LARGEST_NUMBER)]
    height: Annotated[int, Field(gt=0, le=LARGEST_NUMBER)]
    meta: dict[str, Any] = Field(default_factory=dict)
