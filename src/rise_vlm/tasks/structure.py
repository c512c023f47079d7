"""Structure perception: the letter of a choice, a number, or yes or no answers a question about a figure.

Which of them is asked for, the kind of the annotation decides, as in the Reason-RFT code. Where there is none the
question shows it: it lists choices ``A. ... B. ...``, or it begins as only questions with yes or no for an answer do
(``Is ...``). Left out: any other text of a choice in place of its letter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rise_vlm.errors import UserError
from rise_vlm.rewards.numbers import same_number, tolerant_number
from rise_vlm.tasks.base import Frame, Parsed, Task, known_score
from rise_vlm.tasks.drawing import draw_captions, shown
from rise_vlm.tasks.leak import ClassNames, visible
from rise_vlm.tasks.numerals import numbers_in
from rise_vlm.tasks.quantity import LARGEST, decimals, read_quantity, without_lead

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

SCORES = ("tolerant", "exact", "official")
LETTERS = "ABCDE"
NEAR = 0.01
"""A number in a rationale this near to the truth, as a share of it, gives it away."""

_WORDS = {"yes": "Yes", "no": "No"}
_ASKING = "is|are|was|were|does|do|did|can|could|has|have|will|would"
_POLAR = re.compile(
    rf"(?:^|[.,:;!?]\s+)(?!\w+ (?:you|we|i)\b)(?:{_ASKING})\s[^.!?]*\?\s*$|\byes or no\b", re.IGNORECASE
)
_SAID = r"(?:^|[.!?:]\s*|\banswer\s)['\"]?WORD['\"]?\s*(?:[,.!;]|$)|\banswer (?:is|must be) ['\"]?WORD\b"
_CHOICE = re.compile(r"\(?([A-Ea-e])\)?[.:]?")
_MATHS = re.compile(r"\\(?:text|textrm|textbf|mathrm|mathbf)\s?\{([^{}]*)\}|\\[()\[\]]|\$")
_LISTED = re.compile(
    r"^\s*A[.):\s].*?^\s*B[.):\s]"  # a line each
    r"|(?:\(A\)|\bA[):]).*?(?:\(B\)|\bB[):])|\sA\. .*?\sB\. .*?\sC\. |[?.]\s+A\. [^.?]*\sB\. [^.?]*$",
    re.DOTALL | re.MULTILINE,
)
_ASKED = {"letter": "the letter of the right choice", "word": "yes or no", "number": "the number"}


class Structure(Task):
    """The annotation is a letter from A to E, ``"Yes"``, ``"No"``, a number, or a number as text (``"5\\\\sqrt{3}"``).

    ``score="tolerant"`` (ours, Reason-RFT's ``math_accuracy_reward``): a letter or word is right or wrong, a number
    earns 1 within 5 % of the truth, 0 beyond 20 %, half a cosine between. ``score="exact"``: equal
    numbers only, see ``right``. ``score="official"``: the reward that the Reason-RFT code wires, equality of the
    characters; ``2.0`` is not ``2``.
    """

    name = "structure"
    sees_image = False
    form = "letter or number"
    default_question = None
    forbid = "Do not give the letter or the number."

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: str = "tolerant",
    ) -> None:
        super().__init__(classes, question, synonyms)
        self.kind = known_score(score, SCORES, self.name)

    def statement(self, record: Record, frame: Frame) -> str:
        question = self.ask(record)
        if isinstance(record.annotation, str | int | float):
            kind = _kind(record.annotation)
        else:
            kind = "letter" if _LISTED.search(question) else "word" if _POLAR.search(question) else "number"
        return f"{question}\nGive {_ASKED[kind]}."

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        return str(annotation)

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """A choice as ``choice_of`` reads it, or one number as ``read_quantity`` does."""
        text = text.strip()
        choice = choice_of(text)
        value, problem = (choice, "") if choice else read_quantity(text, exact_forms=True)
        if value is None:
            return Parsed(None, problem.replace("is not one number", "is neither one letter nor one number"))
        return Parsed(text if self.kind == "official" else value, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        if value is None:
            return 0.0
        if self.kind == "official":
            return float(value == str(annotation))
        truth = number_of(annotation)
        if self.kind == "exact" or truth is None or not isinstance(value, int | float):
            return self.right(annotation, value)
        return tolerant_number(truth, value)

    def right(self, annotation: Any, value: Any | None) -> float:
        """1 for the very letter or word, or for the number as ``same_number`` has it (8.66 for 8.7), else 0."""
        if value is None:
            return 0.0
        truth, guess = number_of(annotation), number_of(value)
        if truth is None or guess is None:
            return float(truth is None and guess is None and choice_of(annotation) == choice_of(value))
        return same_number(truth, guess, decimals(str(annotation)))

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``accuracy``: the share of right letters, words and equal numbers; ``choice_accuracy`` and
        ``number_accuracy``: the same where the truth is a letter or word, or a number, left out where none is.
        """
        metrics = self.mean_score(pairs)
        hits = [(number_of(truth) is None, self.right(truth, value)) for truth, value in pairs]
        metrics["accuracy"] = sum(hit for _, hit in hits) / len(hits)
        for name, kind in (("choice_accuracy", True), ("number_accuracy", False)):
            chosen = [hit for is_choice, hit in hits if is_choice is kind]
            if chosen:
                metrics[name] = sum(chosen) / len(chosen)
        return metrics

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``majority``: the most frequent letter or word of ``train`` where one is due, else its most frequent number;
        ``random``: letters, words and numbers drawn as often as there. Both are mean scores.
        """
        known = annotations if train is None else train
        if not annotations or not known:
            raise UserError("there are no answers to measure: the split is empty")
        by_kind = {kind: Counter(a for a in known if _kind(a) == kind) for kind in ("letter", "word", "number")}
        majority = random = 0.0
        for truth in annotations:
            counts = by_kind[_kind(truth)]
            if counts:
                worth = {guess: self.score(truth, self._as_value(guess)) for guess in counts}
                majority += worth[counts.most_common(1)[0][0]]
                random += sum(worth[guess] * count for guess, count in counts.items()) / counts.total()
        return {"majority": majority / len(annotations), "random": random / len(annotations)}

    def _as_value(self, annotation: Any) -> Any:
        """What ``parse`` returns for the text of an annotation."""
        number = number_of(annotation)
        return str(annotation) if self.kind == "official" or number is None else number

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, and the true letter or word named as a choice, or a number within 1 % of the true one or of
        what the true letter stands for.
        """
        leaks = super().leaks(rationale, record, frame, prompt)
        truth = number_of(record.annotation) if isinstance(record.annotation, str | int | float) else None
        choice = choice_of(record.annotation) if truth is None else None
        if choice is not None and choice in _WORDS.values():
            told = re.search(_SAID.replace("WORD", choice.casefold()), visible(rationale).casefold())
            return [*leaks, *([f"says '{choice}'"] if told else [])]
        if choice is not None:
            leaks += ClassNames([choice], {}).find(rationale)
            truth = _chosen(choice, self.ask(record))
        if truth is None:
            return leaks
        text = visible(rationale).casefold()
        for value, start, end, _ in numbers_in(text):
            if abs(value - abs(truth)) <= NEAR * abs(truth):
                return [*leaks, f"names the number ('{text[start:end]}')"]
        return leaks

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image above a strip with one line per answer."""
        return draw_captions(image, [(f"{label}: {shown(value)}", colour) for label, value, colour in answers])

    def check(self, annotation: Any, record: Record) -> str | None:
        if isinstance(annotation, bool) or not isinstance(annotation, str | int | float):
            return f"annotation must be a letter, a number, Yes or No, got {type(annotation).__name__}"
        if not isinstance(annotation, str) and not -LARGEST <= annotation <= LARGEST:  # nor nan
            return f"annotation must be a number from -2^53 to 2^53, got {str(annotation)[:40]}"
        if isinstance(annotation, str) and annotation not in (*LETTERS, *_WORDS.values()):
            value, problem = read_quantity(annotation, exact_forms=True)
            if value is None:
                return f"annotation must be a letter from A to E, a number, Yes or No: {problem}"
        return None if (record.question or self.question) else "structure needs a question: add it to the row"


def number_of(answer: Any) -> float | None:
    """The number that an annotation or an answer is, or None for a letter or word."""
    return _written(answer) if isinstance(answer, str) else answer


@lru_cache(maxsize=65536)
def _written(answer: str) -> float | None:
    return None if choice_of(answer) else read_quantity(answer, exact_forms=True)[0]


def choice_of(answer: Any) -> str | None:
    """A for ``A``, ``(a)``, ``A.``, ``$A$`` and ``\\boxed{\\text{A}}``; Yes for ``yes`` and ``YES.``; None for anything
    else.
    """
    text = _MATHS.sub(r"\1", without_lead(str(answer))).strip()
    match = _CHOICE.fullmatch(text)
    return match.group(1).upper() if match else _WORDS.get(text.removesuffix(".").casefold())


def _chosen(letter: str, question: str) -> float | None:
    """The number that a question lists as the choice of that letter, or None."""
    listed = re.findall(rf"(?:^|[\s(]){letter}[.):]\s*(.*?)\s*(?=[\s(][A-E][.):]|\n|$)", question)
    return number_of(listed[-1]) if listed else None


def _kind(annotation: Any) -> str:
    """Whether a letter, a word or a number is due."""
    if number_of(annotation) is not None:
        return "number"
    return "word" if choice_of(annotation) in _WORDS.values() else "letter"
