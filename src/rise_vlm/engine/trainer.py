"""The training loop, for every stage.

A stage hands over a `Work` (`engine.work`): for each step it prepares micro-batches (rollouts, rewards, advantages; or
simply records) and turns each into a loss. The loop does the rest: gradients, clipping, updates, rate, metrics,
checkpoints, Ctrl-C.

Everything random in a step comes from the settings' seed and the step's number alone, so a run that is killed at any
moment and started again ends in the same bits as one that was not (on the same machine with the same versions).
Where memory runs out, micro-batches become smaller and the step is computed again; where a step cannot be computed for
a reason that the user can mend, what was learned before it is saved.

Of several processes (`rise_vlm.ranks`) each computes the gradient of its own micro-batches. Losses are divided by the
totals of the step, so the sum of these gradients is that of one process; all take the same update.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from rise_vlm import ranks
from rise_vlm.console import progress, say
from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.checkpoint import Checkpoint, told
from rise_vlm.engine.interrupts import again, ctrl_c
from rise_vlm.engine.metrics import Metrics, start_trackers
from rise_vlm.engine.objective import Loss, merge_metrics
from rise_vlm.engine.optimizer import MasterOptimizer, learning_rate_at
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.work import Ends, Grouped, Prepared, Remembers, Trainable, Work
from rise_vlm.errors import Interrupted, UserError
from rise_vlm.policy.room import TRAINED, Room, free, out_of_memory

__all__ = ["MODEL", "seed_of", "train"]

MODEL = "model"
REFUSED_IN_A_ROW = 3
"""So many steps in a row without a finite loss and gradient end the training: the weights are beyond saving."""
LESS = "lower token_budget or max_pixels"
NAMED = 8
"""So many records are named in a message; the row of metrics has all."""


def train(policy: Trainable, work: Work, settings: TrainSettings, folder: Path, describe: str) -> int:
    """Train ``policy`` in place for ``settings.steps`` steps, continuing from ``folder/checkpoint-last`` if it exists.

    Returns the steps taken, fewer only where the work ends it (`Ends`).
    Leaves in ``folder``: ``metrics.jsonl`` (one row per step), ``checkpoint-last/`` and, at the end, ``model/``.
    ``describe`` names the training in progress and messages, e.g. "closed loop".
    Errors: UserError for a checkpoint that does not fit, a folder that cannot be written, a step that does not fit the
    memory, losses that stay non-finite, or what the work raises; `Interrupted` for Ctrl-C (once: after the running
    step; twice: at once).
    """
    training = _Training(policy, work, settings, folder, describe)
    try:
        with ctrl_c(describe, folder) as stop, progress(describe, total=settings.steps) as bar:
            training.resume()
            bar.skip(training.done)
            finished = training.finished()
            while not finished:
                row = training.step()
                bar.update(1, **{name: float(row[name]) for name in ("reward", "loss") if name in row})

                finished = training.finished()
                stopping = ranks.anywhere(stop.asked)
                if finished or stopping or training.failed or training.done % settings.save_every == 0:
                    training.save()
                if training.failed:
                    raise ranks.of_all(UserError(_not_finite(describe, row, list(training.offending)), exit_code=1))
                if stopping and not finished:
                    done = f"stopped after step {training.done} of {settings.steps}"
                    raise Interrupted(f"{describe}: {done}. {again(folder)}")
            training.save_model()
        if ranks.anywhere(stop.asked):
            raise Interrupted(f"{describe}: finished, and stopped there. Run the same command again to go on")
        return training.done
    finally:
        training.optimizer.close()
        training.metrics.close()


class _Training:
    """A training between two steps: ``done`` steps lie behind it, the last ``refused`` of them without an update.

    ``saved`` is the step of the checkpoint, ``offending`` names the records of the refused steps, as far as known.
    """

    def __init__(self, policy: Trainable, work: Work, settings: TrainSettings, folder: Path, describe: str) -> None:
        self.policy, self.work, self.settings = policy, work, settings
        self.folder, self.describe = folder, describe
        self.room: Room = getattr(policy, "room", None) or Room()
        self.done = self.refused = self.saved = 0
        self.offending: dict[str, None] = {}
        self.accelerator = _accelerator(settings, folder, describe)
        self.metrics = Metrics(folder, self.accelerator)
        trained = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
        self.optimizer = MasterOptimizer(trained, kind=settings.optimizer, weight_decay=settings.weight_decay)
        self.fingerprint = checkpoints.fingerprint(policy.model)
        ranks.same(f"{describe}: the model", [self.fingerprint, checkpoints.sample(trained.values())])

    @property
    def failed(self) -> bool:
        return self.refused >= REFUSED_IN_A_ROW

    def finished(self) -> bool:
        """Whether no step is left, or the work wants none."""
        if self.done >= self.settings.steps:
            return True
        return self.done > 0 and isinstance(self.work, Ends) and self.work.ends(self.done)

    def step(self) -> dict[str, Any]:
        """One step; returns its row of metrics."""
        started = time.perf_counter()
        step = self.done + 1
        with self._nothing_lost():
            prepared, metrics = self._computed(step)
        norm, rate = self.optimizer.whole_norm(), self._rate(step)
        finite = math.isfinite(metrics["loss"]) and math.isfinite(norm)
        if finite and ranks.anywhere(bool(prepared.micro)):
            self.optimizer.step(rate, norm=norm, max_norm=self.settings.max_grad_norm)
        records = [] if finite else self._offenders(prepared)
        self.optimizer.clear()

        self.done, self.refused = step, 0 if finite else self.refused + 1
        self.offending = {} if finite else self.offending | dict.fromkeys(records)
        row = {"step": step, **prepared.metrics, **metrics, "grad_norm": norm, "learning_rate": rate}
        row |= self.room.limits
        row |= {} if finite else {"refused": 1}
        row |= {"refused_records": records} if records else {}
        row |= {"seconds": round(time.perf_counter() - started, 4)}
        self.metrics.add(row)
        return row

    def _computed(self, step: int) -> tuple[Prepared, dict[str, float]]:
        """A step's micro-batches, its metrics, and in the optimizer its gradient.

        Where memory runs out the step is computed again, from the same seed, with less at once. That choice is saved
        first: from here on a training that is killed cuts its steps as one that is not.
        """
        while True:
            self.room.limits = ranks.least(self.room.limits)
            before = dict(self.room.limits)
            try:
                prepared = self._prepare(step)
                self.room.limits = ranks.least(self.room.limits)
                metrics = self._gradient(prepared.micro) if self.room.limits == before else None
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                raise UserError(f"{self.describe}: out of memory in step {step}: {LESS}", exit_code=1) from error
            if metrics is not None:
                return prepared, metrics
            self.save()

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """Save the steps made so far where the next cannot be computed: a reward raises, a picture does not open.

        Of several processes one may be alone with its error, and none has all that is to be saved.
        """
        try:
            yield
        except UserError:
            if self.done > self.saved and ranks.size() == 1:
                with suppress(UserError):  # the first error says more
                    self.save()
            raise

    def _prepare(self, step: int) -> Prepared:
        seed = seed_of(self.settings.seed, step)
        torch.manual_seed(seed + ranks.rank())  # dropout draws from here
        self.policy.model.eval()
        with torch.no_grad():
            return self.work.prepare(step, torch.Generator().manual_seed(seed))

    def _gradient(self, micros: Sequence[Any]) -> dict[str, float] | None:
        """Sum the gradients of the micro-batches of all processes; returns their loss and metrics.

        None where memory ran out in any: the token budget is lower then.
        """
        parts = ranks.gather([self._own_gradient(micros)])
        self.room.limits = ranks.least(self.room.limits)
        losses = [loss for part in parts for loss in part or ()]
        if any(part is None for part in parts):
            self.optimizer.clear()
            return None
        self.optimizer.reduce()
        return {"loss": sum(float(loss.value) for loss in losses), **merge_metrics(losses)}

    def _own_gradient(self, micros: Sequence[Any]) -> list[Loss] | None:
        """Sum the gradients of these micro-batches, which are this process's; None where memory ran out."""
        self.policy.model.train()
        self.optimizer.clear()
        losses: list[Loss] = []
        with self._around("in_step", grad=True):
            for micro in micros:
                if (loss := self._backward(micro)) is None:
                    break
                losses.append(loss)
        self.policy.model.eval()
        return [loss.cpu() for loss in losses] if len(losses) == len(micros) else None

    def _around(self, name: str, **how: Any) -> AbstractContextManager[None]:
        """The policy's context of that name, where it has one."""
        made = getattr(self.policy, name, None)
        return made(**how) if made else nullcontext()

    def _backward(self, micro: Any) -> Loss | None:
        try:
            loss = self.work.loss(micro)
            loss = loss if isinstance(loss, Loss) else Loss(loss)
            self.accelerator.backward(loss.value)
            return Loss(loss.value.detach(), loss.metrics, loss.weight)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        self.optimizer.clear()
        free()  # not above: there the error still holds what was computed
        self._cut(micro)
        return None

    def _cut(self, micro: Any) -> None:
        """Lower the token budget until it cuts this micro-batch. Raises UserError where that cannot be."""
        where = f"{self.describe}: out of memory in step {self.done + 1}"
        groups = micro.groups if isinstance(micro, Grouped) else []
        if not groups or ranks.in_parts():  # there the others wait amid this micro-batch's passes
            raise UserError(f"{where}: {LESS}", exit_code=1)
        if len(groups) == 1:
            (group,) = groups
            raise UserError(
                f"{where} in a micro-batch of one group, which token_budget cannot cut: record '{group.prompt.record}' "
                f"with {len(group.completions)} completions, {group.tokens} tokens in all. Lower max_pixels, the "
                "rollouts of a group or max_new_tokens, or train with LoRA (policy.lora)",
                exit_code=1,
            )
        limit = self.room.of(TRAINED, self.settings.token_budget)
        self.room.halve(TRAINED, limit, sum(group.tokens for group in groups))

    def _offenders(self, prepared: Prepared) -> list[str]:
        """The records of the micro-batches that are not finite, found by computing each once more by itself."""
        found: dict[str, None] = {}
        # With weights in parts the gradient is that of all processes: of one micro-batch of one process at a time.
        for micro in ranks.in_turn(prepared.micro) if ranks.in_parts() else prepared.micro:
            groups = micro.groups if isinstance(micro, Grouped) else []
            losses = self._own_gradient([micro] if groups else [])
            norm = self.optimizer.whole_norm() if ranks.in_parts() else self.optimizer.gradient_norm()
            if losses and not (math.isfinite(losses[0].value) and math.isfinite(norm)):
                found |= dict.fromkeys(group.prompt.record for group in groups)
        return [record for record in dict.fromkeys(ranks.gather(list(found))) if record]

    def _rate(self, step: int) -> float:
        how = self.settings
        return learning_rate_at(
            step, peak=how.learning_rate, steps=how.steps, warmup_steps=how.warmup_steps, schedule=how.schedule
        )

    def resume(self) -> None:
        """Go back to the checkpoint, if there is one, and to the metrics that belong to it."""
        found = ranks.after_main(checkpoints.load, self.folder)
        if found is not None:
            ranks.once(self._check, found)
            self.optimizer.load_state(found.weights, found.optimizer)
            if isinstance(self.work, Remembers):
                self.work.load_state_dict(found.work)
            self.done, self.refused, self.saved = found.step, found.refused, found.step
            if 0 < self.done < self.settings.steps:
                say(f"{self.describe}: continuing after step {self.done} of {self.settings.steps}")
        self.room.limits = _limits(found, self.settings)
        self.metrics.start(self.done)

    def _check(self, found: Checkpoint) -> None:
        checkpoints.check(self.folder, found, self.settings.deciding(), self.fingerprint)
        if found.step > self.settings.steps:
            raise UserError(
                f"{self.folder / checkpoints.LAST} is at step {found.step} already, and steps is now "
                f"{self.settings.steps}: ask for at least {found.step}, or give another folder"
            )

    def save(self) -> None:
        self.metrics.sync()
        weights, optimizer = self.optimizer.whole()
        checkpoint = Checkpoint(
            step=self.done,
            refused=self.refused,
            settings=self.settings.deciding(),
            model=self.fingerprint,
            weights=weights,
            optimizer=optimizer,
            work=self.work.state_dict() if isinstance(self.work, Remembers) else {},
            room={"asked": self.settings.token_budget, **self.room.limits} if self.room.limits else {},
        )
        ranks.once(checkpoints.save, self.folder, checkpoint)  # none goes on, or ends, before it is there
        self.saved = self.done

    def save_model(self) -> None:
        with self._around("whole"):
            ranks.once(self._save_model)

    def _save_model(self) -> None:
        target = self.folder / MODEL
        with told(f"cannot write the model in {target}", self.folder), checkpoints.replacing(target) as new:
            self.policy.save(new)


def _limits(found: Checkpoint | None, settings: TrainSettings) -> dict[str, int]:
    """The limits that the checkpoint remembers. Another ``token_budget`` begins without."""
    if found is None or found.room.get("asked") != settings.token_budget:
        return {}
    return {name: limit for name, limit in found.room.items() if name != "asked"}


def seed_of(seed: int, step: int) -> int:
    """The seed of a step: 63 well-mixed bits, so that neighbouring seeds and steps share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:8], "big") >> 1


def _accelerator(settings: TrainSettings, folder: Path, describe: str) -> Accelerator:
    """Plain float32 accumulation, whatever the environment says: autocast and loss scaling are not for this loop."""
    accelerator = Accelerator(
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        log_with=list(settings.track) or None,
        project_dir=folder,
    )
    start_trackers(accelerator, settings.track, describe, settings.model_dump())
    return accelerator


def _not_finite(describe: str, row: Mapping[str, Any], records: Sequence[str]) -> str:
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    named = f" The micro-batches at fault hold the records {', '.join(records[:NAMED])}{more}." if records else ""
    return (
        f"{describe}: the loss or its gradient was not finite in step {row['step']} and the {REFUSED_IN_A_ROW - 1} "
        f"before (loss {row['loss']}, gradient norm {row['grad_norm']}). These steps did not touch the weights.{named} "
        "Try a lower learning_rate or precision=float32"
    )
