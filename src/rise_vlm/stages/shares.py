"""Which training records a stage learns from, and the rationales that SFT is given: the shares of Reason-RFT.

SFT may learn from a part of the records and GRPO from the rest. A data set that a world has drawn needs no rationales
of its own: the world says what is in its pictures, which is right by construction. Left out: asking a teacher for
rationales, which is ``explain``'s.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from rise_vlm.data import Record
from rise_vlm.errors import DataError, UserError
from rise_vlm.recipes.schema import Recipe, StageName
from rise_vlm.stages.material import Material, first_by_hash, lasting
from rise_vlm.tasks.leak import tag_leaks
from rise_vlm.worlds import World

FEW_RECORDS, FEW_SHARE = 16, 0.2
"""Rationales of fewer records, or of a smaller share of all, are worth a note."""

FACTS = 8
"""Facts that a world's rationale names; few scenes have more."""


def for_stage(material: Material, recipe: Recipe, stage: StageName) -> Material:
    """``material`` as ``stage`` is to see it: rewards for those that train, and only the records it learns from."""
    if stage == "evaluate":
        return material
    seen = material.rewarding()
    if stage == "sft":
        return replace(seen, train=sft_records(material, recipe))
    if stage == "grpo" and recipe.grpo.records == "rest":
        return replace(seen, train=rest_of(material, recipe))
    return seen


def sft_records(material: Material, recipe: Recipe) -> tuple[Record, ...]:
    """The records of SFT, in the data set's order, with rationales where it learns the data set's own."""
    records: Sequence[Record] = material.train
    if recipe.sft.source == "rationales":
        records = explained(material)
    wanted = recipe.sft.records
    if wanted is None:
        return tuple(records)
    if recipe.sft.source == "rationales":
        records = [record for record in records if record.rationale]
    count = round(wanted * len(material.train)) if isinstance(wanted, float) else wanted
    return first_by_hash(tuple(records), max(1, count))


def rest_of(material: Material, recipe: Recipe) -> tuple[Record, ...]:
    """The training records that SFT does not learn from."""
    learned = {record.id for record in sft_records(material, recipe) if _learns(recipe, record)}
    return tuple(record for record in material.train if record.id not in learned)


def _learns(recipe: Recipe, record: Record) -> bool:
    return recipe.sft.source != "rationales" or bool(record.rationale)


def explained(material: Material) -> list[Record]:
    """The training records with their own rationales, or, where none has one and a world drew them, the world's.

    A rationale that is blank, or holds tags that would teach malformed completions, is none.
    """
    if material.world is None or any(record.rationale for record in material.train):
        return [record.model_copy(update={"rationale": _usable(record.rationale)}) for record in material.train]
    world = material.world
    return [record.model_copy(update={"rationale": told(world, record)}) for record in material.train]


def _usable(rationale: str | None) -> str | None:
    text = (rationale or "").strip()
    return None if not text or tag_leaks(text) else text


def told(world: World, record: Record) -> str | None:
    """What a world says of a record's picture: nearly all of its facts, and where it has a target, that thing last."""
    scene = record.meta.get("scene")
    if not isinstance(scene, dict):
        return None
    drawn = getattr(world.Scene, "from_dict")(scene)  # noqa: B009 (the protocol knows the class only)
    if hasattr(world, "rationale"):
        return getattr(world, "rationale")(drawn)  # noqa: B009
    rng = random.Random(f"rationale {record.id}")
    text = world.describe(drawn, rng, FACTS)
    target = record.meta.get("target")
    if hasattr(world, "describe_thing") and target is not None:
        text = f"{text} {getattr(world, 'describe_thing')(drawn, target, rng)}"  # noqa: B009
    return text


def few_records(records: int, train: int, source: str) -> list[str]:
    """A note where ``source`` has rationales for too few of the ``train`` records, or these are few themselves."""
    if records >= FEW_RECORDS and records >= FEW_SHARE * train:
        return []
    if records == train:
        there = "there is only 1 training record" if train == 1 else f"there are only {train} training records"
        return [f"sft: {there} to learn from (fewer than {FEW_RECORDS}): add more"]
    remedy = "add a 'rationale' to more training rows, or take sft.source=annotations"
    if source == "harvest":
        remedy = (
            "lower harvest.threshold or harvest.gain, raise harvest.samples, set harvest.at_least=1, or warm up and "
            "train the loop longer"
        )
    have = "has" if records == 1 else "have"
    return [
        f"sft: only {records} of {train} training records {have} a rationale to learn from (fewer than {FEW_RECORDS} "
        f"records or {FEW_SHARE:.0%} of them), and the answers of the others are not learned: {remedy}"
    ]


def check_shares(material: Material, recipe: Recipe) -> list[str]:
    """Notes on the shares of SFT and GRPO. Raises UserError where one of them is left without a record."""
    notes: list[str] = []
    if "sft" in recipe.stages and recipe.sft.source == "rationales":
        own = any(record.rationale for record in material.train)
        records = explained(material)
        with_one, whole = sum(bool(record.rationale) for record in records), len(records)
        had = {record.id for record in material.train if (record.rationale or "").strip()}
        tagged = [record.id for record in records if record.id in had and not record.rationale]
        if records and not with_one:
            which = " without <think> or <answer> tags" if tagged else ""
            root = material.dataset.root
            raise DataError(f"{root}: no training record has a 'rationale'{which}, which sft.source=rationales needs.")
        if tagged:
            notes.append(
                f"sft: {len(tagged)} rationales of the dataset hold <think> or <answer> tags, which would teach "
                f"malformed completions; they are left out, the first is of record '{tagged[0]}'"
            )
        if with_one < whole:
            notes += few_records(with_one, whole, "rationales") or [
                f"sft: {with_one} of {whole} training records have a rationale to learn from; the answers of the "
                "others are not learned there"
            ]
        if not own:
            notes.append(
                "sft: the dataset has no rationales, so those of its world are taken: they are true by construction"
            )
    if "sft" in recipe.stages and recipe.sft.records is not None:
        count, whole = len(sft_records(material, recipe)), len(material.train)
        notes.append(f"sft: it learns from {count} of {whole} training records (sft.records={recipe.sft.records:g})")
    if "grpo" in recipe.stages and recipe.grpo.records == "rest":
        rest = len(rest_of(material, recipe))
        if not rest:
            raise UserError(
                f"grpo.records=rest: sft learns from all {len(material.train)} training records, so nothing is left. "
                "Lower sft.records, or take grpo.records=all."
            )
        notes.append(f"grpo: it learns from the other {rest} (grpo.records=rest)")
    if "grpo" in recipe.stages and recipe.grpo.epochs is not None:
        count = len(for_stage(material, recipe, "grpo").train)
        steps = lasting(recipe.grpo.train, recipe.grpo.epochs, count, recipe.grpo.records_per_step).steps
        notes.append(f"grpo: grpo.epochs={recipe.grpo.epochs:g} over {count} records makes grpo.steps={steps}")
    return notes
