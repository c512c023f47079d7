"""Rollouts: prefill each distinct prompt once, decode its completions in a batch that shrinks and refills.

All random numbers are drawn up front, one for each sequence and step, and turned into tokens by the inverse of the
cumulative distribution. So the result does not depend on how the batch was cut, compacted or refilled.
The checkpoint's own generation settings are ignored. Left out: beam search, penalties, stop strings.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rise_vlm.engine.cache import CatchCache, DecodeCache, SlotCache
from rise_vlm.errors import UserError
from rise_vlm.policy.attention import PaddedRows
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
    """``n`` rollouts of each prompt, in the prompts' order.

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
    was_training = policy.model.training
    policy.model.eval()
    try:
        with torch.no_grad():
            shape = len(prompts) * n, max_new_tokens
            uniforms = torch.rand(*shape, dtype=torch.float64, generator=generator, device=generator.device)
            uniforms = uniforms.to(policy.device)
            slots = _slots(policy, prompts, n, max_new_tokens, max_rows, batch_tokens)
            return policy.room.fit(
                SAMPLED,
                asked=max_rows,
                used=slots,
                least=1,
                attempt=lambda rows: _Decoder(policy, how, prompts, n, uniforms, min(rows, slots), batch_tokens).run(),
            )
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(_too_large(max(prompts, key=len), max_new_tokens), exit_code=1) from error
    finally:
        policy.model.train(was_training)


def _slots(
    policy: Policy, prompts: Sequence[Prompt], n: int, max_new_tokens: int, max_rows: int, batch_tokens: int
) -> int:
    """How many sequences are decoded at once."""
    longest = max(len(prompt) for prompt in prompts)
    each = (2 * longest // n if policy.packs else longest) + max_new_tokens
    return max(1, min(len(prompts) * n, max_rows, batch_tokens // each))


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
    """Sequences of one prompt that are not placed yet; ``prefilled`` is (cache, its row, logits (V,)) once computed."""

    sequences: list[int]
    prefilled: tuple[CatchCache, int, Tensor] | None = None


class _Decoder:
    """The state of one call of ``sample``. Sequence ``s`` is completion ``s % n`` of prompt ``s // n``."""

    def __init__(
        self,
        policy: Policy,
        how: Sampling,
        prompts: Sequence[Prompt],
        n: int,
        uniforms: Tensor,
        slots: int,
        batch_tokens: int,
    ) -> None:
        self.policy, self.how, self.prompts, self.n = policy, how, prompts, n
        self.uniforms, self.batch_tokens = uniforms, batch_tokens
        device = policy.device
        self.ids = torch.zeros(uniforms.shape, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(uniforms.shape, device=device)
        self.counts = torch.zeros(len(uniforms), dtype=torch.long, device=device)
        self.stops = torch.tensor(policy.stop_ids, dtype=torch.long, device=device)
        self.queue = deque(self._distinct())
        # How many queued prompts still need each picture, and the features of those met so far: a training tower's are
        # in no cache, and yet no picture is encoded twice.
        self.needed = Counter(image.key for waiting in self.queue for image in self._prompt(waiting).images)
        self.features: dict[str, Tensor] = {}
        self.cache = self._make_cache(slots)
        # Per active slot: its sequence, its last token, the rope position of that token.
        self.sequence = torch.zeros(0, dtype=torch.long, device=device)
        self.token = torch.zeros(0, dtype=torch.long, device=device)
        self.position = torch.zeros(0, dtype=torch.long, device=device)

    @property
    def limit(self) -> int:
        """The most tokens of a completion."""
        return self.ids.shape[1]

    def _distinct(self) -> list[_Waiting]:
        """Sequences by what the model sees, so that equal prompts share a prefill; longest first, to pad little."""
        groups: dict[object, list[int]] = {}
        for index, prompt in enumerate(self.prompts):
            groups.setdefault(prompt.identity, []).extend(range(index * self.n, (index + 1) * self.n))
        longest_first = sorted(groups.values(), key=lambda sequences: -len(self.prompts[sequences[0] // self.n]))
        return [_Waiting(sequences) for sequences in longest_first]

    def _make_cache(self, slots: int) -> DecodeCache | SlotCache:
        longest = max(len(prompt) for prompt in self.prompts)
        device = self.policy.device
        if not self.policy.packs:
            return SlotCache(self._layers, slots, longest + self.limit, device)
        # Twice the prompts that full groups need: stragglers hold on to theirs while others come in.
        return DecodeCache(min(len(self.queue), 2 * slots // self.n + 1), slots, longest, self.limit, device)

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

    def _refill(self, prompts: int, rows: int) -> None:
        """Place queued sequences in the room there is."""
        chosen: list[_Waiting] = []
        tokens = 0
        while self.queue and rows > 0 and len(chosen) < prompts:
            waiting = self.queue[0]
            tokens += len(self._prompt(waiting))
            if chosen and (tokens > self.batch_tokens or (waiting.prefilled is None) != (chosen[0].prefilled is None)):
                break
            taken = waiting.sequences[:rows]
            chosen.append(_Waiting(taken, waiting.prefilled))
            rows -= len(taken)
            waiting.sequences = waiting.sequences[len(taken) :]
            if not waiting.sequences:
                self.queue.popleft()
        caught, source, logits = self._prefilled(chosen)
        if self.queue and self.queue[0].prefilled is None and self._prompt(self.queue[0]) is self._prompt(chosen[-1]):
            self.queue[0].prefilled = caught, int(source[-1]), logits[-1]
        self._place(chosen, caught, source, logits)

    def _prompt(self, waiting: _Waiting) -> Prompt:
        return self.prompts[waiting.sequences[0] // self.n]

    def _prefilled(self, chosen: list[_Waiting]) -> tuple[CatchCache, Tensor, Tensor]:
        """Keys and values of the chosen prompts, the rows (Q,) they are in, and the logits (Q, V) that follow them."""
        policy, prompts = self.policy, [self._prompt(waiting) for waiting in chosen]
        if chosen[0].prefilled is not None:
            caught, row, logits = chosen[0].prefilled
            return caught, torch.tensor([row], device=policy.device), logits[None]
        ids, positions, lengths = pad_prompts(prompts, policy.device)
        embeds = policy.embed(ids, self._pictures(prompts))
        caught = CatchCache(self._layers)
        # Padding is on the right, so the causal rule alone keeps it out of sight.
        plan = PaddedRows.of([prompt.blocks for prompt in prompts], ids.shape[1], policy.device)
        hidden = policy.hidden(embeds, positions, None, caught, plan=plan)
        rows = torch.arange(len(prompts), device=policy.device)
        return caught, rows, policy.logits(hidden[rows, lengths - 1])

    def _pictures(self, prompts: Sequence[Prompt]) -> list[list[Tensor]]:
        """The features of each prompt's pictures; those that no queued prompt needs any more are let go."""
        missing = [replace(p, images=tuple(i for i in p.images if i.key not in self.features)) for p in prompts]
        self.features |= self.policy.image_features(missing, grad=False)
        found = [[self.features[image.key] for image in prompt.images] for prompt in prompts]
        self.needed -= Counter(image.key for prompt in prompts for image in prompt.images)
        self.features = {key: feature for key, feature in self.features.items() if self.needed[key] > 0}
        return found

    def _place(self, chosen: list[_Waiting], caught: CatchCache, source: Tensor, logits: Tensor) -> None:
        """Give the chosen sequences slots and draw their first tokens."""
        device = self.policy.device
        prompts = [self._prompt(waiting) for waiting in chosen]
        owners = torch.tensor([q for q, waiting in enumerate(chosen) for _ in waiting.sequences], device=device)
        sequence = torch.tensor([s for waiting in chosen for s in waiting.sequences], device=device)
        following = torch.tensor([prompt.next_position for prompt in prompts], device=device)
        self.cache.append(caught, source, torch.tensor([len(prompt) for prompt in prompts], device=device), owners)
        self.sequence = torch.cat([self.sequence, sequence])
        self.position = torch.cat([self.position, following[owners] - 1])
        self.token = torch.cat([self.token, torch.zeros_like(sequence)])
        self._emit(logits[owners], first=len(self.sequence) - len(sequence))

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
