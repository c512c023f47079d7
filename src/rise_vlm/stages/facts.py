"""Truth of what rationales state, where a world knows the scene: how much of it holds, and how much of what holds.

Left out: data sets that no world has drawn; nobody knows what is in their pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from rise_vlm.data import Record
from rise_vlm.stages.material import Material


def untrue(material: Material, record: Record, rationale: str) -> frozenset[str]:
    """What a rationale states that does not hold; nothing where no world can tell."""
    if material.world is None or "scene" not in record.meta:
        return frozenset()
    true = material.world.true_facts(material.world.Scene.from_dict(record.meta["scene"]))
    return material.world.stated_facts(rationale) - true


@dataclass
class Facts:
    """Counts of facts: stated, true, and both."""

    stated: int = 0
    true: int = 0
    both: int = 0
    seen: int = 0

    def add(self, material: Material, record: Record, rationale: str) -> None:
        """Count one rationale; without a world, or a scene in the record, nothing happens."""
        if material.world is None or "scene" not in record.meta:
            return
        stated = material.world.stated_facts(rationale)
        true = material.world.true_facts(material.world.Scene.from_dict(record.meta["scene"]))
        self.seen += 1
        self.stated += len(stated)
        self.true += len(true)
        self.both += len(stated & true)

    def figures(self) -> dict[str, float] | None:
        """Precision (1 where nothing is stated) and recall; None where no world could tell."""
        if not self.seen:
            return None
        return {
            "precision": self.both / self.stated if self.stated else 1.0,
            "recall": self.both / self.true if self.true else 1.0,
        }
