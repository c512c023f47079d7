"""A sweep's folder that is asked for more: what was there and what is asked now, as one sweep.

Left out: what a sweep may say (``sweep``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rise_vlm.errors import UserError
from rise_vlm.recipes.loader import as_overrides
from rise_vlm.recipes.sweep import FILE, Sweep


def joined(before: Sweep, now: Sweep, out: Path) -> Sweep:
    """What the folder ``out`` held and what is asked of it now, as one sweep: a part of a sweep does not replace it.

    Raises UserError where the two contradict each other.
    """
    for key in ("data", "arms"):
        old, new = getattr(before, key), getattr(now, key)
        for name in old.keys() & new.keys():
            if old[name] != new[name]:
                raise UserError(f"{out / FILE}: {key}.{name} is another than asked for now: give another --out.")
    if before.settings != now.settings:
        other = set(as_overrides(before.settings)) ^ set(as_overrides(now.settings))
        keys = ", ".join(sorted({one.split("=", 1)[0] for one in other}))
        raise UserError(f"{out / FILE} has other settings than are asked for now ({keys}): give another --out.")
    whole = before.arms.keys() <= now.arms.keys()  # a part of a sweep does not say what the whole compares with
    return now.model_copy(
        update={
            "data": {name: (before.data | now.data)[name] for name in _both(before.data, now.data)},
            "arms": {name: (before.arms | now.arms)[name] for name in _both(before.arms, now.arms)},
            "seeds": _both(before.seeds, now.seeds),
            "records": _both(before.records, now.records),
            "against": (now.against or before.against) if whole else (before.against or now.against),
        }
    )


def _both(before: Iterable[Any], now: Iterable[Any]) -> tuple[Any, ...]:
    """All of both; in the order of ``before`` where that has them all, else those of ``now`` come last."""
    old, new = list(before), list(now)
    if all(one in old for one in new):
        return tuple(old)
    return (*(one for one in old if one not in new), *new)
