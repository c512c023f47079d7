"""What came of an import, counted and told. Nothing that is left out is left out silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rise_vlm.data.checking import Counts
from rise_vlm.data.formats.base import Skip

FIRST_NAMES = 3
"""Names of skipped files that are told."""

FIRST_CLASSES = 5
"""Names of classes that a split lacks that are told."""


@dataclass
class Outcome:
    """What an import made of its source. ``classes`` counts records or boxes; ``boxed``: the annotations are boxes;
    ``named`` has the first names of what was skipped, by reason; ``listed`` are the classes of a class list, in its
    order, ``declared`` all that the dataset has; ``empty`` counts records whose picture has no box; ``shared``
    are the splits among which images were dealt, ``held`` the classes that each split's records name.
    """

    splits: dict[str, int] = field(default_factory=dict)
    quarantined: Counts = field(default_factory=Counts)
    skipped: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    dealt: str = ""
    shared: tuple[str, ...] = ()
    held: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    classes: Counter[str] = field(default_factory=Counter)
    listed: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    empty: int = 0
    boxed: bool = False

    @property
    def by_class(self) -> dict[str, float]:
        """Records or boxes by class: in the order of the class list, else the rarest and those without any last."""
        if self.listed:
            return {name: self.classes[name] for name in self.listed}
        absent = [name for name in self.declared if name not in self.classes]
        return dict(self.classes.most_common()) | dict.fromkeys(absent, 0.0)

    def skip(self, what: Skip) -> None:
        """Count what was left out."""
        self.skipped[what.reason] += 1
        first = self.named.setdefault(what.reason, []) if what.name else []
        if what.name and len(first) < FIRST_NAMES:
            first.append(what.name)

    def left_out(self) -> list[str]:
        """A line for every reason: how often, and the first names."""
        lines = []
        for reason, number in self.skipped.most_common():
            names = self.named.get(reason, [])
            more = " ..." if number > len(names) else ""
            lines.append(f"{number:,} x {reason}" + (f": {', '.join(names)}{more}" if names else ""))
        return lines

    def lacking(self) -> list[str]:
        """A note where a split that images were dealt to has no record, or none of some classes that others have."""
        told = []
        for split in self.shared:
            none = [name for name in self.classes if name not in self.held.get(split, ())]
            if not self.splits.get(split):
                told.append(f"'{split}' has no record")
            elif none:
                names = ", ".join(none[:FIRST_CLASSES]) + (", ..." if len(none) > FIRST_CLASSES else "")
                told.append(f"'{split}' lacks {len(none):,} of {len(self.classes):,} classes ({names})")
        advice = "give larger shares (--val, --test), or 'rise data split --force' deals classes in equal shares"
        return [f"{'; '.join(told)}: {advice}"] if told else []

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "splits": self.splits,
            "quarantined": self.quarantined.quarantined,
            "kinds": dict(self.quarantined.kinds),
            "skipped": dict(self.skipped),
            "skipped_first": self.named,
            "notes": self.notes,
            "dealt": self.dealt,
            "classes": {name: round(number, 3) for name, number in self.by_class.items()},
        }
