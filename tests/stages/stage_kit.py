"""What the tests of stages, recipes and commands share: small datasets and a small model that has been to school.

The model is the random one of ``tiny_models``, taught for a few seconds to answer each prompt form with a short text of
the right kind, so that runs reach all their stages with something in hand. It knows nothing about pictures.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import islice
from pathlib import Path

import torch
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))

from tiny_models import picture, save_tiny
from transformers import AddedToken, AutoModelForImageTextToText, AutoTokenizer

from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.trainer import train
from rise_vlm.policy import Policy
from rise_vlm.policy.frames import FRAMES
from rise_vlm.recipes import Recipe, load_recipe
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.supervised import Supervised, Unit, target
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import DESCRIBE, bare_answer

WORDS = ("soft glow", "wide sky", "old wall", "calm sea")

SMALL = (
    "warm_up.steps=1", "warm_up.samples=2", "warm_up.max_new_tokens=12", "warm_up.records_per_step=2",
    "closed_loop.steps=2", "closed_loop.records_per_step=2", "closed_loop.group=3",
    "closed_loop.rollouts.max_new_tokens=12",
    "reconstruct.max_new_tokens=48", "probes.records=2", "probes.every=1",
    "harvest.samples=3", "harvest.max_new_tokens=12", "sft.steps=2", "sft.records_per_step=2",
    "grpo.steps=1", "grpo.records_per_step=2", "grpo.group=3", "grpo.max_new_tokens=64",
    "evaluate.max_new_tokens=64", "evaluate.resamples=20",
)  # fmt: skip
"""Overrides that make a run of any shipped recipe take seconds."""


def small_recipe(name: str, data: Path, model: Path, *overrides: str) -> Recipe:
    """A shipped recipe made small: ``SMALL`` where it applies, then ``overrides``."""
    given = dict(line.split("=", 1) for line in overrides)
    stages = yaml.safe_load(given["stages"]) if "stages" in given else load_recipe(name).stages
    loop = "closed_loop" in stages
    owned = {"reconstruct": loop, "probes": loop}
    lines = [f"data={data}", f"model={model}"]
    for line in SMALL:
        key = line.split("=")[0]
        section = key.split(".")[0]
        if key not in given and owned.get(section, section in stages):
            lines.append(line)
    return load_recipe(name, [*lines, *overrides])


def make_classification(root: Path, train: int = 4, val: int = 2, test: int = 2, **card: object) -> Path:
    """Noise pictures labelled ``red`` or ``blue`` in turn."""
    sizes = {"train": train, "val": val, "test": test}
    with DatasetWriter(root, Card(name="noise", task="classification", classes=["red", "blue"], **card)) as writer:
        for split, count in sizes.items():
            if count:
                writer.split(split)
            for i in range(count):
                image = picture(i + 100 * len(split))
                writer.add(split, id=f"{split}-{i}", image=image, annotation=["red", "blue"][i % 2])
    return root


def make_distribution(root: Path, train: int = 4, val: int = 2, test: int = 2) -> Path:
    """Noise pictures with one of two distributions over three classes."""
    shares = [{"joy": 0.5, "fear": 0.5}, {"joy": 0.2, "calm": 0.8}]
    with DatasetWriter(root, Card(name="moods", task="distribution", classes=["joy", "fear", "calm"])) as writer:
        for split, count in {"train": train, "val": val, "test": test}.items():
            for i in range(count):
                image = picture(i + 100 * len(split))
                writer.add(split, id=f"{split}-{i}", image=image, annotation=shares[i % 2])
    return root


def make_grounding(root: Path, train: int = 4, val: int = 2, test: int = 2) -> Path:
    """Noise pictures with one of two boxes."""
    boxes = [[2, 2, 20, 20], [30, 30, 52, 50]]
    with DatasetWriter(root, Card(name="places", task="grounding")) as writer:
        for split, count in {"train": train, "val": val, "test": test}.items():
            for i in range(count):
                image = picture(i + 100 * len(split))
                writer.add(split, id=f"{split}-{i}", image=image, annotation=boxes[i % 2], question="What is odd?")
    return root


def school(folder: Path, datasets: list[Path], steps: int = 40) -> Path:
    """A small model in ``folder/model`` that answers each prompt form of two records of each dataset in kind.

    The words of the lessons become tokens of their own, which makes them short and soon learned.
    """
    lessons = [lesson for root in datasets for lesson in _lessons(Dataset.open(root))]
    random = save_tiny(folder / "random", context=1536)
    _teach_words(random, [text for lesson in lessons for text in (lesson[0], *(p[1] for ps in lesson[2] for p in ps))])
    policy = Policy.load(str(random), dtype="float32")
    unit: Unit = [(policy.encode(text, images), [target(policy, *parts) for parts in spoken])
                  for text, images, spoken in lessons]  # fmt: skip
    settings = TrainSettings(steps=steps, learning_rate=1e-2, warmup_steps=5, schedule="cosine", save_every=10**6)
    work = Supervised(policy, 1, lambda index, step: unit, records_per_step=1, loss="token", train=settings,
                      meter=Meter(folder))  # fmt: skip
    train(policy, work, settings, folder, "school")
    return folder / "model"


Lesson = tuple[str, list[Image.Image], list[tuple[tuple[str, str], ...]]]
"""A prompt's text, its pictures, and the completions to learn, each in its parts."""


def _lessons(dataset: Dataset) -> list[Lesson]:
    task, frame = make_task(dataset.card), FRAMES["thousand"]()
    lessons: list[Lesson] = []
    records = list(islice(dataset.records("train"), 2))
    answers = [("answer", bare_answer(task.render(record.annotation, record, frame))) for record in records]
    for record, answer in zip(records, answers, strict=True):
        images = [dataset.image(record)]
        said = [(("rationale", words),) for words in WORDS]
        thought = [(("rationale", f"<think>{words}</think>"), answer) for words in WORDS]
        sighted = images if task.sees_image else []
        lessons += [
            (DESCRIBE, images, said),
            (task.prompt("reason", record, frame), images, said),
            (task.prompt("answer", record, frame), images, [(answer,)]),
            (task.prompt("think", record, frame), images, thought),
        ]
        # The words decide the answer, not the record: so that what a rationale says matters.
        for words, meant in zip(WORDS, [*answers, *answers], strict=True):
            lessons.append((task.prompt("reconstruct", record, frame, words), sighted, [(meant,)]))
    return lessons


def _teach_words(folder: Path, texts: list[str]) -> None:
    """Make each word and tag of ``texts`` one token of the checkpoint in ``folder``."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    words = sorted({word for text in texts for word in re.findall(r"</?\w+>| ?[A-Za-z]{2,}", text)})
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    torch.manual_seed(0)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def environment() -> dict[str, str]:
    """For a second Python that finds the package where this one did, and adds up in the same order."""
    import rise_vlm

    home = str(Path(rise_vlm.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": home, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)
