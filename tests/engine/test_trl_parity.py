"""Our objective on the packed path against TRL's own GRPOTrainer: same weights, pictures, completions and rewards.

TRL runs its real code from the chat messages on: its templates and image inputs, its advantages and reference model,
its loss and the gradient of every weight, tower included. Only its generation is replaced, by our completions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SPECIAL, picture, save_tiny
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.engine.objective import PolicyKind, Totals, advantages, policy_loss
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.policy.policy import Policy

pytest.importorskip("trl", reason="TRL (extra 'dev') is the oracle of this test")

G, LIMIT, CLIP_LOW, CLIP_HIGH = 3, 12, 0.2, 0.3
TEXTS = ["Which class is it?", "How many, and why? Say it at length."]
REWARDS = torch.tensor([[1.0, 0.25, 0.0], [0.5, 0.5, 0.9]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("trl") / "model")


def trl_trainer(folder: Path, kind: PolicyKind, beta: float, unbiased_kl: bool, work: Path) -> Any:
    """TRL's trainer for the checkpoint in ``folder``, on the CPU in float32, rewarding as REWARDS says."""
    from datasets import Dataset
    from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from trl import GRPOConfig, GRPOTrainer

    class Processor(Qwen2VLProcessor):
        """TRL insists on a processor; the stock one needs torchvision for videos, which nobody asked for."""

        def __init__(self, image_processor: Any, tokenizer: Any) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id, self.video_token_id = (SPECIAL.index(t) for t in (self.image_token, self.video_token))
            self.image_ids, self.video_ids = [self.image_token_id], [self.video_token_id]
            self.image_processor, self.tokenizer = image_processor, tokenizer
            self.chat_template = tokenizer.chat_template

    policy = Policy.load(str(folder), device="cpu")
    policy.tokenizer.padding_side = "left"
    config = GRPOConfig(
        output_dir=str(work),
        loss_type="grpo" if kind == "gspo" else kind,
        importance_sampling_level="sequence" if kind == "gspo" else "token",
        epsilon=CLIP_LOW,
        epsilon_high=1 + CLIP_HIGH if kind == "cispo" else CLIP_HIGH,  # TRL's bound is on the ratio itself there
        beta=beta,
        use_bias_correction_kl=unbiased_kl,
        num_generations=G,
        per_device_train_batch_size=len(TEXTS) * G,
        max_completion_length=LIMIT,
        temperature=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
    )
    trainer = GRPOTrainer(
        model=Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=lambda completions, **_: REWARDS.flatten().tolist(),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": "unused"}]] * 6}),
        processing_class=Processor(Qwen2VLImageProcessorPil.from_pretrained(folder), policy.tokenizer),
    )
    trainer.current_gradient_accumulation_steps = 1  # set by Trainer.train() in a real run
    return trainer


def completions() -> list[list[Tensor]]:
    """For each prompt G random completions of 1 to LIMIT tokens; some end in the stop token, some are cut off."""
    generator = torch.Generator().manual_seed(3)
    lengths = [[5, 1, LIMIT], [9, LIMIT, 3]]
    drawn = [[torch.randint(len(SPECIAL), 263, (n,), generator=generator) for n in row] for row in lengths]
    for ids in (drawn[0][0], drawn[0][1], drawn[1][2]):
        ids[-1] = SPECIAL.index("<|im_end|>")
    return drawn


def drift(trained: nn.Module) -> None:
    """Move the weights off the checkpoint's, so that policy and reference differ; the same move each time."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


def off_policy(logprobs: Tensor) -> Tensor:
    """Old log-probs far enough from the present ones (6, LIMIT) for both clips to bite."""
    return logprobs.detach() + torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(7)) * 0.4


def trl_result(trainer: Any, images: list[Any], drawn: list[list[Tensor]]) -> tuple[Tensor, dict[str, Tensor], Any]:
    """TRL's loss, gradients and inputs."""
    drift(trainer.model)
    trainer.model.train()
    messages = [{"prompt": [{"role": "user", "content": text}]} for text in TEXTS]
    rows = [message | ({"image": image} if image else {}) for message, image in zip(messages, images, strict=True)]
    flat = [ids.tolist() for group in drawn for ids in group]
    trainer._generate_single_turn = lambda *args, **kwargs: (flat, None)
    inputs = trainer._generate_and_score_completions([row for row in rows for _ in range(G)])
    inputs["old_per_token_logps"] = off_policy(trl_logprobs(trainer, inputs))
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}, inputs


def trl_logprobs(trainer: Any, inputs: dict[str, Any]) -> Tensor:
    names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
    with torch.no_grad():
        logprobs, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].shape[1],
            **{name: inputs[name] for name in names if name in inputs},
        )
    return logprobs


def our_result(
    folder: Path, images: list[Any], drawn: list[list[Tensor]], old_logprobs: Tensor, **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Our loss and gradients: one packed row for each group, each group a micro-batch of its own."""
    policy = Policy.load(str(folder), freeze_tower=False, dtype="float32", device="cpu", keep_reference=True)
    policy.banned_ids = policy.banned_ids[:0]  # TRL bans nothing
    drift(policy.model)
    assert policy.packs
    groups = [
        Group(policy.encode(text, [image] if image else []), ids)
        for text, image, ids in zip(TEXTS, images, drawn, strict=True)
    ]
    masks = [pad_sequence([torch.ones(len(ids)) for ids in group], batch_first=True) for group in drawn]
    totals, gains = Totals.of(masks, completion_limit=LIMIT), advantages(REWARDS)
    total = torch.zeros(())
    for i, group in enumerate(groups):
        width = masks[i].shape[1]
        reference = None
        if options["beta"]:
            with policy.reference():
                reference = completion_logprobs(policy, [group], grad=False)[0]
        loss = policy_loss(
            completion_logprobs(policy, [group], grad=True)[0],
            old_logprobs[i * G : (i + 1) * G, :width],
            reference,
            gains[i],
            masks[i],
            clip_low=CLIP_LOW,
            clip_high=CLIP_HIGH,
            totals=totals,
            **options,
        )
        loss.value.backward()
        total = total + loss.value.detach()
    return total, {n: p.grad for n, p in policy.model.named_parameters() if p.grad is not None}


KINDS: tuple[PolicyKind, ...] = ("grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo")
CASES = [(kind, beta, True, True) for kind in KINDS for beta in (0.0, 0.04)]
CASES += [("grpo", 0.04, False, True), ("gspo", 0.04, False, True), ("dapo", 0.04, True, False)]


@pytest.mark.parametrize(("kind", "beta", "unbiased_kl", "pictured"), CASES)
def test_loss_and_gradient_are_trls(
    folder: Path, kind: PolicyKind, beta: float, unbiased_kl: bool, pictured: bool, tmp_path: Path
) -> None:
    images = [picture(1), picture(2, 84, 56)] if pictured else [None, None]
    drawn = completions()
    trainer = trl_trainer(folder, kind, beta, unbiased_kl, tmp_path)
    expected, expected_gradient, inputs = trl_result(trainer, images, drawn)
    old = inputs["old_per_token_logps"]
    found, gradient = our_result(folder, images, drawn, old, kind=kind, beta=beta, unbiased_kl=unbiased_kl)

    torch.testing.assert_close(inputs["advantages"], advantages(REWARDS).flatten(), rtol=1e-5, atol=1e-6)
    assert abs(expected) > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    norm = torch.stack([g.norm() for g in expected_gradient.values()]).norm()
    assert norm > 1e-2
    assert gradient.keys() == expected_gradient.keys()
    assert any("visual" in name for name in gradient) == pictured
    for name, value in gradient.items():
        assert (value - expected_gradient[name]).norm() < 1e-4 * norm, name
