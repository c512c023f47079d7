"""The machine and the versions that a figure belongs to.

Left out: memory and disks, which ``rise doctor`` looks at.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from rise_vlm import __version__


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, Any]:
    """``version``, ``python``, ``torch``, ``transformers``, ``platform``, ``cpu``, ``cpus`` (those that may be used),
    ``threads`` and ``device`` (of the first accelerator its name). Imports torch."""
    import torch
    import transformers

    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": processor("model name") or platform.processor() or platform.machine(),
        "cpus": usable_cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def processor(key: str) -> str:
    """What Linux says of the processor, such as its ``model name`` or ``vendor_id``; empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""
