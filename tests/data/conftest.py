"""What the tests of data share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find the tables beside them
settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("no deadline")

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A folder of the sample data that lie beside the repository; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        for place in (REPOSITORY.parent / "shared" / "data" / name, REPOSITORY / "shared" / "data" / name):
            if place.is_dir():
                return place
        pytest.skip(f"the sample data {REPOSITORY.parent / 'shared' / 'data' / name} are absent")

    return find
