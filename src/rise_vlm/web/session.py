"""A review in progress: what was decided of each item, and the dataset that comes of it.

It knows no HTTP; ``review.py`` puts it on a page. Left out: several people reviewing one item.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from rise_vlm.data.card import CARD, Card
from rise_vlm.data.checking import BadRow, check_annotation
from rise_vlm.data.images import read_image
from rise_vlm.data.importing import DEFAULT_SHARES
from rise_vlm.data.writer import DatasetWriter
from rise_vlm.errors import DataError, UserError
from rise_vlm.web.dealing import split_of
from rise_vlm.web.items import Batch, Item
from rise_vlm.web.journal import Journal

State = Literal["undecided", "accepted", "corrected", "rejected"]
STATES: tuple[State, ...] = ("undecided", "accepted", "corrected", "rejected")
Action = Literal["accept", "reject", "undo", "draft"]
LONGEST_RATIONALE = 20_000


class Refused(UserError):
    """A decision that cannot be taken, such as accepting a box outside the image."""


@dataclass(frozen=True)
class Decision:
    """What stands of an item now. ``text`` is JSON that is being written by hand and may not be valid yet."""

    state: State
    annotation: Any
    rationale: str
    text: str | None = None


class Session:
    """A batch, its journal and what was decided. Every method may be called from any thread."""

    def __init__(self, batch: Batch, out: Path, *, shares: dict[str, float] | None = None, force: bool = False) -> None:
        self.batch, self.out = batch, out
        self.shares = DEFAULT_SHARES if shares is None else shares
        self._lock = RLock()
        self._decided: dict[int, Decision] = {}
        self._numbers = {item.key: index for index, item in enumerate(batch.items)}
        self._refuse_out(batch.source, out)
        head = {"review_of": str(batch.source.absolute()), "task": batch.card.task, "classes": batch.card.classes}
        self.journal = Journal(journal_path(out), head)
        self.changed, self.force = self._replay(), force
        finished = [row for row in self.journal.rows if "finished" in row]
        self._wrote: str | None = finished[-1].get("digest") if finished else None
        try:
            self._refuse_others()
        except UserError:
            self.journal.abandon()
            raise

    def _refuse_others(self) -> None:
        """Raise UserError where ``out`` holds what Finish did not leave there, unless ``--force``."""
        out = self.out
        if self.force or not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
        if not (out / CARD).is_file():
            raise UserError(f"--out {out} exists and is not a dataset; give another --out.")
        if self._wrote is None or self._wrote != dataset_digest(out):
            what = "holds a dataset already" if self._wrote is None else "was changed since Finish wrote it"
            raise UserError(f"--out {out} {what}; give another --out or add --force.")

    @staticmethod
    def _refuse_out(source: Path, out: Path) -> None:
        if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
            raise UserError(f"--out {out} is what is being reviewed, or inside it; give another --out.")
        if out.resolve() in source.resolve().parents:
            raise UserError(f"--out {out} contains what is being reviewed; give another --out.")
        if out.is_file():
            raise UserError(f"--out {out} is a file; give a folder that does not exist yet.")

    def _replay(self) -> int:
        """Take up what the journal holds; the number of rows of items that are gone or differ now."""
        changed = 0
        for row in self.journal.rows:
            if "decision" not in row:
                continue
            index = self._numbers.get(row.get("key", ""))
            if index is None or row.get("of") != self.batch.items[index].digest:
                changed += 1
            elif row["decision"] == "undo":
                self._decided.pop(index, None)
            else:
                state = row["state"] if row.get("state") in STATES else "undecided"
                text = row.get("text")
                self._decided[index] = Decision(state, row.get("annotation"), str(row.get("rationale") or ""), text)
        return changed

    @property
    def counts(self) -> dict[str, int]:
        """How many items are in each state."""
        with self._lock:
            found = Counter(decision.state for decision in self._decided.values())
        found["undecided"] = len(self.batch.items) - sum(found[state] for state in STATES[1:])
        return {state: found[state] for state in STATES}

    def state(self, index: int) -> State:
        """What was decided of an item."""
        decision = self._decided.get(index)
        return "undecided" if decision is None else decision.state

    def original(self, index: int) -> Decision:
        """An item as it came."""
        record = self.batch.items[index].record
        return Decision("undecided", record.annotation, record.rationale or "")

    def now(self, index: int) -> Decision:
        """An item as it stands, edits included."""
        return self._decided.get(index) or self.original(index)

    def next(self, start: int, step: int, state: str) -> int | None:
        """The nearest item after (``step`` 1) or before (-1) ``start`` that is in ``state``, or in ``any``."""
        index = start + step
        while 0 <= index < len(self.batch.items):
            if state in ("any", self.state(index)):
                return index
            index += step
        return None

    def decide(self, index: int, action: Action, annotation: Any, rationale: str, text: str | None = None) -> Decision:
        """Take a decision and write it to the journal.

        Raises:
            Refused: an annotation that the task refuses is not accepted.
        """
        rationale = rationale.replace("\r\n", "\n")
        if len(rationale) > LONGEST_RATIONALE:
            raise Refused(f"a rationale has at most {LONGEST_RATIONALE} characters")
        item = self.batch.items[index]
        state: State = "rejected" if action == "reject" else "undecided"
        if action == "accept":
            annotation, text = (annotation, None) if text is None else (parse_json(text), None)
            self._check(item, annotation)
            same = same_answer(annotation, item.record.annotation) and rationale == (item.record.rationale or "")
            annotation = item.record.annotation if same else annotation  # as it was written, 1.0 and not 1
            state = "accepted" if same else "corrected"
        decision = Decision(state, annotation, rationale, text)
        row = {"key": item.key, "decision": action, "of": item.digest}
        if action != "undo":
            row |= {"state": state, "annotation": annotation, "rationale": rationale}
            row |= {} if text is None else {"text": text}
        with self._lock:
            try:
                self.journal.write(row)
            except ValueError:
                raise Refused("the annotation holds NaN or infinity") from None
            if action == "undo":
                self._decided.pop(index, None)
            else:
                self._decided[index] = decision
        return self.now(index)

    def _check(self, item: Item, annotation: Any) -> None:
        """Refused where the annotation is none for this task."""
        if annotation is None:
            raise Refused("There is nothing to accept yet: annotate the picture, or reject it.")
        try:
            check_annotation(item.record.model_copy(update={"annotation": annotation}), self.batch.task.check)
        except BadRow as bad:
            raise Refused(str(bad)) from None
        except RecursionError:
            raise Refused("the annotation is nested too deep") from None

    def finish(self, undecided: Literal["keep", "leave out"]) -> dict[str, Any]:
        """Write the dataset, whole or not at all; what was decided stays open to change, and to finishing again.

        Raises:
            UserError: nothing was kept, the folder cannot be written, or it was changed since the last time.
        """
        with self._lock:
            self._refuse_others()
            kept = [(item, decision) for item, decision in self._each() if self._keeps(decision, undecided)]
            splits = self._dealt([item for item, _ in kept])
            told: dict[str, Any] = {"left_out": [], "edited": sum(map(self._half_edited, self._decided))}
            with DatasetWriter(self.out, self._card(), judge=self.batch.task.check, force=True) as writer:
                for item, decision in kept:
                    try:
                        _add(writer, splits.get(item.key, "train"), item, decision)
                    except DataError as error:
                        told["left_out"].append(f"{item.record.id}: {error}")
                if not sum(counts.records for counts in writer.counts.values()):
                    raise UserError("Nothing was accepted yet, so there is nothing to write.")
            told |= {"out": str(self.out), "splits": {name: c.records for name, c in writer.counts.items()}}
            self._wrote = dataset_digest(self.out)
            row = {"finished": str(self.out), "undecided": undecided, "digest": self._wrote, **self.counts}
            self.journal.write(row)
        return told

    def _each(self) -> Iterator[tuple[Item, Decision]]:
        """Items as they came, before they were put in the order of doubt: equal decisions, equal bytes."""
        order = sorted(range(len(self.batch.items)), key=lambda index: self.batch.items[index].key)
        return ((self.batch.items[index], self.now(index)) for index in order)

    def _half_edited(self, index: int) -> bool:
        """Whether an item has edits that nobody accepted or rejected."""
        now, came = self.now(index), self.original(index)
        same = same_answer(now.annotation, came.annotation) and now.rationale == came.rationale
        return now.state == "undecided" and not (same and now.text is None)

    @staticmethod
    def _keeps(decision: Decision, undecided: str) -> bool:
        if decision.state == "undecided":
            return undecided == "keep"
        return decision.state != "rejected"

    def _dealt(self, items: Sequence[Item]) -> dict[str, str]:
        """The split of each item by its key: its own, or one by the hash of its image."""
        return {item.key: item.split or split_of(item.pictures[0], self.shares) for item in items}

    def _card(self) -> Card:
        card, model = self.batch.card, self.batch.model
        source = f"{card.source}; reviewed" if card.source else "reviewed"
        if model is not None:
            source = f"answers of {Path(model).name}, reviewed"
        return card.model_copy(update={"name": self.out.name, "splits": {}, "source": source})


def _add(writer: DatasetWriter, split: str, item: Item, decision: Decision) -> None:
    """Write one record. An undecided one is written as it came: half an edit is no decision."""
    record = item.record
    if decision.state == "undecided":
        decision = replace(decision, annotation=record.annotation, rationale=record.rationale or "")
    figures = {name: item.hints[name] for name in ("confidence", "reconstruction") if name in item.hints}
    meta = {**record.meta, **figures, "reviewed": decision.state}
    if decision.state == "corrected":
        meta["before"] = record.annotation
    writer.add(
        split,
        id=record.id,
        image=item.pictures[0],
        more=[read_image(path) for path in item.pictures[1:]],
        annotation=decision.annotation,
        question=record.question,
        rationale=decision.rationale.strip() or None,
        meta=meta,
    )


def journal_path(out: Path) -> Path:
    """The journal of a review that writes ``out``: beside it, since the folder itself comes to be at the end."""
    return out.parent / f"{out.name}.review.jsonl"


def dataset_digest(root: Path) -> str:
    """Of a dataset's card and rows: whether somebody changed it."""
    digest = hashlib.sha256()
    for path in [root / CARD, *sorted(root.glob("*.jsonl"))]:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode(errors="surrogateescape") + path.read_bytes())
    return digest.hexdigest()[:16]


def parse_json(text: str) -> Any:
    """The value that ``text`` writes. Raises Refused with line and column."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"this is not valid JSON: {error}") from None
    except RecursionError:
        raise Refused("this JSON is nested too deep") from None


def same_answer(one: Any, other: Any) -> bool:
    """Whether two annotations say the same; a class of probability 0 may be left out."""
    if isinstance(one, dict) and isinstance(other, dict):
        strip = [{key: value for key, value in each.items() if value != 0} for each in (one, other)]
        return strip[0] == strip[1]
    return one == other
