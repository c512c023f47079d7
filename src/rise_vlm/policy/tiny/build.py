"""The built-in model's parts: its tokenizer, its processor and its untrained network, all in transformers' own classes.

The network is a ``Qwen2VLForConditionalGeneration`` of 8 million parameters, so everything a user does with
Qwen2-VL-2B runs on it unchanged. The tokenizer is a byte-level BPE that splits numbers into digits.
Left out: a system prompt (it would cost tokens in every prompt and teach nothing).
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from typing import cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

VOCABULARY, MORE = 2048, 200
"""Pieces of the tokenizer, and how many `tiny_fine` has beyond those that `tiny` found use for."""
PATCH = 14
MERGE = 2
IMAGE_SIDE = 168
"""Largest square picture, in pixels, that the model sees: 6 x 6 image tokens. Larger pictures are scaled down."""
CONTEXT = 4096

END, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = [END, TURN_START, TURN_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``VOCABULARY`` pieces learned from ``texts``; any string encodes and decodes unchanged."""
    tokenizer = Tokenizer(models.BPE())
    # One word with its leading space, one digit, or a run of other marks: punctuation never merges with words.
    pieces = Regex(r"\d| ?[^\s\d\p{P}\p{S}]+|[\p{P}\p{S}]+ ?|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END,
        additional_special_tokens=[t for t in SPECIAL if t not in (END, TURN_END)],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.add_tokens(TAGS)
    fast.chat_template = CHAT_TEMPLATE
    return fast


def grow_tokenizer(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], merges: int) -> PreTrainedTokenizerFast:
    """The same with the ``merges`` most frequent pairs of neighbouring pieces in ``texts`` as new pieces, one after the
    other, as BPE learns them. Names in capitals stay letter by letter. Old pieces keep their ids.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    model = backend["model"]
    split = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    counts = Counter(word for text in texts for word, _ in split(text))
    words = {word: [token.value for token in tokenizer.backend_tokenizer.model.tokenize(word)] for word in counts}
    model["vocab"] |= {token["content"]: token["id"] for token in backend["added_tokens"]}  # ids without a hole
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for first, second in itertools.pairwise(pieces):
                if not any(letter.isupper() for letter in (first + second).lstrip("\u0120")[1:]):
                    pairs[first, second] += counts[word]
        if not pairs:
            break
        pair = max(pairs, key=lambda one: (pairs[one], one))
        model["merges"].append(list(pair))
        model["vocab"].setdefault("".join(pair), len(model["vocab"]))
        words = {word: _merged(pieces, pair) for word, pieces in words.items()}
    grown = copy.deepcopy(tokenizer)
    grown._tokenizer = Tokenizer.from_str(json.dumps(backend))
    return grown


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    found: list[str] = []
    for piece in pieces:
        if found and (found[-1], piece) == pair:
            found[-1] += piece
        else:
            found.append(piece)
    return found


def grow_model(model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    """Room for the pieces of a grown tokenizer, each at the mean of the two that it joins."""
    known = pieces_of(model)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    words = cast(nn.Embedding, model.get_input_embeddings()).weight
    with torch.no_grad():
        for first, second in merges:
            joined = token_id(tokenizer, first + second)
            if joined >= known:
                words[joined] = (words[token_id(tokenizer, first)] + words[token_id(tokenizer, second)]) / 2


def pieces_of(model: Qwen2VLForConditionalGeneration) -> int:
    """How many pieces the network has room for."""
    return cast(nn.Embedding, model.get_input_embeddings()).num_embeddings


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one of the tokenizer's pieces."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def image_processor(side: int = IMAGE_SIDE) -> Qwen2VLImageProcessorPil:
    """Scales pictures to at most ``side`` squared pixels, aspect kept, sides multiples of 28."""
    return Qwen2VLImageProcessorPil(
        min_pixels=56 * 56, max_pixels=side**2, patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen2VLForConditionalGeneration:
    """The untrained network: text 256 x 6 (4 heads, 2 key-value heads, MLP 768), tower 192 x 4, tied embeddings."""
    ids = {token: token_id(tokenizer, token) for token in SPECIAL}
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 12, 12]},
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": ids[TURN_END],
            "pad_token_id": ids[END],
        },
        vision_config={
            "depth": 4,
            "embed_dim": 192,
            "num_heads": 4,
            "mlp_ratio": 4,
            "hidden_size": 256,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
        },
        image_token_id=ids[IMAGE_PAD],
        video_token_id=ids[VIDEO_PAD],
        vision_start_token_id=ids[VISION_START],
        vision_end_token_id=ids[VISION_END],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen2VLForConditionalGeneration(config)
