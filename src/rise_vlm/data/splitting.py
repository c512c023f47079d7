"""Dealing the records of a dataset to train, val and test, by groups and stratified.

What must not be parted is a group: records of one image, of images that look the same, of one value of ``meta``.
Groups go to splits by iterative stratification (Sechidis et al. 2011): the rarest class first, each of its groups to
the split that lacks it most. Only a seed and the ids decide, never the order of the rows. Left out: folds.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rise_vlm.data.balance import class_weights
from rise_vlm.data.writer import ordered
from rise_vlm.errors import DataError

K = TypeVar("K")

SLACK = 0.05
"""How far a split's share may be from what was asked, at least; half of it and half a group are always let pass."""


@dataclass
class Group:
    """Records that stay together: their positions, the smallest id and the classes they hold."""

    members: list[int]
    name: str
    classes: dict[str, float]

    @property
    def size(self) -> int:
        """The number of records."""
        return len(self.members)


@dataclass
class Deal:
    """Which record goes where. ``assigned`` is a split per record, in the order given; ``shares`` were asked for."""

    assigned: list[str]
    shares: dict[str, float]
    by: str
    groups: int
    largest: int
    records: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        total = sum(self.records.values())
        return {
            "by": self.by,
            "groups": self.groups,
            "largest_group": self.largest,
            "splits": {
                split: {
                    "records": number,
                    "share": round(number / total, 4),
                    "asked": round(self.shares[split], 4),
                    "classes": {name: round(n, 3) for name, n in sorted(self.classes.get(split, {}).items())},
                }
                for split, number in self.records.items()
            },
            "notes": self.notes,
        }


class Bonds:
    """Union-find: which records belong together."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, at: int) -> int:
        """The record that stands for the group of ``at``."""
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at

    def tie(self, one: int, other: int) -> None:
        """Make two groups one."""
        one, other = self.find(one), self.find(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)

    def tie_equal(self, keys: Iterable[tuple[int, Any]]) -> None:
        """Tie all records that have a key in common."""
        first: dict[Any, int] = {}
        for at, key in keys:
            self.tie(at, first.setdefault(key, at))


def families(pictures: Sequence[Sequence[str]]) -> dict[str, str]:
    """Picture -> the name of its family. ``pictures`` are those of each record, at least one.

    Records that share a picture are of one family, and so are those tied over others. A family is called by the first
    picture of one of its records, of these by the lowest, so a picture that is its record's only one by its own name.
    """
    bonds = Bonds(len(pictures))
    bonds.tie_equal((at, name) for at, names in enumerate(pictures) for name in names)
    homes = [bonds.find(at) for at in range(len(pictures))]
    lowest: dict[int, str] = {}
    for home, names in zip(homes, pictures, strict=True):
        lowest[home] = min(lowest.get(home, names[0]), names[0])
    return {name: lowest[home] for home, names in zip(homes, pictures, strict=True) for name in names}


def deal_in_turn(families: Mapping[K, int], shares: Mapping[str, float], *, least: int = 0) -> dict[K, str]:
    """Family -> split, for those that are dealt away from train.

    Each split takes its share of the families, ``least`` at least, the first that are left in the order given, but
    none larger than the room in its share of all pictures. ``families`` are family -> number of its pictures.
    """
    chosen: dict[K, str] = {}
    for split, share in shares.items():
        left = max(least, round(share * len(families)))
        room = max(least, round(share * sum(families.values())))
        for family, size in families.items():
            if left and family not in chosen and size <= room:
                chosen[family] = split
                left, room = left - 1, room - size
    return chosen


def group(ids: Sequence[str], annotations: Sequence[Any], bonds: Bonds, *, classed: bool) -> list[Group]:
    """The groups of the records, each with its classes where the dataset has any."""
    members: dict[int, list[int]] = defaultdict(list)
    for at in range(len(ids)):
        members[bonds.find(at)].append(at)
    groups = []
    for positions in members.values():
        classes: Counter[str] = Counter()
        if classed:
            for at in positions:
                for name, weight in class_weights(annotations[at]).items():
                    classes[name] += weight  # type: ignore[assignment]  # a distribution counts in parts
        groups.append(Group(positions, min(ids[at] for at in positions), dict(classes)))
    return groups


def stratify(groups: Sequence[Group], shares: Mapping[str, float], seed: int) -> list[str]:
    """The split of each group. ``shares`` sum to 1; a split of share 0 gets nothing."""
    table = _Table(groups, {split: shares[split] for split in ordered(shares) if shares[split] > 0}, seed)
    pending = set(table.holders)
    while pending:
        rarest = min(pending, key=lambda name: (round(table.left[name], 6), name))
        pending.remove(rarest)
        for at in table.by_weight(table.holders[rarest], rarest):
            table.give(at, rarest)
    for at in table.by_weight(range(len(groups)), None):
        table.give(at, None)
    table.mend()
    return table.chosen


class _Table:
    """Groups being dealt. ``room`` is what each split may still get, ``want`` the same of each class."""

    def __init__(self, groups: Sequence[Group], shares: Mapping[str, float], seed: int) -> None:
        self.groups, self.shares = groups, shares
        self.chosen = [""] * len(groups)
        self.unplaced: float = sum(one.size for one in groups)
        self.room = {split: share * self.unplaced for split, share in shares.items()}
        self.holders: dict[str, list[int]] = defaultdict(list)
        self.left: dict[str, float] = defaultdict(float)
        for at, one in enumerate(groups):
            for name, weight in one.classes.items():
                self.holders[name].append(at)
                self.left[name] += weight
        self.want = {name: {split: share * all_ for split, share in shares.items()} for name, all_ in self.left.items()}
        self._ranks = [_rank(seed, one.name) for one in groups]
        self._shuffled = sorted(range(len(groups)), key=lambda at: self._ranks[at])

    def by_weight(self, positions: Iterable[int], name: str | None) -> list[int]:
        """Groups with the most of a class first, then the largest; equals in the order of the seed."""

        def key(at: int) -> tuple[float, int, bytes]:
            one = self.groups[at]
            return -one.classes[name] if name is not None else 0.0, -one.size, self._ranks[at]

        return sorted((at for at in positions if not self.chosen[at]), key=key)

    def give(self, at: int, name: str | None) -> None:
        """Give a group to the split that lacks the class most, among those that have room for it.

        How far a split is behind in records counts too, or else rounding would favour the same split in every class.
        """
        one = self.groups[at]
        behind = {split: self.room[split] - share * self.unplaced for split, share in self.shares.items()}
        lack = self.room if name is None else {split: self.want[name][split] + behind[split] for split in self.shares}
        open_ = [split for split in self.shares if self.room[split] >= one.size / 2] or list(self.shares)
        self._move(at, max(open_, key=lambda split: (round(lack[split], 6), round(self.room[split], 6))))
        self.unplaced -= one.size

    def mend(self) -> None:
        """Where a split has nothing of a class that the largest split has in several groups, exchange two groups."""
        largest = max(self.shares, key=lambda split: self.shares[split])
        for name in sorted(self.holders, key=lambda name: (len(self.holders[name]), name)):
            for split in self.shares:
                if split != largest and not self._held(split, name):
                    self._exchange(name, split, largest)

    def _exchange(self, name: str, split: str, donor: str) -> None:
        """Move a group with the class from ``donor`` to ``split`` and one of the same size back; or nothing."""
        for there in sorted(self.holders[name], key=lambda at: (self.groups[at].size, self._ranks[at])):
            if self.chosen[there] != donor or not self._spares(donor, there):
                continue
            size = self.groups[there].size
            for back in self._shuffled:
                if self.chosen[back] == split and self.groups[back].size == size and self._spares(split, back):
                    self._move(there, split)
                    self._move(back, donor)
                    return

    def _spares(self, split: str, at: int) -> bool:
        """Whether the split holds every class of the group in another group too."""
        return all(self._held(split, name) > 1 for name in self.groups[at].classes)

    def _held(self, split: str, name: str) -> int:
        return sum(self.chosen[at] == split for at in self.holders[name])

    def _move(self, at: int, split: str) -> None:
        one, before = self.groups[at], self.chosen[at]
        for home, sign in ((before, 1.0), (split, -1.0)):
            if home:
                self.room[home] += sign * one.size
                for name, weight in one.classes.items():
                    self.want[name][home] += sign * weight
                    self.left[name] += sign * weight
        self.chosen[at] = split


def settle(groups: Sequence[Group], shares: Mapping[str, float], seed: int, by: str) -> Deal:
    """Deal the groups and judge the outcome. Raises DataError where the groups do not allow the shares."""
    total = sum(one.size for one in groups)
    largest = max(groups, key=lambda one: (one.size, one.name), default=None)
    if largest is None:
        raise DataError("There is no record to deal.", exit_code=1)
    wanted = [split for split, share in shares.items() if share > 0]
    if len(groups) < len(wanted):
        raise DataError(
            f"There are {len(groups)} groups for {len(wanted)} splits ({', '.join(wanted)}); records that share "
            f"{by} stay together. Ask for fewer splits or group by something finer.",
            exit_code=1,
        )
    assigned = [""] * total
    dealt = Deal(assigned, dict(shares), by, len(groups), largest.size)
    dealt.records = dict.fromkeys(ordered(shares), 0)
    dealt.classes = {split: defaultdict(float) for split in dealt.records}
    for one, split in zip(groups, stratify(groups, shares, seed), strict=True):
        dealt.records[split] += one.size
        for at in one.members:
            assigned[at] = split
        for name, weight in one.classes.items():
            dealt.classes[split][name] += weight
    smallest = min(one.size for one in groups)
    for split, number in dealt.records.items():
        off = abs(number / total - shares[split])
        if (number == 0 and shares[split] > 0) or off > max(SLACK, shares[split] / 2, smallest / total / 2):
            raise DataError(
                f"The groups are too large: {split} would get {number / total:.0%} instead of {shares[split]:.0%}. The "
                f"largest group, that of record '{largest.name}', holds {largest.size:,} of {total:,} records that "
                f"share {by}. Ask for other shares or group by something finer.",
                exit_code=1,
            )
    dealt.notes = list(_lacking(dealt))
    return dealt


def _lacking(dealt: Deal) -> Iterable[str]:
    """A note for every split that lacks classes."""
    known = sorted({name for numbers in dealt.classes.values() for name in numbers})
    for split, numbers in dealt.classes.items():
        lacking = [name for name in known if numbers.get(name, 0) <= 0]
        if lacking and dealt.shares[split] > 0:
            shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            yield f"{split} has no example of {shown}: too few groups hold them, or it is too small."


def _rank(seed: int, name: str) -> bytes:
    """A number for the group that depends on nothing but the seed and its name."""
    text = f"{seed}\0{name}".encode("utf-8", "surrogateescape" if name.isprintable() else "backslashreplace")
    return hashlib.blake2b(text, digest_size=8).digest()
