"""Pre-trains the built-in model from nothing: ``python -m rise_vlm.policy.tiny.train --out DIR``.

Reads as prose: tokenizer from a sample of the corpus, network, Muon for the matrices and AdamW for the rest, a
warm-up / constant / linear-to-zero schedule, weights in bfloat16 with float32 masters (in float32 on processors that
do not multiply bfloat16), one process per core with averaged gradients. An interrupted run continues from its last
checkpoint. Left out: evaluation (``evaluate.py``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedTokenizerFast, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2_vl

from rise_vlm.console import progress, say
from rise_vlm.data.card import Card
from rise_vlm.policy.loading import pick_dtype
from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.batches import Batch, Batches, Chunk, patches
from rise_vlm.policy.tiny.build import (
    IMAGE_SIDE,
    MORE,
    build_model,
    grow_model,
    grow_tokenizer,
    image_processor,
    pieces_of,
    train_tokenizer,
)
from rise_vlm.policy.tiny.looks import SIGNS, SLOTS, WORDS
from rise_vlm.policy.tiny.masters import CPU, Masters
from rise_vlm.policy.tiny.rows import FRAME, SIDE, record_of
from rise_vlm.tasks import make_task
from rise_vlm.worlds import affect, errand

WARMUP, DECAY = 0.03, 0.4
EMPTY = 0.05
"""What a slot with nothing in it weighs among those of a picture; most are."""
SCALE = 0.2


def corpus_texts(count: int, seed: int = 1) -> Iterable[str]:
    """Prompts and completions of ``count`` scenes, for the tokenizer; of the worlds' queries only the words."""
    for world, scene, rng in itertools.islice(corpus.scenes(seed), count):
        for row in corpus.rows(world, scene, 3, rng):
            yield row.prompt
            yield row.completion
    for query in errand.QUERIES.values():
        yield from [text for text in (*query.phrasings, *query.held_out) for _ in range(3)]
    yield from [f"{affect.QUESTION}\n{', '.join(affect.CLASSES)}"] * 50


def fine_texts(count: int, seed: int = 2) -> Iterable[str]:
    """Prompts and completions about ``count`` scenes at full size, and the words of their questions and reasons."""
    for world, scene, rng in itertools.islice(corpus.scenes(seed, shares=corpus.FINE), count):
        for row in corpus.rows(world, scene, 4, rng):
            yield row.prompt
            yield row.completion
        drawn = corpus.WORLDS[world]
        asked = record_of(drawn.question(scene), None)
        yield make_task(Card(name=drawn.NAME, task=drawn.TASK)).prompt("think", asked, FRAME)
        yield drawn.rationale(scene)


def bmm_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """Attention as two batched products: in bfloat16 on a CPU its backward takes a third of the fused kernel's time."""
    rows, heads, length, size = query.shape
    shared, keys = key.shape[1], key.shape[2]
    stacked = (query * scaling).reshape(rows * shared, heads // shared * length, size)
    scores = torch.bmm(stacked, key.reshape(rows * shared, keys, size).transpose(1, 2)).view(rows, heads, length, keys)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    mixed = torch.bmm(weights.view(rows * shared, -1, keys), value.reshape(rows * shared, keys, size))
    return mixed.view(rows, heads, length, size).transpose(1, 2).contiguous(), None


def tower_attention(
    self: qwen2_vl.VisionAttention,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    **_: object,
) -> Tensor:
    """The tower's attention for a batch of pictures of one size, all at once instead of one by one."""
    total, pictures = hidden_states.shape[0], cu_seqlens.numel() - 1
    split = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).permute(1, 0, 2, 3)
    query, key = qwen2_vl.apply_rotary_pos_emb_vision(split[0], split[1], *position_embeddings)
    query, key, value = (
        part.reshape(pictures, total // pictures, self.num_heads, -1).transpose(1, 2) for part in (query, key, split[2])
    )
    if query.dtype == torch.bfloat16:
        mixed = bmm_attention(self, query, key, value, None, self.scaling)[0]
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scaling).transpose(1, 2)
    return self.proj(mixed.reshape(total, -1))


def quicken(model: Qwen2VLForConditionalGeneration) -> None:
    """The same network, computed faster on a CPU: batched attention, patch embedding as one matrix product."""
    if model.dtype == torch.bfloat16:
        AttentionInterface.register("bmm", bmm_attention)
        model.model.language_model.config._attn_implementation = "bmm"
    embed = model.model.visual.patch_embed
    proj = embed.proj
    embed.forward = lambda hidden_states: F.linear(hidden_states.to(proj.weight.dtype), proj.weight.flatten(1))
    for module in model.model.visual.modules():
        if isinstance(module, qwen2_vl.VisionAttention):
            module.forward = MethodType(tower_attention, module)


def first_pieces(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The token that each of ``WORDS`` begins with."""
    return [tokenizer.encode(word if word in SIGNS else f" {word}")[0] for word in WORDS]


class Pupil(nn.Module):
    """The model, and beside it what says what an image token shows (`looks`), in the model's own words: the first is to
    be near the embedding of that sign's token, the others after a map of their own. A tower that sees text only through
    what is asked about it does not begin to read, and a word that is there is soon copied. The maps are not shipped.
    """

    def __init__(self, model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.model = model
        size = self._words.shape[1]
        self.reader = nn.Linear(size, (SLOTS - 1) * size).to(model.dtype)
        self.none = nn.Parameter(torch.zeros(size, dtype=model.dtype))
        self.words = first_pieces(tokenizer)

    @property
    def _words(self) -> Tensor:
        return cast(nn.Embedding, self.model.get_input_embeddings()).weight

    def read(self, features: Tensor) -> Tensor:
        """Scores (tokens, `SLOTS`, 1 + `WORDS`) of image tokens (tokens, D)."""
        words = torch.cat([self.none[None], self._words[self.words].detach()])
        slots = torch.cat([features, self.reader(features)], dim=-1).unflatten(-1, (SLOTS, -1))
        return (slots @ words.T).float() * SCALE


def loss_of(pupil: Pupil, batch: Batch) -> Tensor:
    """Weighted next-token loss of a batch and, at full size, that of what each image token shows; each picture passes
    the tower once.
    """
    model = pupil.model
    inner = model.model
    if batch.images is None:
        return sum((_chunk_loss(model, chunk, None) for chunk in batch.chunks), start=torch.zeros(()))
    grid = torch.tensor([[1, batch.images.shape[1] // 14, batch.images.shape[2] // 14]]).expand(len(batch.images), 3)
    pixels = patches(batch.images).type(inner.visual.dtype)
    features = inner.visual(pixels, grid_thw=grid).pooler_output.unflatten(0, (len(batch.images), -1))
    loss = sum((_chunk_loss(model, chunk, features) for chunk in batch.chunks), start=torch.zeros(()))
    if batch.looks is None:
        return loss
    weight = torch.tensor([EMPTY] + [1.0] * len(WORDS))
    return loss + F.cross_entropy(pupil.read(features.flatten(0, 1)).flatten(0, 1), batch.looks.flatten(), weight)


def _chunk_loss(model: Qwen2VLForConditionalGeneration, chunk: Chunk, features: Tensor | None) -> Tensor:
    embedded = model.get_input_embeddings()(chunk.ids)
    if features is not None:
        slots = (chunk.ids == model.config.image_token_id).unsqueeze(-1)
        embedded = embedded.masked_scatter(slots, features[chunk.shown].to(embedded.dtype))
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        position_ids=chunk.positions,
        attention_mask=chunk.mask(embedded.dtype),
        use_cache=False,
    ).last_hidden_state
    weights = chunk.weights[:, 1:]
    scored = weights > 0
    logits = model.lm_head(hidden[:, :-1][scored]).float()
    return (F.cross_entropy(logits, chunk.ids[:, 1:][scored], reduction="none") * weights[scored]).sum()


def share_of(step: int, steps: int) -> float:
    """The learning rate's share of its peak: linear up, constant, linear down to zero."""
    return min(1.0, (step + 1) / (WARMUP * steps), (steps - step) / (DECAY * steps))


def save_model(
    model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, out: Path, side: int = IMAGE_SIDE
) -> None:
    """The transformers folder: weights in bfloat16, tokenizer, image processor (``build.image_processor``), chat
    template.
    """
    out.mkdir(parents=True, exist_ok=True)
    deepcopy(model).bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
    image_processor(side).save_pretrained(out)


@dataclass(frozen=True)
class Settings:
    """One pre-training run through the curriculum in ``processes`` processes."""

    out: Path
    rate: float
    seed: int
    save_every: int
    halt: int
    processes: int
    init: Path | None
    curriculum: str
    chosen: range | None = None

    @property
    def phases(self) -> dict[int, corpus.Phase]:
        """The phases of the curriculum, or those chosen, by their number in it; each has a stream of scenes of its own,
        and those of `tiny_fine` go on from `tiny`'s.
        """
        before = 0 if self.curriculum == "tiny" else len(corpus.TINY)
        every = dict(enumerate(corpus.CURRICULA[self.curriculum], start=1))
        return {before + n - 1: phase for n, phase in every.items() if self.chosen is None or n in self.chosen}

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases.values())

    @property
    def side(self) -> int:
        """Pixels, of the pictures that the model will be shown."""
        return SIDE if any(phase.fine or phase.pages for phase in self.phases.values()) else IMAGE_SIDE

    @property
    def work(self) -> Path:
        """Where the log, the tokenizer and the state to continue from are kept, beside the model's folder."""
        return self.out.with_name(self.out.name + "-work")


def batch_of(tokenizer: PreTrainedTokenizerFast, settings: Settings, step: int, rank: int) -> Batch:
    """The batch of process ``rank`` in ``step``: process r of n takes every n-th one of the phase."""
    for number, phase in settings.phases.items():
        if step < phase.steps:
            return Batches(tokenizer, phase, settings.seed * 100 + number)[step * settings.processes + rank]
        step -= phase.steps
    raise IndexError("the curriculum is over")


def train(rank: int, settings: Settings) -> None:
    """Pre-train as process ``rank``; process 0 writes the log, the state and the model."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.processes))
    work, lead = settings.work, rank == 0
    distributed.init_process_group(
        "gloo", init_method=f"file://{work.resolve()}/meeting", rank=rank, world_size=settings.processes
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    if settings.init:
        model = Qwen2VLForConditionalGeneration.from_pretrained(settings.init)
    else:
        model = build_model(tokenizer, settings.seed)
    if len(tokenizer) > pieces_of(model):
        grow_model(model, tokenizer)
    nn.Module.to(model, pick_dtype("auto", CPU))
    quicken(model)
    torch.manual_seed(settings.seed)
    pupil = Pupil(model, tokenizer)
    masters, first = Masters(pupil, settings.rate), 0
    if (work / "state.safetensors").exists():
        state = load_file(work / "state.safetensors")
        first = int(state.pop("step"))
        masters.load(state)
        say(f"continuing from step {first}")
    steps = settings.steps
    last = min(steps, settings.halt)
    with progress("pre-training", last - first) as bar, (work / f"log-{rank}.jsonl").open("a") as log:
        for step in range(first, last):
            begun = time.monotonic()
            loss = loss_of(pupil, batch_of(tokenizer, settings, step, rank))
            loss.backward()
            norm = masters.step(share_of(step, steps), settings.processes)
            row = {"step": step, "loss": loss.item(), "grad_norm": norm, "seconds": time.monotonic() - begun}
            log.write(json.dumps(row) + "\n")
            log.flush()
            if lead:
                bar.update(loss=row["loss"])
            if lead and ((step + 1) % settings.save_every == 0 or step + 1 == last):
                save_file(masters.state() | {"step": torch.tensor(step + 1)}, work / "state.tmp")
                (work / "state.tmp").replace(work / "state.safetensors")
                save_model(model, tokenizer, settings.out, settings.side)
    distributed.destroy_process_group()


def span(text: str) -> range:
    """``4`` or ``2:3``, both ends included and counted from 1."""
    first, _, last = text.partition(":")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    """The command line of the pre-training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--halt", type=int, default=1 << 30, help="stop early at this step, for trials")
    parser.add_argument("--processes", type=int, default=2, help="single-threaded workers that share each step")
    parser.add_argument("--curriculum", choices=corpus.CURRICULA, default="tiny", help="tiny_fine: with --init TINY")
    parser.add_argument("--init", type=Path, help="a model folder whose weights and tokenizer to begin with")
    parser.add_argument(
        "--phases", type=span, dest="chosen", help="only these of the curriculum, such as 4 or 2:3; with --init"
    )
    parser.add_argument("--grow", action="store_true", help="begin with more pieces, of words of the fine worlds")
    given = vars(parser.parse_args())
    grow = given.pop("grow")
    settings = Settings(**given)
    settings.work.mkdir(parents=True, exist_ok=True)
    (settings.work / "meeting").unlink(missing_ok=True)
    if settings.init and not (settings.work / "tokenizer").exists():
        known = PreTrainedTokenizerFast.from_pretrained(settings.init)
        grown = grow_tokenizer(known, fine_texts(2000), MORE) if grow else known
        grown.save_pretrained(settings.work / "tokenizer")
    if not (settings.work / "tokenizer").exists():
        say("learning the tokenizer")
        train_tokenizer(corpus_texts(6000)).save_pretrained(settings.work / "tokenizer")
    pieces = first_pieces(PreTrainedTokenizerFast.from_pretrained(settings.work / "tokenizer"))
    if settings.side == SIDE and len(set(pieces)) < len(WORDS):
        parser.error("things that look different have names that begin with one token: --grow makes words of them")
    spawn(train, (settings,), nprocs=settings.processes)


if __name__ == "__main__":
    main()
