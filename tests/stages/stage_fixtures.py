"""Fixtures of the tests of stages, recipes and commands: datasets and a schooled small model, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stage_kit import make_classification, make_distribution, make_grounding, school


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classification(tmp_path_factory.mktemp("data") / "noise")


@pytest.fixture(scope="session")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_distribution(tmp_path_factory.mktemp("data") / "moods")


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grounding(tmp_path_factory.mktemp("data") / "places")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, classes: Path, places: Path) -> Path:
    """One for all folders of tests that import this fixture."""
    home = tmp_path_factory.getbasetemp() / "schooled"
    if not (home / "model" / "config.json").is_file():
        home.mkdir(exist_ok=True)
        school(home, [classes, places])
    return home / "model"
