"""Rollouts: prefill what prompts share once, decode their completions in a batch that shrinks and refills.

All random numbers are drawn up front, one for each sequence and step, and turned into tokens by the inverse of the
cumulative distribution. So the result does not depend on how the batch was cut, compacted or refilled, nor on how many
processes shared it.
The checkpoint's own generation settings are ignored. Left out: beam search, penalties, stop strings.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rise_vlm import ranks
from rise_vlm.engine.cache import DecodeCache, SlotCache
from rise_vlm.engine.prefill import Prefilled, Stem, prefill, stems
from rise_vlm.errors import UserError
from rise_vlm.policy.policy import Policy
from rise_vlm.policy.prompt import Prompt
from rise_vlm.policy.room import SAMPLED, out_of_memory

BLOCK = 64
"""Tokens of the vocabulary that are drawn from as one before one of them is."""


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

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise UserError(f"temperature: {self.temperature} is below 0.")

    def draw(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (R,) and their log-probs (R,) from logits (R, V) float32 and numbers (R,) float64 in [0, 1)."""
        if self.temperature == 0:
            logprobs = logits.log_softmax(-1)
            tokens = logits.argmax(-1)
        else:
            logprobs = (logits / self.temperature).log_softmax(-1)
            tokens = draw(logprobs.exp(), uniform)
        return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]


def draw(chances: Tensor, uniform: Tensor) -> Tensor:
    """Tokens (R,) by the inverse of the cumulative distribution of ``chances`` (R, V) at ``uniform`` (R,) in [0, 1).

    In two steps, a block and a token in it, so that the long sums run over V / 64 numbers. In float64: in float32 the
    tail of a large vocabulary is lost once the sum is near 1.
    """
    chances = torch.nn.functional.pad(chances, (0, -chances.shape[-1] % BLOCK))
    blocks = chances.unflatten(-1, (-1, BLOCK))
    over = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    block, rest = _first_above(over, uniform * over[:, -1])
    inner = blocks[torch.arange(len(block), device=block.device), block].double().cumsum(-1)
    return block * BLOCK + _first_above(inner, rest)[0]


def _first_above(cumulative: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row (R, K) first exceeds ``at`` (R,), and how far ``at`` lies above the entry before.

    Never an entry of probability 0: its sum equals its neighbour's.
    """
    total = cumulative[:, -1]
    at = torch.minimum(at, torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, at[:, None], right=True)
    before = torch.where(found > 0, cumulative.gather(-1, (found - 1).clamp_min(0)), 0.0)
    return found[:, 0], at - before[:, 0]


def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    n: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator,
    max_rows: int = 256,
    batch_tokens: int = 1 << 17,
) -> list[list[Rollout]]:
    """``n`` rollouts of each prompt, in the prompts' order. Of several processes each samples for some of the prompts,
    and all get everything.

    At most ``max_rows`` sequences and about ``batch_tokens`` cached tokens are decoded at once, and fewer once memory
    has run out (``policy.room``); the same generator state gives the same rollouts whatever these bounds.
    Temperature 0 is greedy. There is no top-p and no top-k: the distribution that is sampled from is the one that is
    scored.

    Raises:
        UserError: a prompt and its completion would not fit the model's context, or alone not the memory; a setting is
            out of range.
    """
    how = Sampling(temperature)
    _check(policy, prompts, n, max_new_tokens)
    if not prompts or n == 0:
        return [[] for _ in prompts]
    shape = len(prompts), n, max_new_tokens
    uniforms = torch.rand(*shape, dtype=torch.float64, generator=generator, device=generator.device)
    mine = ranks.share([n * (len(prompt) + max_new_tokens) for prompt in prompts])
    own, uniforms = prompts[mine], uniforms[mine].flatten(0, 1)
    with policy.in_step():
        made = _sample(policy, how, own, n, uniforms.to(policy.device), max_rows, batch_tokens) if own else []
    return ranks.gather(made)


def _sample(
    policy: Policy, how: Sampling, prompts: Sequence[Prompt], n: int, uniforms: Tensor, max_rows: int, batch_tokens: int
) -> list[list[Rollout]]:
    """The rollouts of ``prompts`` in this process; ``uniforms`` (sequences, steps) are their random numbers."""

    def decoder(rows: int) -> _Decoder:
        return _Decoder(policy, how, prompts, n, uniforms, rows, batch_tokens)

    was_training = policy.model.training
    policy.model.eval()
    try:
        with torch.no_grad(), policy.packed(uniforms.shape[1]):
            return policy.room.fit(
                SAMPLED,
                asked=max_rows,
                used=lambda: decoder(max_rows).cache.own.slots,
                least=1,
                attempt=lambda rows: decoder(rows).run(),
            )
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(_too_large(max(prompts, key=len), uniforms.shape[1]), exit_code=1) from error
    finally:
        policy.model.train(was_training)


def _too_large(prompt: Prompt, max_new_tokens: int) -> str:
    whose = f"of record '{prompt.record}'" if prompt.record else f"'{prompt.text[:60]}...'"
    return (
        f"out of memory with one completion at a time: the prompt {whose} has {len(prompt)} tokens, and up to "
        f"{max_new_tokens} follow. Lower max_pixels or max_new_tokens, or take a smaller model."
    )


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
class _Waiting:
    """Sequences of a stem that are not placed yet, each with the number of its prompt among the stem's."""

    stem: Stem
    sequences: list[tuple[int, int]]
    prefilled: Prefilled | None = None


class _Decoder:
    """The state of one call of ``sample``. Sequence ``s`` is completion ``s % n`` of prompt ``s // n``."""

    def __init__(
        self,
        policy: Policy,
        how: Sampling,
        prompts: Sequence[Prompt],
        n: int,
        uniforms: Tensor,
        max_rows: int,
        batch_tokens: int,
    ) -> None:
        self.policy, self.how, self.prompts, self.n = policy, how, prompts, n
        self.uniforms, self.batch_tokens = uniforms, batch_tokens
        device = policy.device
        self.ids = torch.zeros(uniforms.shape, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(uniforms.shape, device=device)
        self.counts = torch.zeros(len(uniforms), dtype=torch.long, device=device)
        self.stops = torch.tensor(policy.stop_ids, dtype=torch.long, device=device)
        self.queue = deque(self._waiting(max_rows))
        # How many queued stems still need each picture, and the features of those met so far: a training tower's are
        # in no cache, and yet no picture is encoded twice.
        self.needed = Counter(image.key for waiting in self.queue for image in waiting.stem.prompts[0].images)
        self.features: dict[str, Tensor] = {}
        self.cache = self._make_cache(max_rows)
        # Per active slot: its sequence, its last token, the rope position of that token.
        self.sequence = torch.zeros(0, dtype=torch.long, device=device)
        self.token = torch.zeros(0, dtype=torch.long, device=device)
        self.position = torch.zeros(0, dtype=torch.long, device=device)

    @property
    def limit(self) -> int:
        """The most tokens of a completion."""
        return self.ids.shape[1]

    def _waiting(self, max_rows: int) -> list[_Waiting]:
        """Sequences by what the model sees, so that equal prompts, and what others begin with, are computed once;
        longest first, to pad little."""
        same: dict[object, list[int]] = {}
        for index, prompt in enumerate(self.prompts):
            same.setdefault(prompt.identity, []).append(index)
        most = max(1, max_rows // self.n) if self.policy.packs else 1
        found: list[_Waiting] = []
        for stem in stems([self.prompts[indices[0]] for indices in same.values()], most):
            numbered = [
                (i * self.n + k, m) for m, p in enumerate(stem.prompts) for i in same[p.identity] for k in range(self.n)
            ]
            found.append(_Waiting(stem, numbered))
        return sorted(found, key=lambda waiting: -waiting.stem.length)

    def _make_cache(self, max_rows: int) -> DecodeCache | SlotCache:
        device, total = self.policy.device, len(self.ids)
        longest = max(waiting.stem.length for waiting in self.queue)
        if not self.policy.packs:
            slots = max(1, min(total, max_rows, self.batch_tokens // (longest + self.limit)))
            return SlotCache(self._layers, slots, longest + self.limit, device)
        own = max(max(waiting.stem.tails) for waiting in self.queue) + self.limit
        # Twice the stems that full groups need: stragglers hold on to theirs while others come in.
        each = total // len(self.queue)
        slots = max(1, min(total, max_rows, self.batch_tokens // (2 * longest // each + own)))
        return DecodeCache(min(len(self.queue), 2 * slots // each + 1), slots, longest, own, device)

    @property
    def _layers(self) -> int:
        return int(self.policy.base.config.get_text_config().num_hidden_layers)

    def run(self) -> list[list[Rollout]]:
        """Decode until no sequence is left."""
        while self.queue or len(self.sequence):
            prompts, rows = self.cache.room
            # A prefill of a few prompts is cheaper than as many of one, so wait for some room.
            if self.queue and prompts and rows >= max(1, (rows + len(self.sequence)) // 4):
                self._refill(prompts, rows)
            if len(self.sequence):
                self._step()
        return self._rollouts()

    def _refill(self, room: int, rows: int) -> None:
        """Place queued sequences in the room there is, for so many stems and sequences."""
        chosen: list[_Waiting] = []
        tokens = 0
        while self.queue and rows > 0 and len(chosen) < room:
            waiting = self.queue[0]
            tokens += waiting.stem.tokens
            if chosen and (tokens > self.batch_tokens or (waiting.prefilled is None) != (chosen[0].prefilled is None)):
                break
            chosen.append(replace(waiting, sequences=waiting.sequences[:rows]))
            waiting.sequences = waiting.sequences[rows:]
            rows -= len(chosen[-1].sequences)
            if not waiting.sequences:
                self.queue.popleft()
        done = chosen[0].prefilled or prefill(self.policy, [waiting.stem for waiting in chosen], self._pictures)
        if self.queue and self.queue[0].stem is chosen[-1].stem:
            self.queue[0].prefilled = done.last(len(chosen[-1].stem.prompts))
        self._place(chosen, done)

    def _pictures(self, prompts: Sequence[Prompt]) -> list[list[Tensor]]:
        """The features of each prompt's pictures; those that no queued prompt needs any more are let go."""
        missing = [replace(p, images=tuple(i for i in p.images if i.key not in self.features)) for p in prompts]
        self.features |= self.policy.image_features(missing, grad=False)
        found = [[self.features[image.key] for image in prompt.images] for prompt in prompts]
        self.needed -= Counter(image.key for prompt in prompts for image in prompt.images)
        self.features = {key: feature for key, feature in self.features.items() if self.needed[key] > 0}
        return found

    def _place(self, chosen: list[_Waiting], done: Prefilled) -> None:
        """Give the chosen sequences slots and draw their first tokens."""
        placed: list[tuple[int, int, int, int]] = []  # sequence, stem, prompt, its next position
        before = 0
        for q, waiting in enumerate(chosen):
            prompts = waiting.stem.prompts
            placed += [(s, q, before + m, prompts[m].next_position) for s, m in waiting.sequences]
            before += len(prompts)
        sequence, owner, row, following = torch.tensor(placed, device=self.policy.device).unbind(1)
        self.cache.append(done.caught, done.stems, done.tails[row], owner)
        self.sequence = torch.cat([self.sequence, sequence])
        self.position = torch.cat([self.position, following - 1])
        self.token = torch.cat([self.token, torch.zeros_like(sequence)])
        self._emit(done.logits[row], first=len(self.sequence) - len(sequence))

    def _step(self) -> None:
        """Decode one token of each active sequence."""
        embeds = self.policy.base.get_input_embeddings()(self.token[:, None])
        axes = len(self.prompts[0].positions)
        hidden = self.cache.step(self.policy, embeds, self.position.expand(axes, -1).unsqueeze(-1))
        self._emit(self.policy.logits(hidden[:, -1]), first=0)

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
