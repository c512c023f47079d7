"""Distribution: a probability for each class, as of the votes of several people (Emotion6)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rise_vlm.errors import UserError, nearest
from rise_vlm.rewards.distributions import cosine, emd, jsd, kl, official_distribution
from rise_vlm.tasks.base import Frame, Parsed, Task, need_classes, normal_name
from rise_vlm.tasks.drawing import draw_captions
from rise_vlm.tasks.leak import fraction_leaks

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

SUM_TOLERANCE = 0.02
"""How far an answer's probabilities may be from summing to 1: two decimals of seven classes, rounded one by one, stay
within.
"""

KL_FLOOR = 1e-3
"""The least probability in the KL metric: it bounds what one missed class costs."""

_NUMBER = re.compile(r"(?:[0-9]{1,6}(?:\.[0-9]{0,17})?|\.[0-9]{1,17})")


class Distribution(Task):
    """The annotation is ``{class: probability}``, classes left out have probability 0.

    ``score="jsd"`` is 1 - Jensen-Shannon divergence in bits; ``score="official"`` is the official code's exp(-KL/2 -
    MSE/2).
    """

    name = "distribution"
    sees_image = False
    form = "class: probability, ..."
    default_question = "Which classes would people give this picture?"
    forbid = "Do not name a class or a probability."
    lower_is_better = frozenset({"jsd", "kl", "emd"})

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: Literal["jsd", "official"] = "jsd",
    ) -> None:
        super().__init__(classes, question, synonyms)
        need_classes(self)
        for name in self.classes:
            if re.search(r"[,:{}\"]", name):
                raise UserError(
                    f"classes: '{name}' contains one of , : {{ }} \" which the answers of a distribution use; rename it"
                )
        if score not in ("jsd", "official"):
            raise UserError(f"score: '{score}' is neither 'jsd' nor 'official'")
        self.score_kind = score

    def statement(self, record: Record, frame: Frame) -> str:
        classes = ", ".join(self.classes)
        ask = "Give the probability of each class and leave out those with probability 0."
        return f"{self.ask(record)}\nClasses: {classes}.\n{ask}"

    def vector(self, value: Mapping[str, float]) -> NDArray[np.float64]:
        """(C,) probabilities in class order, normalised to sum 1.

        Raises UserError for a class that the task does not know or no probability at all: neither may become a score.
        """
        for name in value:
            if name not in self.classes:
                raise UserError(f"a distribution names '{name}', which is not a class.{nearest(name, self.classes)}")
        vector = np.array([float(value.get(name, 0.0)) for name in self.classes], dtype=np.float64)
        total = float(vector.sum())
        if not total > 0:
            raise UserError("a distribution gives no class a probability")
        return vector / total

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        return self.text(annotation)

    def text(self, value: Mapping[str, float]) -> str:
        """``joy: 0.60, surprise: 0.27, neutral: 0.13``: two decimals summing to 1.00, zeros left out.

        Most probable first, in class order where equal: what is written greedily then begins with the likeliest class.
        In class order it would begin with the first one that is ever chosen, and all that is left over would go to a
        late one.
        """
        cents = hundredths(self.vector(value))
        ranked = sorted(zip(self.classes, cents, strict=True), key=lambda pair: -pair[1])
        return ", ".join(f"{name}: {n // 100}.{n % 100:02d}" for name, n in ranked if n)

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """``class: probability, ...`` or a JSON object -> {class: probability} over all classes, summing to 1."""
        text = text.strip()
        if not text:
            return Parsed(None, "the answer is empty")
        pairs = _read_json(text) if text.startswith("{") else _read_list(text)
        if isinstance(pairs, str):
            return Parsed(None, pairs)
        found: dict[str, float] = {}
        for raw, probability in pairs:
            name = self.by_name.get(normal_name(raw))
            if name is None:
                return Parsed(None, f"'{raw.strip()[:60]}' is not one of the classes")
            if name in found:
                return Parsed(None, f"class '{name}' is given twice")
            if not 0.0 <= probability <= 1.0:  # false for NaN too
                return Parsed(None, f"the probability of '{name}' is not between 0 and 1")
            found[name] = probability
        total = math.fsum(found.values())
        if abs(total - 1.0) > SUM_TOLERANCE + 1e-9:
            return Parsed(None, f"the probabilities sum to {total:.2f}, not 1")
        return Parsed({name: found.get(name, 0.0) / total for name in self.classes}, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        if value is None:
            return 0.0
        truth, guess = self.vector(annotation), self.vector(value)
        return official_distribution(truth, guess) if self.score_kind == "official" else 1.0 - jsd(truth, guess)

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``jsd`` (bits), ``kl`` (truth || answer, nats, floor 1e-3), ``emd``, ``cosine`` and ``top1``, each the mean
        over pairs.

        A missing answer counts as jsd 1, emd 1, cosine 0, top1 0 and the largest kl there is, log(1 / floor).
        """
        sums = np.zeros(5)
        for annotation, value in pairs:
            if value is None:
                sums += (1.0, -math.log(KL_FLOOR), 1.0, 0.0, 0.0)
                continue
            p, q = self.vector(annotation), self.vector(value)
            sums += (jsd(p, q), kl(p, q, KL_FLOOR), emd(p, q), cosine(p, q), top1(p, q))
        own = (float(total) / max(1, len(pairs)) for total in sums)
        return {**self.mean_score(pairs), **dict(zip(("jsd", "kl", "emd", "cosine", "top1"), own, strict=True))}

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``uniform``: the same probability for every class; ``dataset_mean``: the mean distribution of the training
        annotations.
        """
        mean = np.mean([self.vector(a) for a in (annotations if train is None else train)], axis=0)
        constants = {"uniform": np.full(len(self.classes), 1 / len(self.classes)), "dataset_mean": mean}
        answers = {name: dict(zip(self.classes, map(float, vector), strict=True)) for name, vector in constants.items()}
        return {name: self.mean_score([(a, answer) for a in annotations])["score"] for name, answer in answers.items()}

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, and anything that a probability can be written as."""
        return [*super().leaks(rationale, record, frame, prompt), *fraction_leaks(rationale)]

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image above a strip with one line per answer, in the canonical form."""
        lines = [(f"{label}: {self.text(value) if value else 'no answer'}", colour) for label, value, colour in answers]
        return draw_captions(image, lines)

    def check(self, annotation: Any, record: Record) -> str | None:
        if not isinstance(annotation, Mapping):
            return f"annotation must map classes to probabilities, got {type(annotation).__name__}"
        total = 0.0
        for name, p in cast("Mapping[str, Any]", annotation).items():
            if name not in self.classes:
                return f"unknown class '{str(name)[:60]}'.{nearest(str(name), self.classes)}"
            if isinstance(p, bool) or not isinstance(p, int | float) or not 0.0 <= p <= 1.0:
                return f"the probability of '{name}' must be a number from 0 to 1, got {p!r}"
            total += p
        return None if abs(total - 1.0) <= SUM_TOLERANCE + 1e-9 else f"the probabilities sum to {total:.4g}, not 1"


def top1(truth: NDArray[np.float64], guess: NDArray[np.float64]) -> float:
    """The share of the answer's most probable classes that are most probable in truth: 1 or 0 unless the answer holds
    a tie.
    """
    best, guessed = truth >= truth.max() - 1e-9, guess >= guess.max() - 1e-9
    return float((best & guessed).sum() / guessed.sum())


def hundredths(vector: NDArray[np.float64]) -> list[int]:
    """Whole hundredths of a vector that sums to 1, summing to 100: the largest remainders are rounded up, the earlier
    class first.
    """
    scaled = [round(float(p) * 100, 9) for p in vector]
    cents = [math.floor(s) for s in scaled]
    missing = 100 - sum(cents)
    by_remainder = sorted(range(len(cents)), key=lambda i: (-round(scaled[i] - cents[i], 6), i))
    for i in by_remainder[:missing]:
        cents[i] += 1
    return cents


def _read_list(text: str) -> list[tuple[str, float]] | str:
    """The pairs of ``name: number, name: number``, or what is wrong."""
    pairs: list[tuple[str, float]] = []
    for part in text.split(","):
        name, colon, number = part.partition(":")
        if not colon:
            return f"'{part.strip()[:60]}' is not of the form class: probability"
        if not _NUMBER.fullmatch(number.strip()):
            return f"'{number.strip()[:60]}' is not a probability"
        pairs.append((name, float(number)))
    return pairs


def _read_json(text: str) -> list[tuple[str, float]] | str:
    """The pairs of a flat JSON object in the order written, duplicates kept, or what is wrong."""
    try:
        pairs = json.loads(text, object_pairs_hook=lambda items: items)
    except (ValueError, RecursionError):
        return "the answer is not a JSON object"
    if any(isinstance(p, bool) or not isinstance(p, int | float) for _, p in pairs):
        return "a probability is not a number"
    return [(str(name), p) for name, p in pairs]
