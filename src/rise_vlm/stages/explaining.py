"""Rationales of a teacher for the training records of a dataset: asked for, verified, and written with the records.

Every reply goes to a journal beside the dataset to be, as soon as it is there, so that a command that was stopped goes
on and another threshold asks for nothing twice. What is written is the whole dataset, with a rationale where one passed
and without where none did, so that CoT-SFT and Reason-RFT train on it as it is. Left out: a second try for a record
whose rationale was refused, and replies that were under way when the command was stopped.
"""

from __future__ import annotations

import hashlib
import queue
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from rise_vlm.console import Progress, progress
from rise_vlm.data import DatasetWriter, Record
from rise_vlm.errors import UserError
from rise_vlm.recipes import load_recipe
from rise_vlm.stages.explain import FRAME, Asking, Judged, is_reached, judge, pictures, question, reading_score
from rise_vlm.stages.files import Row, append_rows, mend_rows, read_json, read_rows, write_json
from rise_vlm.stages.material import Material
from rise_vlm.web.chat import Chat, Reply, Unanswered

JOURNAL, SETTINGS = "replies.jsonl", "settings.json"
HOPELESS = 3
"""Records without a reply, and none with one, after which the endpoint is given up."""

SAMPLED = 20
"""Requests whose size is measured for ``--dry-run``."""


@dataclass
class Explained:
    """What came of it: how many records, requests now, and kept; why others were not; tokens of all replies; notes."""

    records: int
    requests: int = 0
    kept: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    notes: list[str] = field(default_factory=list)


def open_material(dataset: Path, records: int | None) -> Material:
    """The training records that ``rise run cot_sft`` would learn from. Raises UserError as ``Material.open``."""
    limit = [] if records is None else [f"data.limit={records}"]
    return Material.open(load_recipe("cot_sft", [f"data={dataset}", *limit]))


def journal_folder(out: Path) -> Path:
    """Where the replies for the dataset ``out`` stand."""
    return out.parent / f"{out.name}.replies"


class Explaining:
    """One teacher, one dataset. ``rows`` are the replies so far, by record id."""

    def __init__(self, chat: Chat, material: Material, asking: Asking, folder: Path) -> None:
        self.chat, self.material, self.asking, self.folder = chat, material, asking, folder
        self.records = {record.id: record for record in material.train}
        self.prompts = {id: self._digest(record) for id, record in self.records.items()}
        self.rows: dict[str, Row] = {}
        self.found = Explained(len(self.records))
        self._failures, self._first_failure, self._tokens = 0, "", 0

    def resume(self, *, keep: bool = True) -> None:
        """Read what an earlier command has asked; without ``keep`` no file is written. Raises UserError where that was
        another teacher's.
        """
        settings = {
            "teacher": self.chat.model, "endpoint": self.chat.host, "temperature": self.chat.temperature,
            "max_tokens": self.chat.max_tokens, "max_pixels": self.asking.max_pixels,
        }  # fmt: skip
        before = read_json(self.folder / SETTINGS)
        if isinstance(before, dict) and (other := [key for key, value in settings.items() if before.get(key) != value]):
            raise UserError(
                f"{self.folder} holds replies of another {', another '.join(other)}. Give another --out, or delete it."
            )
        if keep:
            write_json(self.folder / SETTINGS, settings)
        replies = mend_rows(self.folder / JOURNAL) if keep else list(read_rows(self.folder / JOURNAL))
        asked: dict[str, Row] = {row["id"]: row for row in replies if row.get("id") in self.records}
        self.rows = {id: row for id, row in asked.items() if row.get("prompt") == self.prompts[id]}
        self._tokens = sum(map(_tokens, self.rows.values()))
        if others := len(asked) - len(self.rows):
            self.found.notes.append(f"{others} replies in {self.folder} answer other prompts and are not used")

    def estimate(self) -> dict[str, int]:
        """Records to ask, the fewest and the most requests that takes, and about how many bytes those are to send."""
        todo = [record for record in self.records.values() if self._missing(record)]
        fresh = [record for record in todo if record.id not in self.rows]
        reads = self.asking.reader == "teacher"
        sizes: list[int] = []
        for record in fresh[:: max(1, len(fresh) // SAMPLED)]:
            shown = pictures(self.material, record, self.asking.max_pixels)
            sizes.append(len(self.chat.body(question(self.material.task, record, self.asking), shown)))
        each = sum(sizes) // max(1, len(sizes))
        most = len(fresh) * (1 + reads) + len(todo) - len(fresh)
        sends = len(fresh) * (1 + (reads and self.material.task.sees_image))  # a blind reading is a short text
        return {"records": len(todo), "requests": len(todo), "requests_at_most": most, "bytes": each * sends}

    def ask(self, threads: int) -> None:
        """Ask for all that is missing, with ``threads`` requests at a time, and note each reply.

        Raises:
            UserError: the endpoint refuses everybody, or answers nobody.
            KeyboardInterrupt: after what has come in is noted.
        """
        todo = [record for record in self.records.values() if self._missing(record)]
        with progress("explain", total=len(self.records)) as bar:
            bar.skip(len(self.records) - len(todo))
            with self._workers(todo, threads) as results:
                for _ in todo:
                    self._take(results.get(), bar)

    def verdicts(self) -> Iterator[tuple[Record, Row | None, Judged | None, str | None]]:
        """(record, its reply, that taken apart, why it is refused or None), in the data set's order."""
        for record in self.records.values():
            row = self.rows.get(record.id)
            if row is None:
                yield record, None, None, "no reply"
                continue
            judged = self._judge(record, row)
            reason = judged.reason
            if reason is None and self.asking.reader != "none":
                reading = row["readings"].get(self.asking.reader)
                if reading is None:
                    reason = "not read"
                elif not is_reached(self.material.task, reading["score"], self.asking):
                    reason = "not reached from the rationale"
            yield record, row, judged, reason

    def to_read(self) -> list[tuple[Record, str]]:
        """Records and rationales that pass all but the reading, which is not there."""
        return [
            (record, judged.rationale)
            for record, _, judged, reason in self.verdicts()
            if judged is not None and reason == "not read"
        ]

    def note_readings(self, reader: str, texts: Sequence[tuple[Record, str, float]]) -> None:
        """Note what a model of ours has read: record, text, score."""
        for record, text, score in texts:
            row = self.rows[record.id]
            self._note(row | {"readings": row["readings"] | {reader: {"text": text, "score": score}}})

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write the dataset with the rationales that are kept. Raises UserError where none is."""
        kept: dict[str, Record] = {}
        for record, row, judged, reason in self.verdicts():
            if reason is not None or row is None or judged is None:
                self.found.refused[reason or "no reply"] += 1
                continue
            meta = record.meta | {"teacher": self._provenance(row, judged)}
            kept[record.id] = record.model_copy(update={"rationale": judged.rationale, "meta": meta})
        self.found.kept = len(kept)
        self.found.prompt_tokens = sum(row["prompt_tokens"] for row in self.rows.values())
        self.found.completion_tokens = sum(row["completion_tokens"] for row in self.rows.values())
        why = f"{self._failures} requests got no reply, the first because of: {self._first_failure}"
        if self._first_failure:
            self.found.notes.append(f"{why}; the same command with --force makes them again")
        if not kept:
            told = ", ".join(f"{count} x {reason}" for reason, count in self.found.refused.most_common())
            again = f" {why}; the same command makes them again." if self._first_failure else ""
            raise UserError(
                f"none of {len(self.records)} rationales is kept ({told}), so no dataset is written.{again} The "
                f"replies are in {self.folder / JOURNAL}.",
                exit_code=1,
            )
        source = self.material.dataset
        own = 0
        with DatasetWriter(out, source.card.model_copy(update={"splits": {}}), force=force) as writer:
            for split in source.splits:
                writer.split(split)
                for record in source.records(split):
                    if split == "train":
                        own += record.rationale is not None
                        record = kept.get(record.id) or record.model_copy(update={"rationale": None})
                    writer.keep(split, record, source.root)
        if own:
            self.found.notes.append(f"{own} training records had a rationale, which is left out")

    def _provenance(self, row: Row, judged: Judged) -> dict[str, Any]:
        """``meta.teacher`` of a record whose rationale is kept."""
        reading = row["readings"].get(self.asking.reader)
        read = {"reader": self.asking.reader, "reading_score": reading["score"]} if reading else {"reader": None}
        how = {"model": self.chat.model, "endpoint": self.chat.host, "temperature": self.chat.temperature}
        used = {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
        return how | {"score": judged.score, "leak_free": not judged.leaks} | read | used

    def _digest(self, record: Record) -> str:
        """Of what the teacher is asked, and of the annotation by which it is judged."""
        text = question(self.material.task, record, self.asking)
        return hashlib.sha256(f"{text}\n{record.annotation}\n{record.images}".encode()).hexdigest()[:16]

    def _judge(self, record: Record, row: Row) -> Judged:
        return judge(self.material, record, row["reply"], finished=row["finished"], asking=self.asking)

    def _missing(self, record: Record) -> bool:
        """Whether a request has to be made for this record."""
        row = self.rows.get(record.id)
        if row is None:
            return True
        return self._reads(row) and self._judge(record, row).reason is None

    def _reads(self, row: Row) -> bool:
        return self.asking.reader == "teacher" and "teacher" not in row["readings"]

    @contextmanager
    def _workers(self, todo: Sequence[Record], threads: int) -> Iterator[queue.Queue[Any]]:
        """Threads at work on ``todo``; at the end, however it comes, they stop, and what they have brought is noted."""
        pending: queue.SimpleQueue[Record] = queue.SimpleQueue()
        results: queue.Queue[Any] = queue.Queue()
        for record in todo:
            pending.put(record)

        def work() -> None:
            while not self.chat.stop.is_set():
                try:
                    result = self._explain(pending.get_nowait())
                    results.put(result)
                    if result[2] is not None and result[2].final:
                        return  # the next would be refused too, and may cost
                except queue.Empty:
                    return
                except BaseException as error:
                    results.put(error)

        for _ in range(min(threads, len(todo))):
            Thread(target=work, daemon=True).start()  # a request under way must not hold up Ctrl-C
        try:
            yield results
        finally:
            self.chat.stop.set()
            while not results.empty():
                left = results.get()
                if isinstance(left, tuple) and left[0] is not None:
                    self._note(left[0])

    def _explain(self, record: Record) -> tuple[Row | None, int, Unanswered | None]:
        """The row of a record, requests made, and what went wrong; of two requests the first may have succeeded."""
        row, made = self.rows.get(record.id), 0
        try:
            shown = pictures(self.material, record, self.asking.max_pixels)
            if row is None:
                made += 1
                row = self._row(record, self.chat.ask(question(self.material.task, record, self.asking), shown))
            judged = self._judge(record, row)
            if judged.reason is None and self._reads(row):
                task = self.material.task
                text = task.prompt("reconstruct", record, FRAME, judged.rationale)
                made += 1
                reply = self.chat.ask(text, shown if task.sees_image else ())
                row = _with_tokens(row, reply)
                score = reading_score(task, record, reply.text)
                row["readings"] = row["readings"] | {"teacher": {"text": reply.text, "score": score}}
        except Unanswered as failure:
            return row, made, failure
        return row, made, None

    def _row(self, record: Record, reply: Reply) -> Row:
        row = {"id": record.id, "prompt": self.prompts[record.id], "reply": reply.text, "finished": reply.finished}
        return _with_tokens(row | {"readings": {}, "prompt_tokens": 0, "completion_tokens": 0}, reply)

    def _take(self, result: Any, bar: Progress) -> None:
        """Note one result. Raises what a worker raised, and UserError where there is no use in going on."""
        if isinstance(result, BaseException):
            raise result
        row, made, failure = result
        self.found.requests += made
        if row is not None:
            self._note(row)
        if failure is not None:
            self._failures += 1
            self._first_failure = self._first_failure or str(failure)
            if failure.final or (not self.rows and self._failures >= min(HOPELESS, len(self.records))):
                raise UserError(f"{self.chat.host}: {failure}.", exit_code=1)
        bar.update(replies=len(self.rows), tokens=self._tokens)

    def _note(self, row: Row) -> None:
        before = self.rows.get(row["id"])
        if row != before:
            append_rows(self.folder / JOURNAL, [row])
            self.rows[row["id"]] = row
            self._tokens += _tokens(row) - (0 if before is None else _tokens(before))


def _tokens(row: Row) -> int:
    return row["prompt_tokens"] + row["completion_tokens"]


def _with_tokens(row: Row, reply: Reply) -> Row:
    used = {name: row[name] + getattr(reply, name) for name in ("prompt_tokens", "completion_tokens")}
    return row | used
