"""TRL's side: ``GRPOTrainer.train()`` as it is, on the transformers backend, paused between two steps.

Its own loop drives: preprocessing, generation, rewards, loss, backward pass, clipping, optimizer. A callback takes the
time from the beginning of a step to its end; fetching the rows (its data loader) lies before, logging behind.
All options are TRL's defaults but for what a case says, full float32 or bfloat16 weights without autocast (TRL's
default is autocast), and gradient checkpointing, which is off unless asked for: TRL is faster and larger so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rise_vlm.bench import case as cases
from rise_vlm.bench.case import THINK, Case
from rise_vlm.bench.meter import Meter, Step
from rise_vlm.bench.processor import stills_processor
from rise_vlm.errors import UserError
from rise_vlm.policy.loading import load_checkpoint


def require() -> None:
    """Raises UserError where TRL is not installed."""
    if importlib.util.find_spec("trl") is None:
        raise UserError(
            "rise bench step compares with TRL, which is not installed: pip install trl==1.16.0, or measure ours only "
            "with --alone."
        )


class Trl:
    """GRPO steps of TRL; ``steps`` grows by one with each."""

    name = "trl"

    def __init__(self, case: Case, folder: Path, rounds: int) -> None:
        self.case, self.rounds = case, rounds
        self.steps: list[Step] = []
        loaded = load_checkpoint(case.model, dtype=case.dtype, max_pixels=None)
        self.side = cases.fit_pictures(case, loaded.family)
        loaded.family.tower(loaded.model).requires_grad_(case.tower == "trained")
        processor = stills_processor(loaded.family.processor, loaded.tokenizer)
        self.trainer = self._trainer(loaded.model, processor, folder / self.name)
        self.meter = Meter(self.trainer.accelerator.device)
        self.meter.watch(loaded.family, loaded.model)
        if case.beta > 0:
            self.meter.watch(loaded.family, self.trainer.accelerator.unwrap_model(self.trainer.ref_model))
        self._lap_behind("_generate", "rollout")
        self._lap_behind("_generate_and_score_completions", "score")
        self._after: Callable[[], None] = lambda: None
        self._made: dict[str, Any] = {}

    def _trainer(self, model: Any, processor: Any, folder: Path) -> Any:
        from datasets import Dataset
        from trl.trainer.grpo_config import GRPOConfig
        from trl.trainer.grpo_trainer import GRPOTrainer

        case, rounds = self.case, range(self.rounds)
        images = [picture for number in rounds for picture in cases.pictures(case, number, self.side)]
        config = GRPOConfig(
            output_dir=str(folder),
            max_steps=self.rounds,
            num_generations=case.group,
            per_device_train_batch_size=case.prompts * case.group,
            max_completion_length=case.completion_tokens,
            generation_kwargs={"min_new_tokens": case.completion_tokens},
            beta=case.beta,
            learning_rate=cases.STILL,
            lr_scheduler_type="constant",
            gradient_checkpointing=case.checkpointing,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
            shuffle_dataset=False,
            seed=case.seed,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        return GRPOTrainer(
            model=model,
            reward_funcs=_rewards,
            args=config,
            train_dataset=Dataset.from_dict(
                {"prompt": [[{"role": "user", "content": THINK}]] * len(images), "image": images}
            ),
            processing_class=processor,
            callbacks=[_stopwatch(self)],
        )

    def _lap_behind(self, method: str, phase: str) -> None:
        """Let a method of the trainer end a phase; its result is kept for ``logprobs``."""
        inner = getattr(self.trainer, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            made = inner(*args, **kwargs)
            self.meter.lap(phase)
            self._made = dict(made) if isinstance(made, dict) else {}
            return made

        setattr(self.trainer, method, timed)

    def run(self, after: Callable[[], None] = lambda: None) -> None:
        """All rounds; ``after`` is called behind each."""
        self._after = after
        self.trainer.train()

    def begin(self) -> None:
        """A step begins."""
        self.meter.start()

    def end(self) -> None:
        """A step is over: the other side's turn."""
        self.meter.lap("update")
        self.steps.append(self.meter.stop())
        self._after()

    def rollouts(self) -> tuple[list[tuple[str, Image.Image | None]], list[list[Tensor]]]:
        """Prompts (text, picture) of the last round and the completions sampled for each."""
        images = cases.pictures(self.case, self.rounds - 1, self.side)
        ids = list(self._made["completion_ids"].cpu())
        size = self.case.group
        return [(THINK, image) for image in images], [ids[i : i + size] for i in range(0, len(ids), size)]

    def logprobs(self) -> Tensor:
        """Log-probs (N, C) of the last round's completions, by the trainer's own method."""
        made = self._made
        names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
        with torch.no_grad():
            logprobs, _, _ = self.trainer._get_per_token_logps_and_entropies(
                self.trainer.model,
                torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1),
                torch.cat([made["prompt_mask"], made["completion_mask"]], dim=1),
                made["completion_ids"].shape[1],
                **{name: made[name] for name in names if name in made},
            )
        return logprobs


def _rewards(completions: list[list[dict[str, str]]], **_: Any) -> list[float | None]:
    """In TRL's form, where None would stand for no reward."""
    return [cases.reward(turns[0]["content"]) for turns in completions]


def _stopwatch(side: Trl) -> Any:
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            side.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            side.end()

    return Stopwatch()
