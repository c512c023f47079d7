"""The structure of the official RISE-CoT trainers: each role a ``generate`` of its own, a picture for every rollout.

Written after `RISE-COT/trainer/grpo_coco_trainer.py` (HSH55/RISE, 4ff62cc), which does not run as published: for one
picture at a time G rationales, G reconstructions that see the picture, a forward pass of the policy and one of a whole
reference model (paid though beta is 0) over full rows with logits at every position; gradient on the answer's tokens.
So a picture goes 4 G times through the tower. In its favour: no repetition penalty, one fused optimizer, and today's
transformers. Left out: the cleaning of rationales, and gradient checkpointing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rise_vlm.bench import case as cases
from rise_vlm.bench.case import ANNOTATION, REASON, RECONSTRUCT, Case
from rise_vlm.bench.meter import Meter, Step
from rise_vlm.bench.processor import stills_processor
from rise_vlm.engine.objective import advantages, k3
from rise_vlm.policy.loading import load_checkpoint

Inputs = dict[str, Tensor]


class Official:
    """Closed-loop steps as the official code is built; ``steps`` grows by one with each."""

    name = "official"

    def __init__(self, case: Case, folder: Path, rounds: int) -> None:
        self.case, self.rounds = case, rounds
        self.steps: list[Step] = []
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load_checkpoint(case.model, dtype=case.dtype, max_pixels=None)
        self.side = cases.fit_pictures(case, loaded.family)
        self.model = loaded.model.to(self.device).eval()
        self.reference = copy.deepcopy(self.model).requires_grad_(False)
        loaded.family.tower(self.model).requires_grad_(case.tower == "trained")
        self.processor = stills_processor(loaded.family.processor, loaded.tokenizer)
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=cases.STILL, weight_decay=0.0, fused=True)
        self.meter = Meter(self.device)
        for model in (self.model, self.reference):
            self.meter.watch(loaded.family, model)
        self._texts: list[str] = []
        self._last: tuple[Inputs, Tensor] | None = None

    def run(self, after: Callable[[], None] = lambda: None) -> None:
        """All rounds; ``after`` is called behind each."""
        for number in range(self.rounds):
            drawn = cases.pictures(self.case, number, self.side)
            self.meter.start()
            for picture in drawn:
                self._accumulate(picture)
            torch.nn.utils.clip_grad_norm_([w for w in self.model.parameters() if w.requires_grad], 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.meter.lap("update")
            self.steps.append(self.meter.stop())
            after()

    def _accumulate(self, picture: Image.Image) -> None:
        """Rollouts, rewards and gradient of one picture, as the official code takes them one by one."""
        case, tokenizer = self.case, self.processor.tokenizer
        asked = self._inputs([REASON.format(annotation=ANNOTATION)] * case.group, picture)
        rationales = tokenizer.batch_decode(self._generate(asked, case.completion_tokens), skip_special_tokens=True)
        self.meter.lap("reason")
        self._texts = [RECONSTRUCT.format(rationale=one) for one in rationales]
        asked = self._inputs(self._texts, picture)
        answers = self._generate(asked, case.answer_tokens)
        self.meter.lap("reconstruct")
        own = self._logprobs(self.model, asked, answers)
        self.meter.lap("update")
        with torch.no_grad():
            reference = self._logprobs(self.reference, asked, answers)
        written = tokenizer.batch_decode(answers, skip_special_tokens=True)
        gains = advantages(torch.tensor([[cases.reward(text) for text in written]]))[0].to(self.device)
        self.meter.lap("score")
        per_token = (own - own.detach()).exp() * gains[:, None] - case.beta * k3(own, reference)
        (-per_token.mean() / case.prompts).backward()
        self.meter.lap("update")
        self._last = asked, answers

    def rollouts(self) -> tuple[list[tuple[str, Image.Image | None]], list[list[Tensor]]]:
        """Reconstruct prompts (text, picture) of the last picture and the answer sampled for each."""
        assert self._last is not None
        picture = cases.pictures(self.case, self.rounds - 1, self.side)[-1]
        return [(text, picture) for text in self._texts], [[ids] for ids in self._last[1].cpu()]

    def logprobs(self) -> Tensor:
        """Log-probs (G, C) of those answers."""
        assert self._last is not None
        with torch.no_grad():
            return self._logprobs(self.model, *self._last)

    def _inputs(self, texts: list[str], picture: Image.Image) -> Inputs:
        """Tensors of prompts, each with its own copy of the picture, padded on the left."""
        turns = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for text in texts]
        rendered = [
            self.processor.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
            for turn in turns
        ]
        made = self.processor(text=rendered, images=[[picture]] * len(texts), padding=True, return_tensors="pt")
        return {name: tensor.to(self.device) for name, tensor in made.items()}

    def _generate(self, inputs: Inputs, tokens: int) -> Tensor:
        """Completions (G, ``tokens``)."""
        from transformers import GenerationConfig

        stop, pad = self.processor.tokenizer.eos_token_id, self.processor.tokenizer.pad_token_id
        how = GenerationConfig(
            do_sample=True,
            top_k=0,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            eos_token_id=stop,
            pad_token_id=pad,
            suppress_tokens=[self.processor.image_token_id],
        )
        with torch.inference_mode():
            ids = self.model.generate(**inputs, generation_config=how)
        return ids[:, inputs["input_ids"].shape[1] :].clone()

    def _logprobs(self, model: Any, inputs: Inputs, completions: Tensor) -> Tensor:
        """Log-probs (G, C) of completions, from full rows with logits everywhere, a row at a time."""
        ids = torch.cat([inputs["input_ids"], completions], dim=1)
        more = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
        for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0)):
            if name in more:
                more[name] = torch.cat([more[name], more[name].new_full(completions.shape, fill)], dim=1)
        logits = model(input_ids=ids, use_cache=False, **more).logits[:, :-1]
        found = [row.log_softmax(-1).gather(1, own[1:, None])[:, 0] for row, own in zip(logits, ids, strict=True)]
        return torch.stack(found)[:, -completions.shape[1] :]
