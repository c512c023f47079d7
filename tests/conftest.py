"""Settings for all tests: hypothesis draws the same examples every time and never fails for a slow machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")
