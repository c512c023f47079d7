"""Truth of what rationales state, where a world knows the scene: how much of it holds, and how much of what holds.

Left out: data sets that no world has drawn; nobody knows what is in their pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from rise_vlm.data import Record
from rise_vlm.stages.material import Material


def facts_of(material: Material, record: Record, rationale: str) -> tuple[frozenset[str], frozenset[str]] | None:
    """(stated by the rationale, true of the picture); None without a world, or a scene in the record."""
    if material.world is None or "scene" not in record.meta:
        return None
    true = material.world.true_facts(material.world.Scene.from_dict(record.meta["scene"]))
    return material.world.stated_facts(rationale), true


def untrue(material: Material, record: Record, rationale: str) -> frozenset[str]:
    """What a rationale states that does not hold; nothing where no world can tell.

    A fact of a kind that reasons work out (the world's `DERIVED`), such as an angle, is false only where the picture
    says otherwise of the same.
    """
    stated, true = facts_of(material, record, rationale) or (frozenset[str](), frozenset[str]())
    derived = getattr(material.world, "DERIVED", ())
    seen = {_subject(fact) for fact in true} - {None}
    return frozenset(
        fact for fact in stated - true if fact.split("=")[0].split(".")[0] not in derived or _subject(fact) in seen
    )


def _subject(fact: str) -> str | None:
    """What a fact is about, such as `angle.C`; None where it names nothing."""
    subject = fact.partition("=")[0]
    return subject if "." in subject else None


@dataclass
class Facts:
    """Counts of facts: stated, true, and both."""

    stated: int = 0
    true: int = 0
    both: int = 0
    seen: int = 0

    def add(self, material: Material, record: Record, rationale: str) -> None:
        """Count one rationale; where no world can tell, nothing happens."""
        found = facts_of(material, record, rationale)
        if found is None:
            return
        stated, true = found
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
