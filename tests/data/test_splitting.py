"""Dealing groups: none is parted, shares and classes are kept, only seed and names decide."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.data.splitting import Bonds, Group, deal_in_turn, families, group, settle, stratify
from rise_vlm.errors import DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def single(labels: list[str]) -> list[Group]:
    return [Group([at], f"r{at}", {label: 1.0}) for at, label in enumerate(labels)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_tied_records_are_in_one_group_and_no_others(ties: list[tuple[int, int]]) -> None:
    bonds = Bonds(31)
    for one, other in ties:
        bonds.tie(one, other)
    reach = {at: {at} for at in range(31)}  # the closure, by brute force
    for _ in range(31):
        for one, other in ties:
            reach[one] = reach[other] = reach[one] | reach[other]
            for at in reach[one]:
                reach[at] = reach[one]
    groups = group([f"{at:02}" for at in range(31)], ["a"] * 31, bonds, classed=True)
    assert sorted(sorted(one.members) for one in groups) == sorted(
        map(list, {tuple(sorted(r)) for r in reach.values()})
    )
    assert all(one.classes == {"a": one.size} and one.name == f"{min(one.members):02}" for one in groups)


@given(st.lists(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=3, unique=True), max_size=12))
def test_records_that_share_a_picture_are_of_one_family_and_no_others(pictures: list[list[str]]) -> None:
    found = families(pictures)
    reach = {name: {name} for names in pictures for name in names}  # the closure, by brute force
    for _ in pictures:
        for names in pictures:
            joint = set().union(*(reach[name] for name in names))
            reach |= dict.fromkeys(joint, joint)
    assert found.keys() == reach.keys()
    for name, family in found.items():
        assert reach[name] == {other for other in found if found[other] == family}
        assert family == min(names[0] for names in pictures if names[0] in reach[name])
    assert families(pictures[::-1]) == found


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(0, 1))
def test_no_split_is_dealt_more_than_its_share_of_families_or_pictures(sizes: list[int], least: int) -> None:
    counts = {f"f{at}": size for at, size in enumerate(sizes)}
    shares = {"val": 0.1, "test": 0.2}
    chosen = deal_in_turn(counts, shares, least=least)
    for split, share in shares.items():
        dealt = [counts[name] for name, home in chosen.items() if home == split]
        assert len(dealt) <= max(least, round(share * len(sizes)))
        assert sum(dealt) <= max(least, round(share * sum(sizes)))
        assert dealt or len(sizes) < 10
    alike = deal_in_turn(dict.fromkeys(counts, 1), shares)
    assert list(alike.values()) == ["val"] * round(0.1 * len(sizes)) + ["test"] * round(0.2 * len(sizes))
    assert list(alike) == list(counts)[: len(alike)]


@settings(max_examples=30)
@given(st.lists(st.sampled_from("abcd"), min_size=60, max_size=200), st.integers(0, 5))
def test_every_class_has_its_share_in_every_split(labels: list[str], seed: int) -> None:
    groups = single(labels)
    chosen = stratify(groups, SHARES, seed)
    sizes = Counter(chosen)
    for split, share in SHARES.items():
        assert abs(sizes[split] - share * len(labels)) <= 1.5
    for label, number in Counter(labels).items():
        for split, share in SHARES.items():
            held = sum(one == label and home == split for one, home in zip(labels, chosen, strict=True))
            assert abs(held - share * number) <= 3


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_the_records_does_not_matter(rng: random.Random, seed: int) -> None:
    groups = [Group([at] * (at % 3 + 1), f"g{at}", {"abc"[at % 3]: 1.0 + at % 2}) for at in range(40)]
    first = dict(zip((one.name for one in groups), stratify(groups, SHARES, seed), strict=True))
    rng.shuffle(groups)
    assert dict(zip((one.name for one in groups), stratify(groups, SHARES, seed), strict=True)) == first


def test_another_seed_deals_otherwise() -> None:
    groups = single(["a", "b"] * 50)
    assert stratify(groups, SHARES, 0) != stratify(groups, SHARES, 1)


def test_a_rare_class_gets_into_every_split_where_it_has_enough_groups() -> None:
    groups = single(["common"] * 200 + ["rare"] * 3)
    chosen = stratify(groups, SHARES, 0)
    assert set(chosen[200:]) == {"train", "val", "test"}
    assert settle(single(["common"] * 200 + ["rare"]), SHARES, 0, "x").notes == [
        "val has no example of rare: too few groups hold them, or it is too small.",
        "test has no example of rare: too few groups hold them, or it is too small.",
    ]


def test_groups_of_several_records_and_classes() -> None:
    groups = [Group([3 * at, 3 * at + 1, 3 * at + 2], f"{at}", {"a": 2.0, "b": at % 2}) for at in range(60)]
    dealt = settle(groups, SHARES, 7, "x")
    assert dealt.records == {"train": 144, "val": 18, "test": 18} and dealt.groups == 60 and dealt.largest == 3
    assert all(len({dealt.assigned[at] for at in one.members}) == 1 for one in groups)
    assert sum(dealt.classes["val"].values()) == pytest.approx(15, abs=1.5)
    assert dealt.to_dict()["splits"]["val"] == {"records": 18, "share": 0.1, "asked": 0.1} | {
        "classes": {"a": 12, "b": dealt.classes["val"]["b"]}
    }


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([], "no record"),
        ([5, 5], "2 groups for 3 splits"),
        ([50, 50, 50], "The groups are too large"),
        ([1] * 10 + [90], r"that of record 'g10', holds 90 of 100 records"),
    ],
)
def test_groups_that_do_not_allow_the_shares_are_refused(sizes: list[int], told: str) -> None:
    groups, start = [], 0
    for at, size in enumerate(sizes):
        groups.append(Group(list(range(start, start + size)), f"g{at}", {}))
        start += size
    shares = SHARES if told != r"that of record 'g10', holds 90 of 100 records" else {"train": 0.5, "test": 0.5}
    with pytest.raises(DataError, match=told):
        settle(groups, shares, 0, "the same image")
