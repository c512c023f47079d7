"""Tiny random checkpoints shared by the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from tiny_models import save_tiny

from rise_vlm.policy import Policy

KINDS = ("qwen2_vl", "qwen2_5_vl")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family."""
    return {kind: save_tiny(tmp_path_factory.mktemp("tiny") / kind, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def policy(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Policy:
    """A fresh float32 policy of each family."""
    return Policy.load(str(checkpoints[request.param]), dtype="float32", device="cpu")
