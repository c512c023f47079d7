"""English words that stand in many a description for something else than the class that they may name.

Short and judged by hand, for a warning only: nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterable

EVERYDAY = frozenset(
    "back bank bar bat bow box can case check clear club cold cool cover crane cross dark drop face fair fall fan "
    "fine fire fly gold good ground hand head iron kind lead left light like line match may mean might mine nail "
    "open orange park place plain plant play point present right ring rock rose round row saw seal second set "
    "sheet show side sign silver spring stand star state still table tie train turn violet watch water wave well "
    "will wood black blue brown gray green grey pink purple red white yellow "
    "as at by do go he in is it no not of off on or out so to up us we yes".split()
)
"""Verbs, places, materials, colours, and what every sentence has; single words, for a longer name is hardly said by
chance."""


def everyday(classes: Iterable[str]) -> list[str]:
    """Those of ``classes`` that are such words."""
    return [name for name in classes if name.casefold().strip() in EVERYDAY]
