"""A vision-language model as the engine and the stages use it.

``encode`` makes a prompt of text and pictures, ``image_features`` runs the tower once for each distinct picture,
``embed``, ``hidden`` and ``logits`` are the three steps of a forward pass that the engine arranges.
Left out: sampling and scoring (``rise_vlm.engine``), training.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rise_vlm.errors import UserError
from rise_vlm.policy import features as image_features
from rise_vlm.policy.attention import NAME, SharedPrompts
from rise_vlm.policy.loading import DType, load_checkpoint, pick_dtype
from rise_vlm.policy.lora import LoraSettings, add_lora
from rise_vlm.policy.prompt import Prompt


class Policy:
    """One model with its tokenizer and image processor.

    ``stop_ids`` end a completion; ``banned_ids`` (image, video, padding and unused ids) have probability zero in
    sampling and in scoring; ``packs`` says whether several completions can share one row with their prompt.
    """

    def __init__(self, model: Any, tokenizer: Any, family: Any, *, device: torch.device, name: str) -> None:
        self.model, self.tokenizer, self.family = model, tokenizer, family
        self.device, self.name = device, name
        self.processor = family.image_processor
        self.packs: bool = family.packs
        self.stop_ids = _stop_ids(self.base, tokenizer)
        self.banned_ids = _banned_ids(self.base, tokenizer, self.stop_ids).to(device)
        self.feature_cache = image_features.SHARED_CACHE
        self._fingerprint = image_features.TowerFingerprint(self.tower)
        self._frozen_copy: Any = None

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
    ) -> Policy:
        """Open ``tiny`` (the built-in model), a folder or a hub id.

        With ``lora`` only adapters train. ``freeze_tower`` stops gradients into the vision tower and lets features be
        cached. ``max_pixels`` bounds a picture after resizing. ``keep_reference`` keeps a frozen copy of the weights for
        ``reference()``, which LoRA does not need.

        Raises:
            UserError: see ``load_checkpoint``.
        """
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        loaded = load_checkpoint(name, dtype=pick_dtype(dtype, place), max_pixels=max_pixels)
        model = loaded.model.to(place).eval()
        image_features.fast_patch_embedding(loaded.family.tower(model))
        loaded.family.language_model(model).config._attn_implementation = NAME
        if lora is not None:
            model = add_lora(model, loaded.family.language_model(model), lora).eval()
        policy = cls(model, loaded.tokenizer, loaded.family, device=place, name=name)
        if freeze_tower:
            policy.tower.requires_grad_(False)
        if keep_reference and lora is None:
            policy._frozen_copy = copy.deepcopy(model).requires_grad_(False)
        return policy

    @property
    def base(self) -> Any:
        """The transformers model, without the peft wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

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

    def encode(self, text: str, images: Sequence[Image.Image] = ()) -> Prompt:
        """One user turn, pictures first, through the chat template.

        Raises:
            UserError: a picture the model cannot take, or a prompt longer than its context.
        """
        inputs = tuple(self.family.image(image, f"picture {i + 1}") for i, image in enumerate(images))
        content = [{"type": "image"} for _ in inputs] + [{"type": "text", "text": text}]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        ids = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        spread: list[int] = []
        waiting = list(inputs)
        for token in ids:
            spread.extend([token] * waiting.pop(0).tokens if token == self.family.image_token_id else [token])
        input_ids = torch.tensor(spread)
        positions, following = self.family.positions(input_ids, inputs)
        return Prompt(input_ids, positions, following, inputs, text)

    def image_features(self, prompts: Sequence[Prompt], *, grad: bool) -> dict[str, Tensor]:
        """Features (tokens, H) of each distinct picture of ``prompts``, by picture key.

        With a frozen tower they come without gradient and are cached across calls; with a training tower and ``grad``
        each distinct picture is encoded once in this call, with gradient.
        """
        distinct = {image.key: image for prompt in prompts for image in prompt.images}
        frozen = self.tower_frozen
        found: dict[str, Tensor] = {}
        tower = self._fingerprint() if frozen and distinct else ""
        if frozen:
            for key in distinct:
                if (kept := self.feature_cache.get((tower, key))) is not None:
                    found[key] = kept
        missing = [image for key, image in distinct.items() if key not in found]
        if missing:
            with torch.set_grad_enabled(grad and not frozen and torch.is_grad_enabled()):
                made = self.family.features(self.base, missing, self.device)
            for image, feature in zip(missing, made, strict=True):
                found[image.key] = feature
                if frozen:
                    self.feature_cache.put((tower, image.key), feature.clone())
        return found

    def embed(self, input_ids: Tensor, features_per_row: Sequence[Sequence[Tensor]]) -> Tensor:
        """Token embeddings (R, L, H) with the features of each row's pictures in place of its image tokens, in order."""
        embeds = self.base.get_input_embeddings()(input_ids)
        features = [feature for row in features_per_row for feature in row]
        if not features:
            return embeds
        mask = (input_ids == self.family.image_token_id).unsqueeze(-1)
        return embeds.masked_scatter(mask, torch.cat(features).to(embeds.dtype))

    def hidden(
        self,
        inputs_embeds: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        cache: Any = None,
        shared: SharedPrompts | None = None,
    ) -> Tensor:
        """Last hidden states (R, L, H) of embeddings (R, L, H) at rope positions (3 or 1, R, L).

        ``mask`` is additive (R, 1, L, keys), or (R, L) with 0 for padding, or None: each token sees those before it.
        ``shared`` says instead which tokens of a single row are prompts and completions.
        """
        more: dict[str, Any] = {}
        if shared is not None:
            # Any 4-D mask stops transformers from making its own, which would be N x N.
            mask, more = shared.mask, {"shared": shared}
        return self.language_model(
            inputs_embeds=inputs_embeds,
            position_ids=positions if positions.shape[0] == 3 else positions[0],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **more,
        ).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits (..., V); those of banned ids are -inf."""
        return self.head(hidden).float().index_fill_(-1, self.banned_ids, -torch.inf)

    def save(self, folder: Path | str) -> None:
        """Write weights (the adapter's under LoRA), configuration, tokenizer and image processor."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, the policy computes with its reference: adapters off under LoRA, else the frozen copy kept at load.

        Raises:
            UserError: no LoRA and no copy was kept.
        """
        if hasattr(self.model, "disable_adapter"):
            with self.model.disable_adapter():
                yield
            return
        if self._frozen_copy is None:
            raise UserError("a reference model needs LoRA or a policy loaded with keep_reference.")
        trained, self.model = self.model, self._frozen_copy
        try:
            yield
        finally:
            self.model = trained


def _stop_ids(base: Any, tokenizer: Any) -> tuple[int, ...]:
    stops: set[int] = set()
    for stated in (tokenizer.eos_token_id, base.generation_config.eos_token_id):
        stops.update([stated] if isinstance(stated, int) else stated or [])
    return tuple(sorted(stops))


def _banned_ids(base: Any, tokenizer: Any, stop_ids: Sequence[int]) -> Tensor:
    config = base.config
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    banned = {getattr(config, name, None) for name in names} | {tokenizer.pad_token_id, tokenizer.bos_token_id}
    banned |= set(range(len(tokenizer), base.lm_head.weight.shape[0]))
    return torch.tensor(sorted(i for i in banned if i is not None and i not in stop_ids), dtype=torch.long)
