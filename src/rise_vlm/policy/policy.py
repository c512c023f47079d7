"""A vision-language model as the engine and the stages use it.

``encode`` makes a prompt of text and pictures, ``image_features`` runs the tower once for each distinct picture,
``embed``, ``hidden`` and ``logits`` are the three steps of a forward pass that the engine arranges.
Left out: sampling and scoring (``rise_vlm.engine``), training.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rise_vlm.errors import UserError
from rise_vlm.policy import parts
from rise_vlm.policy.attention import AttentionPlan
from rise_vlm.policy.families import Family
from rise_vlm.policy.features import SHARED_CACHE, TowerFingerprint
from rise_vlm.policy.linear import MANY_STEPS, fast_linears, packed_weights
from rise_vlm.policy.loading import DType, load_checkpoint, pick_dtype, refuse_windows
from rise_vlm.policy.lora import (
    LoraSettings,
    adapter_base,
    adapter_pixels,
    add_lora,
    load_adapter,
    merged_state,
    refuse_adapters,
    save_adapter,
)
from rise_vlm.policy.placing import placed
from rise_vlm.policy.probe import probe
from rise_vlm.policy.prompt import ImageInput, Prompt, special_tokens, stop_ids, user_turn
from rise_vlm.policy.room import Room


class Policy:
    """One model with its tokenizer and processor.

    ``stop_ids`` end a completion; ``banned_ids`` (image, video, padding and unused ids) have probability zero in
    sampling and scoring alike; ``packs`` says whether completions can share one row with their prompt; ``frame`` is
    how the model writes boxes; ``room`` bounds how much is computed at once, where memory has run out. Of several
    processes each may hold a part of the weights (``policy.parts``): then all compute ``in_step``.
    """

    def __init__(self, model: Any, tokenizer: Any, family: Family, *, device: torch.device, name: str) -> None:
        self.model, self.tokenizer, self.family = model, tokenizer, family
        self.device, self.name = device, name
        self.processor = family.processor
        self.packs = family.packs(self.base)
        self.frame = family.frame
        self.stop_ids = stop_ids(self.base, tokenizer)
        self.feature_cache = SHARED_CACHE
        self.room = Room()
        self._special = special_tokens(tokenizer)
        self.banned_ids = self._banned_ids().to(device)
        self._fingerprints: dict[int, TowerFingerprint] = {}
        self.max_pixels: int | None = None
        self._frozen_copy: Any = None
        self._first_adapter: dict[str, Tensor] = {}
        self._whole: dict[str, Tensor] | None = None

    @classmethod
    def load(
        cls,
        name: str,
        *,
        lora: LoraSettings | None = None,
        freeze_tower: bool = True,
        dtype: DType = "auto",
        max_pixels: int | None = None,
        device: str | torch.device | None = None,
        keep_reference: bool = False,
        frozen: bool = False,
        gradient_checkpointing: bool = False,
    ) -> Policy:
        """Open ``tiny`` (the built-in model), a hub id, a folder, or the folder of a saved adapter.

        With ``lora`` only fresh adapters train. ``freeze_tower`` stops gradients into the vision tower and lets its
        features be cached. ``max_pixels`` bounds a picture after resizing; an adapter brings that of its training.
        ``keep_reference`` keeps a frozen copy of the weights that train for ``reference()``; fresh adapters need none.
        ``gradient_checkpointing`` computes each layer again in the backward pass instead of keeping what it computed.
        ``frozen``: nothing trains. Frozen weights share the memory of equal ones of other policies (``policy.frozen``).

        Raises:
            UserError: the checkpoint is missing, broken or of an unsupported kind; LoRA with a training tower; a model
                whose layers cannot be computed again.
        """
        freeze_tower = freeze_tower or frozen
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        base_name = adapter_base(name)
        refuse_adapters(name, bool(base_name), bool(lora), freeze_tower)
        if base_name is not None and max_pixels is None:
            max_pixels = adapter_pixels(name)
        loaded = load_checkpoint(base_name or name, dtype=pick_dtype(dtype, place), max_pixels=max_pixels)
        still = bool(frozen or lora or base_name)
        model, layers = placed(loaded, place, tower_still=freeze_tower, still=still)
        if base_name is not None:
            model = load_adapter(model, name)
        elif lora is not None:
            model = add_lora(model, loaded.family.language_model(model), lora, name)
        fast_linears(model, place)
        policy = cls(model.eval(), loaded.tokenizer, loaded.family, device=place, name=name)
        policy.max_pixels = max_pixels
        policy.tower.requires_grad_(not freeze_tower)
        if frozen:
            model.requires_grad_(False)
        if layers:
            parts.divide(model, policy.language_model, layers, place)
        if keep_reference and base_name is not None:
            trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
            policy._first_adapter = {name: weight.detach().clone() for name, weight in trained.items()}
        elif keep_reference and lora is None:
            again = partial(cls.load, name, dtype=dtype, max_pixels=max_pixels, device=device, frozen=True)
            policy._frozen_copy = again().model if layers else copy.deepcopy(model).requires_grad_(False)
        if gradient_checkpointing:
            policy.checkpoint_layers()
        if not layers:
            policy.check()
        return policy

    def check(self) -> None:
        """Compare an unproven model with its own forward pass, as ``load`` does but where weights are in parts: all
        processes must load before any computes.

        Raises:
            UserError: they differ, or the decoder sees a window that cannot be computed.
        """
        with self.in_step():
            probe(self)
        if not self.packs:
            refuse_windows(self.name, self.base)

    def checkpoint_layers(self) -> None:
        """Keep only the inputs of layers for the backward pass, while the model trains."""
        try:
            # Without reentry: with it a decoder whose inputs need no gradient (LoRA) would get none either.
            self.base.gradient_checkpointing_enable({"use_reentrant": False})
        except ValueError:
            kind = self.family.model_type
            raise UserError(
                f"gradient_checkpointing: models of architecture '{kind}' have none. Leave it out."
            ) from None

    def packed(self, steps: int) -> AbstractContextManager[None]:
        """Around about so many passes of a few rows through the language model, to make each faster where that pays
        (``policy.linear``); nothing trains inside."""
        return packed_weights(self.language_model, self.head) if steps >= MANY_STEPS else nullcontext()

    def _banned_ids(self) -> Tensor:
        banned = self.family.markup_ids(self._special) | {self.tokenizer.pad_token_id, self.tokenizer.bos_token_id}
        # Rows of the output layer beyond the tokenizer: they stand for no text.
        banned |= set(range(len(self.tokenizer), self.head.weight.shape[0]))
        kept = sorted(i for i in banned if i is not None and i not in self.stop_ids)
        return torch.tensor(kept, dtype=torch.long)

    @property
    def adapts(self) -> bool:
        """The model carries LoRA adapters."""
        return hasattr(self.model, "peft_config")

    @property
    def base(self) -> Any:
        """The transformers model, without the peft wrapper."""
        return self.model.get_base_model() if self.adapts else self.model

    @property
    def tower(self) -> nn.Module:
        """The vision tower."""
        return self.family.tower(self.base)

    @property
    def language_model(self) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return self.family.language_model(self.base)

    @property
    def head(self) -> nn.Linear:
        """The output layer."""
        return self.base.get_output_embeddings()

    @property
    def tower_frozen(self) -> bool:
        """No weight of the tower takes gradients."""
        return not any(weight.requires_grad for weight in self.tower.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.base.get_input_embeddings().weight.dtype

    @property
    def context(self) -> int:
        """The most tokens, prompt and completion together, that the model takes."""
        return int(self.base.config.get_text_config().max_position_embeddings)

    def preprocess(self, images: Sequence[Image.Image | ImageInput]) -> tuple[ImageInput, ...]:
        """The pictures of one prompt as the tower takes them; what is preprocessed already stays as it is.

        Raises:
            UserError: a picture that the model cannot take.
        """
        return tuple(
            image
            if isinstance(image, ImageInput)
            else self.family.prepare(image, f"picture {number}", alone=len(images) == 1)
            for number, image in enumerate(images, start=1)
        )

    def encode(self, text: str, images: Sequence[Image.Image | ImageInput] = ()) -> Prompt:
        """One user turn, pictures first, through the chat template.

        Raises:
            UserError: a picture that the model cannot take, or a prompt that leaves no room in its context.
        """
        inputs, family = self.preprocess(images), self.family
        ids = user_turn(self.tokenizer, text, inputs, family.marker, family.image_token_id, self._special)
        if len(ids) >= self.context:
            raise UserError(
                f"a prompt of {len(ids)} tokens ('{text[:60]}...') is too long: the model takes {self.context}, with "
                "the completion. Shorten the question or lower max_pixels."
            )
        places = (ids == family.image_token_id).nonzero()
        end = int(places[-1]) + 1 if len(places) else 0
        return Prompt(ids, *family.positions(self.base, ids, inputs), inputs, text, family.blocks(ids), end)

    def image_features(self, prompts: Sequence[Prompt], *, grad: bool) -> dict[str, Tensor]:
        """Features of each distinct picture of ``prompts``, by picture key (see ``Family.features``).

        With a frozen tower they come without gradient and are cached across calls; with a training tower each distinct
        picture is encoded once in this call, with gradient if ``grad``.
        """
        distinct = {image.key: image for prompt in prompts for image in prompt.images}
        frozen = bool(distinct) and self.tower_frozen
        found: dict[str, Tensor] = {}
        tower = self._tower_key() if frozen else ""
        for key in distinct if frozen else ():
            if (kept := self.feature_cache.get((tower, key))) is not None:
                found[key] = kept
        missing = [image for key, image in distinct.items() if key not in found]
        if missing:
            with torch.set_grad_enabled(grad and not frozen and torch.is_grad_enabled()):
                made = self.family.features(self.base, missing, self.device)
            for image, feature in zip(missing, made, strict=True):
                # A clone: the slices of one tower pass share memory, which would outlive a single one's eviction.
                found[image.key] = feature.clone() if frozen else feature
                if frozen:
                    self.feature_cache.put((tower, image.key), found[image.key])
        return found

    def _tower_key(self) -> str:
        tower = self.tower
        return self._fingerprints.setdefault(id(self.model), TowerFingerprint(tower))()

    def embed(self, input_ids: Tensor, features_per_row: Sequence[Sequence[Tensor]]) -> Tensor:
        """Embeddings (R, L, H) of ids (R, L), with each row's features, in order, in place of its image tokens.

        Features that reach deeper layers too make all rows as wide as they are, with zeros for text: ``hidden`` adds
        what is beyond H where it belongs.
        """
        embeds = self.base.get_input_embeddings()(input_ids)
        features = [feature for row in features_per_row for feature in row]
        if not features:
            return embeds
        mask = (input_ids == self.family.image_token_id).unsqueeze(-1)
        embeds = nn.functional.pad(embeds, (0, features[0].shape[-1] - embeds.shape[-1]))
        return embeds.masked_scatter(mask, torch.cat(features).to(embeds.dtype))

    def hidden(
        self,
        inputs_embeds: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        cache: Any = None,
        plan: AttentionPlan | None = None,
    ) -> Tensor:
        """Last hidden states (R, L, H) of embeddings (R, L, H or more, see ``embed``) at rope positions (3 or 1, R, L).

        ``mask`` is additive (R, 1, L, keys), or (R, L) with 0 for padding, or None: each token sees those before it.
        ``plan`` attends in place of all that; only models that pack take one.
        """
        more: dict[str, Any] = {}
        if plan is not None:
            # Any 4-D mask stops transformers from making its own, which would be L x L.
            mask, more = plan.mask, {"plan": plan}
        width = self.head.in_features
        if inputs_embeds.shape[-1] > width:
            inputs_embeds, added = inputs_embeds[..., :width], inputs_embeds[..., width:]
            more |= self.family.deeper(added, width)
        forward = partial(self._decode, positions=positions, attention_mask=mask, past_key_values=cache, **more)
        divided = parts.divided(self.language_model)
        return divided.make(forward, inputs_embeds) if divided else forward(inputs_embeds)

    def _decode(self, embeds: Tensor, *, positions: Tensor, **more: Any) -> Tensor:
        axes = positions if positions.shape[0] == 3 else positions[0]
        cached = more.get("past_key_values") is not None
        return self.language_model(inputs_embeds=embeds, position_ids=axes, use_cache=cached, **more).last_hidden_state

    @contextmanager
    def in_step(self, *, grad: bool = False) -> Iterator[None]:
        """Around forward passes, where several processes hold parts of the weights: all come here, and make as many
        passes as any of them. With ``grad`` each forward pass is followed by its backward pass. Otherwise nothing.
        """
        divided = parts.divided(self.language_model)
        with divided.phase(partial(self._idle, grad), grad=grad) if divided else nullcontext():
            yield

    def _idle(self, grad: bool) -> None:
        """A pass of one token for the other processes' sake; its gradients are zero."""
        positions, _ = self.family.positions(self.base, torch.zeros(1, dtype=torch.long), ())
        with torch.set_grad_enabled(grad):
            # No token's embedding: whatever is wrong with that would be wrong with all gradients.
            embeds = torch.zeros(1, 1, self.head.in_features, dtype=self.dtype, device=self.device, requires_grad=grad)
            hidden = self._decode(embeds, positions=positions[:, None].to(self.device))
            if grad:
                (hidden.float().sum() * 0).backward()

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits (..., V); those of banned ids are -inf."""
        logits = self.head(hidden).float()
        return logits.index_fill_(-1, self.banned_ids, -torch.inf) if len(self.banned_ids) else logits

    def save(self, folder: Path | str) -> None:
        """Write what ``load`` opens again as it is: a checkpoint that transformers opens by itself (weights,
        configuration, tokenizer, processor), or with LoRA the adapter alone, which names its base.
        """
        if self.adapts:
            save_adapter(self.model, Path(folder), self.max_pixels)
        else:
            self._write(Path(folder), self._whole)

    def export(self, folder: Path | str) -> None:
        """Write a plain checkpoint whatever the policy is; adapters are added into the weights, in float32."""
        self._write(Path(folder), merged_state(self.base) if self.adapts else None)
        if self.adapts:
            path = Path(folder) / "config.json"
            path.write_text(re.sub(r'"dtype": "\w+"', '"dtype": "float32"', path.read_text("utf-8")), "utf-8")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Around ``save`` in the main process: weights in parts are put together in its own memory, tensor by tensor.
        All processes must come here.
        """
        if parts.divided(self.language_model) and not self.adapts:
            self._whole = parts.put_together(self.base)
        try:
            yield
        finally:
            self._whole = None

    def _write(self, folder: Path, state: dict[str, Tensor] | None) -> None:
        """The generation settings keep nothing but the stop tokens: those of a released model (Qwen2-VL: temperature
        0.01) would make later sampling nearly greedy.
        """
        from transformers import GenerationConfig

        base = self.base
        kept = base.generation_config
        base.generation_config = GenerationConfig(
            eos_token_id=list(self.stop_ids), pad_token_id=self.tokenizer.pad_token_id
        )
        try:
            base.save_pretrained(folder, state_dict=state)
        finally:
            base.generation_config = kept
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, the policy computes with its reference: what it was at load, where that was kept; under LoRA else
        the base without adapters.

        Raises:
            UserError: nothing was kept, and there are no adapters.
        """
        if self._first_adapter:
            with parts.wearing(dict(self.model.named_parameters()), self._first_adapter):
                yield
            return
        if self.adapts:
            with self.model.disable_adapter():
                yield
            return
        if self._frozen_copy is None:
            raise UserError("a reference model needs LoRA, or a policy loaded with keep_reference=True.")
        trained, self.model = self.model, self._frozen_copy
        try:
            yield
        finally:
            self.model = trained
