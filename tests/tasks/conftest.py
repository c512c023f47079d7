"""Records and frames that the task tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rise_vlm.data.record import Record
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.tasks.grounding import Grounding

EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")


@pytest.fixture(scope="session")
def frame() -> Thousand:
    return Thousand()


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    """``record(annotation, question=..., size=(width, height), images=...)``."""

    def build(
        annotation: Any,
        question: str | None = None,
        size: tuple[int, int] = (800, 600),
        images: tuple[str, ...] = ("one.png",),
    ) -> Record:
        return Record(id="one", images=images, annotation=annotation, question=question, width=size[0], height=size[1])

    return build


@pytest.fixture(scope="session")
def emotions() -> Distribution:
    return Distribution(EMOTIONS)


@pytest.fixture(scope="session")
def things() -> Classification:
    return Classification(["frying pan", "remote control", "dog"])


@pytest.fixture(scope="session")
def grounding() -> Grounding:
    return Grounding()


@pytest.fixture(scope="session")
def detection() -> Detection:
    return Detection(["car", "traffic light", "dog"])
