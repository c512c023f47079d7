"""Settings for all tests: hypothesis draws the same examples every time and never fails for a slow machine.

One thread, here and in every process a test starts: sums over two threads are ordered differently, and several tests
compare bits across processes. Tiny models run no slower for it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")
