"""The processor of Qwen's family for texts and still pictures, which TRL and the official code ask for.

transformers' own needs torchvision, for videos. Left out: videos.
"""

from __future__ import annotations

from typing import Any


def stills_processor(image_processor: Any, tokenizer: Any) -> Any:
    """A ``Qwen2VLProcessor`` without the part for videos; it pads on the left, as generation wants it."""
    from transformers import Qwen2VLProcessor

    class StillsProcessor(Qwen2VLProcessor):
        def __init__(self) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            self.image_ids, self.video_ids = [self.image_token_id], [self.video_token_id]
            self.image_processor, self.tokenizer = image_processor, tokenizer
            self.chat_template = tokenizer.chat_template

    tokenizer.padding_side = "left"
    return StillsProcessor()
