"""Checks before a run begins, so that a mistake costs seconds and not the hour after which it would show.

What measures with the model's tokenizer and processor needs torch; so do a family that no test proves, and LoRA targets
other than all.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.data.card import CARD
from rise_vlm.errors import UserError
from rise_vlm.policy.lora import LoraSettings, adapter_base, choose_targets
from rise_vlm.policy.names import BUILT_IN, FINE_WORLDS, config_file, resolve, weights_of
from rise_vlm.policy.traits import FAMILIES
from rise_vlm.recipes.loader import read_yaml
from rise_vlm.recipes.schema import Recipe
from rise_vlm.stages.limits import check_prompts, derived_note, ruler, short_answers
from rise_vlm.stages.material import Material, shared_pictures
from rise_vlm.stages.plan import Step, make_plan
from rise_vlm.stages.rewards import check_task, load_rewards, try_own
from rise_vlm.stages.shares import check_shares
from rise_vlm.stages.trained import UNSEEN, require_model, settled, value_of
from rise_vlm.tasks.detection_coco import MOST
from rise_vlm.tasks.everyday import everyday

SOME_MB = 50
"""Less free space than this is surely too little for any run."""

SMALL_MB = 1000
"""Weights of more than this want a GPU; the built-in model has 16 MB."""

TOKENS_PER_WORD = 1.5
"""Of prose in English; tokenizers differ, 1.1 to 2.2 with the built-in one over the shipped worlds."""

ANSWER_TOKENS = 48
"""An answer with the tags around it and the rationale: a distribution over seven classes takes up to 45."""


@dataclass(frozen=True)
class Prepared:
    """A run that has passed its checks: nothing was written yet."""

    recipe: Recipe
    material: Material
    out: Path
    plan: list[Step]


def prepare(recipe: Recipe, out: Path) -> Prepared:
    """Check everything that can be checked before the work: data, splits, model, folder.

    Raises:
        UserError: naming what is missing or does not fit, and where.
    """
    recipe = settled(recipe)
    check_model(recipe)
    if recipe.evaluate.measures_quality and recipe.evaluate.quality.judge and "evaluate" in recipe.stages:
        _check_judge(recipe)
    material = Material.open(recipe)
    measured = measure(recipe, material)
    short = short_limits(recipe) if measured is None else [*short_rationales(recipe), *measured]
    material.notes.extend([*shared_pictures(material), *short, *check_shares(material, recipe)])
    material.notes.extend([*crowded(material), *(all_alike(material) if set(recipe.stages) - {"evaluate"} else [])])
    if "warm_up" in recipe.stages or recipe.rebuilding:
        material.notes.extend(everyday_names(material))
    if "grpo" in recipe.stages:
        rewards = load_rewards(recipe.grpo.rewards)  # one that is not there is told now
        check_task(recipe.grpo.rewards, material.task.name)
        if material.train:
            try_own(rewards, material.task, material.train[0])
        material.notes.extend(base_judges(recipe))
    material.notes.extend(built_in_notes(recipe, material))
    check_own(out, "recipe.yaml", "stages")
    return Prepared(recipe, material, out, make_plan(recipe, material, out))


def built_in_notes(recipe: Recipe, material: Material) -> list[str]:
    """A note where the recipe's model is a built-in one that has not learned to see these pictures."""
    if recipe.model not in BUILT_IN:
        return []
    if material.world is None:
        return [UNSEEN]
    world = material.world.NAME
    other = "tiny_fine" if world in FINE_WORLDS else "tiny"
    return [] if recipe.model == other else [f"{recipe.model} has hardly learned to see {world}: model={other} has"]


def replaced(recipe: Recipe, out: Path) -> list[str]:
    """A note where ``out`` holds a run of another recipe or dataset, which this one takes the place of."""
    if not (out / "recipe.yaml").is_file():
        return []
    there = read_yaml(out / "recipe.yaml")
    data, here = value_of(there, "data.folder"), recipe.data.folder
    if there.get("name") == recipe.name and data and here and Path(data).resolve() == Path(here).resolve():
        return []
    return [
        f"{out} holds a run of '{there.get('name')}' on {data}: its stages move to {out / 'former'}, its "
        "results and report are replaced; give another --out to keep them"
    ]


def without_gpu(recipe: Recipe) -> list[str]:
    """A note where the model is large, or not on this machine yet, and torch finds no GPU."""
    weights = weights_of(recipe.model)
    if weights is not None and weights < SMALL_MB * 1e6:
        return []
    import torch

    if torch.cuda.is_available():
        return []
    size = f" ({weights / 1e9:.1f} GB of weights)" if weights else ""
    cause = "torch finds none" if torch.version.cuda else "this torch is built without CUDA"
    return [
        f"{recipe.model}{size} wants a GPU, and there is none here ({cause}): on the processor alone a run may take "
        "days. Run it on a machine that has one"
    ]


def check_model(recipe: Recipe) -> None:
    """Raise UserError unless the recipe's model exists and can be a vision-language model. Weights are not read.

    Any architecture that transformers knows as one passes, by hub id and from a folder alike: whether it computes here
    what it computes by itself is asked when it is loaded.
    """
    path = config_file(recipe.model)
    if path is not None:  # of a hub id that is not here transformers says what is wrong, at the first load
        try:
            family = json.loads(path.read_text(encoding="utf-8"))["model_type"]
        except (OSError, ValueError, KeyError, TypeError):
            hint = " The built-in model is not in this installation." if recipe.model in BUILT_IN else ""
            raise UserError(f"model {recipe.model}: {path} cannot be read.{hint}") from None
        if not _sees(family):
            raise UserError(
                f"model {recipe.model}: its architecture is '{family}', which is no vision-language model. "
                "Give one such as Qwen/Qwen2-VL-2B-Instruct."
            )
    lora = recipe.policy.lora
    if lora is not None and adapter_base(recipe.model) is None and lora.targets != "all-linear":
        _check_targets(lora, *resolve(recipe.model))


def _check_judge(recipe: Recipe) -> None:
    """``check_model`` for the judge of rationales."""
    judge = recipe.evaluate.quality.judge
    plain = recipe.policy.model_copy(update={"lora": None})
    try:
        require_model(str(judge))
        check_model(recipe.model_copy(update={"model": judge, "policy": plain}))
    except UserError as error:
        raise UserError(f"evaluate.quality.judge: {error}") from None


def _sees(family: str) -> bool:
    """Whether an architecture is a vision-language model."""
    if family in FAMILIES:
        return True
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def _check_targets(lora: LoraSettings, source: str, local: bool) -> None:
    """Raise UserError for targets that the decoder lacks, by a model without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local)
        with torch.device("meta"):
            model: Any = AutoModelForImageTextToText.from_config(config)
    except Exception:
        return  # the load says why, better than could be said here
    choose_targets(model.model.get_decoder(), lora)


def measure(recipe: Recipe, material: Material) -> list[str] | None:
    """Notes on the limits as the records need them; None where the model, not on this machine, cannot measure them.

    Raises UserError for a prompt that the model's context cannot hold.
    """
    by = ruler(recipe)
    if by is None:
        return None
    check_prompts(recipe, material, by)
    return [*derived_note(recipe, material, by), *short_answers(recipe, material, by, kept_tokens(recipe))]


def crowded(material: Material) -> list[str]:
    """For each test split of a detection, a note on pictures with more boxes of a class than COCO's figures keep."""
    if material.task.name != "detection":
        return []
    notes: list[str] = []
    for split, records in material.tests.items():
        most = {one.id: max(Counter(box["label"] for box in one.annotation).values(), default=0) for one in records}
        over = [id for id, count in most.items() if count > MOST]
        if over:
            top = max(over, key=most.__getitem__)
            notes.append(
                f"{len(over)} of {len(records)} records of '{split}' have more than {MOST} boxes of a class (record "
                f"'{top}' has {most[top]}): COCO's figures (ap, ar100, ...) keep the first {MOST} of an answer, so not "
                "all of them can be found; score and f1 count all"
            )
    return notes


def all_alike(material: Material) -> list[str]:
    """A note where the training records have one annotation, so that no reward tells a rationale from another."""
    annotations = [record.annotation for record in material.train]
    if len(annotations) < 2 or any(annotation != annotations[0] for annotation in annotations):
        return []
    first = annotations[0]
    shown = f", '{first}'" if isinstance(first, str) else ", nothing to find" if first == [] else ""
    return [
        f"all {len(annotations)} training records have the same annotation{shown}: a model that always answers that is "
        "always right, and nothing else can be learned from them"
    ]


def base_judges(recipe: Recipe) -> list[str]:
    """A note where the reinforcement is paid for what a model rebuilds that nothing has taught to."""
    if not recipe.grpo.rebuilds or "warm_up" in recipe.stages:
        return []
    return [
        "grpo: without a warm-up the base rebuilds from the rationales; if it hardly can, that says nothing of them: "
        "'grpo.rewards={reconstruction: 0}' leaves it out"
    ]


def everyday_names(material: Material) -> list[str]:
    """A note on classes that a description names without meaning them: each mention counts as a leak."""
    card = material.dataset.card
    names = [name for name in everyday(material.task.classes) if name not in card.named_by]
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return [
        f"{shown} {'is a class name that is an' if len(names) == 1 else 'are class names that are'} everyday "
        f"word{'' if len(names) == 1 else 's'}: each mention in a rationale counts as a leak, whatever it means. Name "
        f"what gives such a class away instead in {material.dataset.root / CARD}, as in "
        f"'named_by: {{{names[0]}: [words]}}', or with no words for nothing"
    ]


def words_in_tokens(recipe: Recipe) -> int:
    """About how many tokens the words take that a rationale may have."""
    return math.ceil(TOKENS_PER_WORD * recipe.closed_loop.length.words)


def kept_tokens(recipe: Recipe) -> int:
    """About how many tokens a rationale has at most that a harvest has kept; 0 without a harvest."""
    return min(words_in_tokens(recipe), recipe.harvest.max_new_tokens) if "harvest" in recipe.stages else 0


def short_rationales(recipe: Recipe) -> list[str]:
    """Notes on stages that write rationales alone, and may not write the words that are allowed."""
    words, need = recipe.closed_loop.length.words, words_in_tokens(recipe)
    alone = {
        "warm_up": recipe.warm_up.max_new_tokens,
        "closed_loop": recipe.closed_loop.rollouts.max_new_tokens,
        "harvest": recipe.harvest.max_new_tokens,
    }
    return [
        f"{stage}: {limit} new tokens cannot hold the {words} words that a rationale may have (about {need} tokens); "
        "longer ones are cut off and lost"
        for stage, limit in alone.items()
        if stage in recipe.stages and limit < need
    ]


def short_limits(recipe: Recipe) -> list[str]:
    """Notes on stages whose rationales may not be as long as they are asked to be, or leave an answer no room, by what
    is usual: of a model that is not there to measure with.

    Stages that think and answer, after an SFT on harvested rationales, need room for as long a rationale as the harvest
    can have kept, and the answer.
    """
    notes, kept = short_rationales(recipe), kept_tokens(recipe)
    if not kept:
        return notes
    thinking = {"grpo": recipe.grpo.rollouts.max_new_tokens}
    if "think" in recipe.evaluate.roles:
        thinking["evaluate"] = recipe.evaluate.max_new_tokens
    return notes + [
        f"{stage}: {limit} new tokens cannot hold a rationale as the harvest keeps them (about {kept} tokens) and the "
        f"answer after it (about {ANSWER_TOKENS}); such an answer is cut off and scores 0"
        for stage, limit in thinking.items()
        if stage in recipe.stages and limit < kept + ANSWER_TOKENS
    ]


def check_own(out: Path, *marks: str) -> None:
    """Raise UserError unless ``out`` can be made and written to, and is new, empty, or holds one of ``marks``, which
    only such a folder has. What lies in any other is not ours to mix with."""
    check_writable(out)
    there = sorted(path.name for path in out.glob("[!.]*")) if out.is_dir() else []
    if there and not set(marks) & set(there):
        shown = f"{', '.join(there[:3])}{', ...' if len(there) > 3 else ''}; no {marks[0]}"
        raise UserError(f"--out {out} holds something else ({shown}). Give a new or an empty folder.")


def check_writable(out: Path, option: str = "--out") -> None:
    """Raise UserError unless the folder ``out`` of ``option`` can be made and written to."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{option} {out} is a file; give a folder.")
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"{option} {out}: {parent} is a file, so no folder can be made in it.")
    probe = parent / f".rise-{os.getpid()}"
    try:
        with probe.open("w", encoding="utf-8") as file:
            file.write("x" * 4096)
        free = os.statvfs(parent).f_bavail * os.statvfs(parent).f_frsize / 1e6 if hasattr(os, "statvfs") else SOME_MB
    except OSError as error:
        raise UserError(f"{option} {out} cannot be written: {error.strerror}.", exit_code=1) from None
    finally:
        probe.unlink(missing_ok=True)
    if free < SOME_MB:
        raise UserError(f"{option} {out}: only {free:.0f} MB are free there.", exit_code=1)
