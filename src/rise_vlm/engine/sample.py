"""Rollouts: prefill each distinct prompt once, decode its completions in a batch that shrinks and refills.

All random numbers are drawn up front, one for each sequence and step, and turned into tokens by the inverse of the
cumulative distribution. So the result does not depend on how the batch was cut, compacted or refilled.
The checkpoint's own generation settings are ignored. Left out: beam search, penalties, stop strings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rise_vlm.engine.cache import CatchCache, SlotCache
from rise_vlm.errors import UserError
from rise_vlm.policy.policy import Policy
from rise_vlm.policy.prompt import Prompt


@dataclass(frozen=True)
class Rollout:
    """One sampled completion.

    ``ids`` (C,) int64 with the stop token if one was sampled; ``logprobs`` (C,) float32 of the distribution sampled
    from (at temperature 0 those of temperature 1); ``text`` without special tokens; ``finished`` by a stop token.
    """

    ids: Tensor
    logprobs: Tensor
    text: str
    finished: bool


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from logits."""

    temperature: float
    top_p: float | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise UserError(f"temperature: {self.temperature} is below 0.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p: {self.top_p} is not in (0, 1].")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k: {self.top_k} is below 1.")

    def draw(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (R,) and their log-probs (R,) from logits (R, V) float32 and numbers (R,) float64 in [0, 1)."""
        if self.temperature == 0:
            logprobs = logits.log_softmax(-1)
            tokens = logits.argmax(-1)
        else:
            logprobs = self._filter(logits / self.temperature).log_softmax(-1)
            # float64: in float32 the tail of a large vocabulary is lost once the sum is near 1.
            cumulative = logprobs.double().exp_().cumsum(-1)
            total = cumulative[:, -1]
            below = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
            # The first entry above: never one of probability 0, whose sum equals its neighbour's.
            tokens = torch.searchsorted(cumulative, below[:, None], right=True)[:, 0]
        return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]

    def _filter(self, logits: Tensor) -> Tensor:
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            ordered, order = logits.softmax(-1).sort(dim=-1, descending=True)
            beyond = ordered.cumsum(-1) - ordered >= self.top_p
            logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
        return logits


def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    n: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator,
    top_p: float | None = None,
    top_k: int | None = None,
    max_rows: int = 256,
    batch_tokens: int = 1 << 17,
) -> list[list[Rollout]]:
    """``n`` rollouts of each prompt, in the prompts' order.

    ``max_rows`` sequences and ``batch_tokens`` cached tokens at most are decoded at once. Temperature 0 is greedy.
    The same generator state gives the same rollouts, whatever the bounds.

    Raises:
        UserError: a prompt and its completion would not fit the model's context, or a setting is out of range.
    """
    how = Sampling(temperature, top_p, top_k)
    _check(policy, prompts, n, max_new_tokens)
    if not prompts or n == 0:
        return [[] for _ in prompts]
    with torch.no_grad(), _evaluating(policy):
        uniforms = torch.rand(
            len(prompts) * n, max_new_tokens, dtype=torch.float64, generator=generator, device=generator.device
        )
        length = max(len(p) for p in prompts) + max_new_tokens
        slots = max(1, min(len(prompts) * n, max_rows, batch_tokens // length))
        decoder = _Decoder(policy, how, prompts, n, max_new_tokens, uniforms.to(policy.device), slots, batch_tokens)
        return decoder.run()


class _evaluating:
    """Dropout off while the block runs."""

    def __init__(self, policy: Policy) -> None:
        self.model, self.was = policy.model, policy.model.training

    def __enter__(self) -> None:
        if self.was:
            self.model.eval()

    def __exit__(self, *_: object) -> None:
        if self.was:
            self.model.train()


def _check(policy: Policy, prompts: Sequence[Prompt], n: int, max_new_tokens: int) -> None:
    if max_new_tokens < 1 or n < 0:
        raise UserError(f"cannot sample {n} completions of {max_new_tokens} tokens.")
    for index, prompt in enumerate(prompts):
        if len(prompt) + max_new_tokens > policy.context:
            raise UserError(
                f"prompt {index + 1} ('{prompt.text[:60]}...') has {len(prompt)} tokens, and with {max_new_tokens} new "
                f"ones it is over the model's {policy.context}. Lower max_pixels or max_new_tokens, or shorten it."
            )


@dataclass
class _Prefilled:
    """A batch of prefilled prompts that still have sequences to place."""

    caught: CatchCache
    logits: Tensor  # (R, V) after each prompt's last token


class _Decoder:
    """The state of one call of ``sample``. Sequence ``s`` is completion ``s % n`` of prompt ``s // n``."""

    def __init__(
        self,
        policy: Policy,
        how: Sampling,
        prompts: Sequence[Prompt],
        n: int,
        max_new_tokens: int,
        uniforms: Tensor,
        slots: int,
        batch_tokens: int,
    ) -> None:
        self.policy, self.how, self.prompts, self.n, self.limit = policy, how, prompts, n, max_new_tokens
        self.uniforms, self.slots, self.batch_tokens = uniforms, slots, batch_tokens
        device = policy.device
        total = len(prompts) * n
        self.ids = torch.zeros(total, max_new_tokens, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(total, max_new_tokens, device=device)
        self.counts = torch.zeros(total, dtype=torch.long, device=device)
        self.stops = torch.tensor(policy.stop_ids, dtype=torch.long, device=device)
        layers = policy.base.config.get_text_config().num_hidden_layers
        length = max(len(p) for p in prompts) + max_new_tokens
        self.cache = SlotCache(layers, slots, length, device, policy.dtype)
        self.queue = deque(self._by_identity())
        # Per active slot: its sequence, its last token, the rope position of that token.
        self.sequence = torch.zeros(0, dtype=torch.long, device=device)
        self.token = torch.zeros(0, dtype=torch.long, device=device)
        self.position = torch.zeros(0, dtype=torch.long, device=device)

    def _by_identity(self) -> list[list[int]]:
        """Sequences grouped by what the model sees, so that equal prompts share a prefill."""
        groups: dict[object, list[int]] = {}
        for index, prompt in enumerate(self.prompts):
            groups.setdefault(prompt.identity, []).extend(range(index * self.n, (index + 1) * self.n))
        return list(groups.values())

    def run(self) -> list[list[Rollout]]:
        while self.queue or len(self.sequence):
            free = self.slots - len(self.sequence)
            if self.queue and free >= max(1, self.slots // 4):
                self._refill(free)
            if len(self.sequence):
                self._step()
        return self._rollouts()

    def _refill(self, free: int) -> None:
        """Prefill queued prompts and place their sequences in free slots."""
        chosen: list[list[int]] = []
        tokens = 0
        while self.queue and free > 0:
            sequences = self.queue[0]
            length = len(self.prompts[sequences[0] // self.n])
            if chosen and tokens + length > self.batch_tokens:
                break
            tokens += length
            take, rest = sequences[:free], sequences[free:]
            chosen.append(take)
            free -= len(take)
            if rest:
                self.queue[0] = rest
            else:
                self.queue.popleft()
        self._place(chosen)

    def _place(self, chosen: list[list[int]]) -> None:
        prompts = [self.prompts[sequences[0] // self.n] for sequences in chosen]
        caught, logits = self._prefill(prompts)
        device = self.policy.device
        source = torch.tensor([i for i, s in enumerate(chosen) for _ in s], device=device)
        sequence = torch.tensor([s for sequences in chosen for s in sequences], device=device)
        lengths = torch.tensor([len(p) for p in prompts], device=device)[source]
        following = torch.tensor([p.next_position for p in prompts], device=device)[source]
        self.cache.fill(caught, source, lengths)
        self.sequence = torch.cat([self.sequence, sequence])
        self.position = torch.cat([self.position, following - 1])
        self.token = torch.cat([self.token, torch.zeros_like(sequence)])
        self._emit(logits[source], first=len(self.sequence) - len(sequence))

    def _prefill(self, prompts: Sequence[Prompt]) -> tuple[CatchCache, Tensor]:
        """Keys and values of right-padded prompts and the logits (R, V) that follow each."""
        policy = self.policy
        features = policy.image_features(prompts, grad=False)
        ids, positions, lengths = pad_prompts(prompts, policy.device)
        embeds = policy.embed(ids, [[features[image.key] for image in p.images] for p in prompts])
        caught = CatchCache(len(self.cache.layers))
        # Padding is on the right, so the causal rule alone keeps it out of sight.
        hidden = policy.hidden(embeds, positions, None, caught)
        last = hidden[torch.arange(len(prompts), device=policy.device), lengths - 1]
        return caught, policy.logits(last)

    def _step(self) -> None:
        """Decode one token of each active sequence."""
        cache, policy = self.cache, self.policy
        mask = cache.begin_step(int(cache.columns.max()) + 1)
        embeds = policy.base.get_input_embeddings()(self.token[:, None])
        axes = self.prompts[0].positions.shape[0]
        hidden = policy.hidden(embeds, self.position.expand(axes, -1).unsqueeze(-1), mask, cache)
        cache.end_step()
        self._emit(policy.logits(hidden[:, -1]), first=0)

    def _emit(self, logits: Tensor, first: int) -> None:
        """Draw a token for the slots from ``first`` on, record it, and drop the sequences that end."""
        sequence = self.sequence[first:]
        step = self.counts[sequence]
        token, logprob = self.how.draw(logits, self.uniforms[sequence, step])
        self.ids[sequence, step] = token
        self.logprobs[sequence, step] = logprob
        self.counts[sequence] = step + 1
        self.token[first:] = token
        self.position[first:] += 1
        done = torch.isin(token, self.stops) | (step + 1 >= self.limit)
        if bool(done.any()):
            alive = torch.ones(len(self.sequence), dtype=torch.bool, device=done.device)
            alive[first:] = ~done
            order = self.cache.keep(alive.nonzero().flatten())
            self.sequence, self.token, self.position = self.sequence[order], self.token[order], self.position[order]

    def _rollouts(self) -> list[list[Rollout]]:
        ids, logprobs, counts = self.ids.cpu(), self.logprobs.cpu(), self.counts.tolist()
        made = [ids[s, :count].clone() for s, count in enumerate(counts)]
        texts = self.policy.tokenizer.batch_decode(made, skip_special_tokens=True)
        stops = set(self.policy.stop_ids)
        rollouts = [
            Rollout(tokens, logprobs[s, : len(tokens)].clone(), text, int(tokens[-1]) in stops)
            for s, (tokens, text) in enumerate(zip(made, texts, strict=True))
        ]
        return [rollouts[i * self.n : (i + 1) * self.n] for i in range(len(self.prompts))]


def pad_prompts(prompts: Sequence[Prompt], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids (R, L), positions (axes, R, L) and lengths (R,) of prompts."""
    lengths = torch.tensor([len(p) for p in prompts])
    width = int(lengths.max())
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    positions = torch.zeros(prompts[0].positions.shape[0], len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt.input_ids
        positions[:, row, : len(prompt)] = prompt.positions
    return ids.to(device), positions.to(device), lengths.to(device)
