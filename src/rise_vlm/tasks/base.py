"""What a task is: its prompts, its answer grammar, its score, metrics and leak rules.

One task is one file beside this one and one line in ``tasks/__init__.py``. This module holds what all tasks share: the
four roles, the tag grammar of completions, the normalisation of class names. It knows no model, no tensor and no file.
"""

from __future__ import annotations

import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from rise_vlm.errors import UserError, nearest
from rise_vlm.tasks.inflection import words
from rise_vlm.tasks.leak import ClassNames, copy_leaks, tag_leaks
from rise_vlm.tasks.scripts import Language

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

Role = Literal["answer", "think", "reason", "reconstruct"]
ROLES: tuple[Role, ...] = ("answer", "think", "reason", "reconstruct")

DESCRIBE = "Describe this picture in at most 100 words."
"""The label-free prompt: the same for every task, so that a caption can be scored without an annotation in sight."""

_TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)


@dataclass(frozen=True)
class Parsed:
    """The outcome of a strict parse: a value, or the reason why there is none. Exactly one of the two is None."""

    value: Any | None
    reason: str | None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a Parsed holds either a value or a reason")


@dataclass(frozen=True)
class Completion:
    """A completion taken apart: its rationale (if the role has one), its answer, and whether it kept to the tag
    grammar.
    """

    rationale: str | None
    parsed: Parsed
    well_formed: bool


class Frame(Protocol):
    """How a model family writes boxes; implemented in ``policy/frames.py``. Pixels are those of the original, upright
    image.
    """

    @property
    def hint(self) -> str:
        """One sentence for the prompt, such as ``Coordinates run from 0 to 1000.``"""
        ...

    def encode(self, box: Sequence[float], width: int, height: int) -> list[int]:
        """Pixels ``[x1, y1, x2, y2]`` to the model's integers, never of zero area."""
        ...

    def decode(self, box: Sequence[float], width: int, height: int) -> list[float]:
        """The model's numbers back to pixels. Numbers outside the frame decode to pixels outside the image."""
        ...


class Drawable(Protocol):
    """Records whose metrics can be computed again for many draws of them."""

    def figures(self, drawn: Any) -> dict[str, float]:
        """The metrics of the records with the indices ``drawn`` (N,), as often as they are in it."""
        ...


class Task(ABC):
    """Prompts, grammar, score and leak rules of one kind of annotation.

    ``classes`` are the label set (empty for grounding), ``question`` the data set's default question, ``synonyms`` maps
    a class to words that name it too. ``lead_in`` is what SFT puts between a rationale and its answer, no part of
    either: the words with which the reconstruct prompt goes on behind a rationale, so that a model answers from one
    that it has written itself as it does from one that it is given. Raises UserError for a label set that the answer
    grammar could not write unambiguously.
    """

    name: ClassVar[str]
    sees_image: ClassVar[bool]
    form: ClassVar[str]
    default_question: ClassVar[str | None] = None
    forbid: ClassVar[str]
    lead_in: ClassVar[str] = ""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.question = question
        self.synonyms = {name: tuple(words) for name, words in (synonyms or {}).items()}
        self.by_name = class_index(self.classes)
        for name in self.synonyms:
            if name not in self.classes:
                raise UserError(f"synonyms: '{name}' is not a class of the data set.{nearest(name, self.classes)}")
        self.names = ClassNames(self.classes, self.synonyms)

    def called(self, named_by: Mapping[str, Sequence[str]], language: Language) -> Self:
        """Told of the words that count as a leak in place of a class's name, and of the language of the names.

        Raises UserError for what is no class.
        """
        for name in named_by:
            if name not in self.classes:
                raise UserError(f"named_by: '{name}' is not a class of the data set.{nearest(name, self.classes)}")
        if named_by or language != "en":
            self.names = ClassNames(self.classes, self.synonyms, named_by, language)
        return self

    @abstractmethod
    def statement(self, record: Record, frame: Frame) -> str:
        """The task in words: the question and what an answer is. The first part of the answer, think and reason
        prompts.
        """

    @abstractmethod
    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        """The canonical answer text of an annotation, without tags."""

    @abstractmethod
    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """Reads the text inside ``<answer>``, strictly. Never raises on any text."""

    @abstractmethod
    def score(self, annotation: Any, value: Any | None) -> float:
        """The quality of a parsed answer in 0..1 (one score of transformation goes below); None (a failed parse) scores
        0.
        """

    @abstractmethod
    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """Test metrics of (annotation, answer or None) pairs: always ``score`` (the mean) and ``parsed`` (the share),
        then the task's own.

        An answer that could not be parsed counts as the worst possible one, never as absent. Raises UserError when
        there are no pairs.
        """

    def split_metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """Further metrics of a whole split, too dear to be computed again for each resample: only those that ``ranked``
        can draw get intervals. Most tasks have none.
        """
        return {}

    def ranked(self, pairs: Sequence[tuple[Any, Any | None]]) -> Drawable | None:
        """The pairs, prepared for drawing some of the metrics of a whole split again; None where there are none."""
        return None

    @abstractmethod
    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """Mean scores that answers reach without looking at the picture; what is constant is learned from ``train``
        (else from the same).
        """

    @abstractmethod
    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """A copy of the image that shows (label, value or None, colour) answers, the truth first. Of a record with
        several images it is `drawing.beside` of them.
        """

    @abstractmethod
    def check(self, annotation: Any, record: Record) -> str | None:
        """Why an annotation is not valid for this task, or None."""

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """Why the raw rationale gives the annotation away; empty = clean. ``prompt`` is what the rationale was sampled
        from.

        The rules of every task; a task adds its own.
        """
        class_words = {word for name in self.classes for word in words(name)}
        return [*tag_leaks(rationale), *self.names.find(rationale), *copy_leaks(rationale, prompt, class_words)]

    def mean_score(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``score`` and ``parsed``, the metrics that every task has."""
        if not pairs:
            raise UserError("there are no answers to measure: the split is empty")
        scores = [self.score(annotation, value) for annotation, value in pairs]
        parsed = sum(value is not None for _, value in pairs)
        return {"score": math.fsum(scores) / len(pairs), "parsed": parsed / len(pairs)}

    def ask(self, record: Record) -> str:
        """The question of a record: its own, the data set's or the task's. Raises UserError when there is none."""
        question = record.question or self.question or self.default_question
        if not question:
            raise UserError(
                f"record '{record.id}' has no question, which {self.name} needs: add it to the row or dataset.yaml"
            )
        return question

    def prompt(self, role: Role, record: Record, frame: Frame, rationale: str | None = None) -> str:
        """The user turn's text for a role. ``reconstruct`` needs ``rationale`` (an empty one is allowed)."""
        if role == "reconstruct":
            if rationale is None:
                raise ValueError("the reconstruct role needs a rationale")
            return self.reconstruct_prompt(record, frame, rationale)
        statement = self.statement(record, frame)
        if role == "answer":
            return f"{statement}\nReply only with <answer>{self.form}</answer>."
        if role == "think":
            return f"{statement}\nFirst give your reasons in <think>...</think>, then <answer>{self.form}</answer>."
        if role == "reason":
            answer = self.render(record.annotation, record, frame)
            explain = "Explain in at most 100 words what can be seen that supports it."
            return f"{statement}\nThe right answer is: {answer}\n{explain} {self.forbid}"
        raise ValueError(f"unknown role '{role}'")

    def reconstruct_prompt(self, record: Record, frame: Frame, rationale: str) -> str:
        """The blind form: a description in place of the image."""
        statement = self.statement(record, frame)
        described = f"Someone described a picture like this:\n{rationale}"
        return f"{described}\n{statement}\nReply only with <answer>{self.form}</answer>."

    def parse_completion(self, completion: str, record: Record, frame: Frame, role: Role) -> Completion:
        """Takes a completion apart by the tag grammar of its role.

        ``answer`` and ``reconstruct`` are ``<answer>...</answer>`` and nothing else, ``think`` is
        ``<think>...</think><answer>...</answer>``, ``reason`` is plain text without tags. White space around the
        elements is free. An empty rationale is not well formed, though the answer behind it still counts; any other
        breach leaves no value.
        """
        text = completion.strip()
        if role == "reason":
            return Completion(text, Parsed(None, "a rationale holds no answer"), bool(text) and not _TAG.search(text))
        rationale: str | None = None
        if role == "think":
            rationale, text, problem = _split_think(text)
            if self.lead_in and rationale is not None:
                rationale = rationale.removesuffix(self.lead_in).rstrip()
            if problem:
                return Completion(rationale, Parsed(None, problem), False)
        answer, problem = _inside(text, "answer")
        if answer is None:
            return Completion(rationale, Parsed(None, problem), False)
        return Completion(rationale, self.parse(answer.strip(), record, frame), rationale != "")


def _split_think(text: str) -> tuple[str | None, str, str]:
    """(rationale, what follows it, problem or '') of a think completion. A rationale is returned even where what
    follows is broken.
    """
    if not text.startswith("<think>"):
        return None, text, "the completion does not begin with <think>"
    end = text.find("</think>")
    if end < 0:
        return None, text, "<think> is not closed"
    rationale = text[len("<think>") : end].strip()
    if _TAG.search(rationale):
        return rationale, text, "there is a tag inside <think>"
    return rationale, text[end + len("</think>") :].strip(), ""


def _inside(text: str, tag: str) -> tuple[str | None, str]:
    """The text of the one element that ``text`` must be, or None and the reason."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    if not text.startswith(opening):
        return None, f"the answer does not begin with {opening}"
    if not text.endswith(closing):
        return None, f"the answer does not end with {closing}"
    inner = text[len(opening) : -len(closing)]
    if _TAG.search(inner):
        return None, f"there is a tag inside {opening}"
    return inner, ""


def think_answer(rationale: str, answer: str) -> str:
    """The completion of the think role."""
    return f"<think>{rationale}</think><answer>{answer}</answer>"


def bare_answer(answer: str) -> str:
    """The completion of the answer and reconstruct roles."""
    return f"<answer>{answer}</answer>"


def normal_name(name: str) -> str:
    """A class name for comparison: compatibility form, no case; blanks, underscores and hyphens are one blank."""
    folded = unicodedata.normalize("NFKC", name).casefold().strip()
    return re.sub(r"[\s_\-]+", " ", folded).strip() or folded


def class_index(classes: Sequence[str]) -> dict[str, str]:
    """Normalised name -> class. Raises UserError for an empty name, a clash, or a name that would break the tag
    grammar.
    """
    index: dict[str, str] = {}
    for name in classes:
        key = normal_name(name)
        if not key:
            raise UserError("classes: a class name is empty")
        if re.search(r"[<>\n\r]", name):
            raise UserError(f"classes: '{name}' contains <, > or a line break, which an answer cannot hold; rename it")
        if key in index:
            alike = f"'{index[key]}' and '{name}' are the same name apart from case, blanks, '_' and '-'"
            raise UserError(f"classes: {alike}; rename or remove one")
        index[key] = name
    return index


def known_score(score: str, scores: Sequence[str], task: str) -> str:
    """``score``, or UserError where the task has none of that name."""
    if score not in scores:
        raise UserError(f"{task} has no score '{score}'; it has {', '.join(scores)}.{nearest(score, scores)}")
    return score


def need_classes(task: Task) -> None:
    """Raises UserError when a task that chooses among classes has fewer than two."""
    if len(task.classes) < 2:
        told = f"needs at least two classes, and there are {len(task.classes)}; add what else a picture may show"
        raise UserError(f"classes: {task.name} {told}")
