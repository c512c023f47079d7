"""From a record and a role to an encoded prompt; each picture is read and preprocessed once while memory allows.

Left out: the wording, which is the task's, and the features, which are the policy's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from PIL import Image

from rise_vlm.data import Record
from rise_vlm.errors import DataError, UserError
from rise_vlm.policy import ImageInput, Policy, Prompt
from rise_vlm.stages.material import Material
from rise_vlm.tasks.base import DESCRIBE, Role

CACHE_BYTES = 1 << 29


class Prompter:
    """Encodes prompts for one policy. Up to ``limit`` bytes of pictures are kept, least recently used out first.

    Raises:
        DataError: a record's picture has a shape that the model does not take; it names file and record. For the first
            picture of each record this is known, and told, before any work.
    """

    def __init__(self, policy: Policy, material: Material, limit: int = CACHE_BYTES) -> None:
        self.policy, self.material, self.limit = policy, material, limit
        for record in (*material.train, *material.val, *(one for split in material.tests.values() for one in split)):
            if problem := policy.family.refusal(record.width, record.height):
                raise DataError(self._told(record, f"{record.images[0]} {problem}"))
        self._kept: OrderedDict[tuple[str, ...], tuple[ImageInput, ...]] = OrderedDict()
        self._bytes = 0

    def prompt(self, role: Role, record: Record, rationale: str | None = None, *, sees_image: bool = True) -> Prompt:
        """The prompt of ``role``; ``sees_image=False`` leaves the pictures out."""
        text = self.material.task.prompt(role, record, self.policy.frame, rationale)
        return replace(self.policy.encode(text, self.pictures(record) if sees_image else ()), record=record.id)

    def describe(self, record: Record) -> Prompt:
        """The label-free describing prompt of a record's pictures."""
        return replace(self.policy.encode(DESCRIBE, self.pictures(record)), record=record.id)

    def pictures(self, record: Record) -> tuple[ImageInput, ...]:
        """The record's pictures, preprocessed."""
        key = record.images
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        images = self._read(record)
        try:
            inputs = self.policy.preprocess(images)
        except UserError as error:
            raise DataError(self._told(record, f"{', '.join(key)}: {error}"), exit_code=1) from None
        self._keep(key, inputs)
        return inputs

    def _read(self, record: Record) -> list[Image.Image]:
        try:
            return self.material.images(record)
        except DataError as error:
            root = self.material.dataset.root
            aside = f"Set it aside with 'rise data check {root} --quarantine', then run again."
            raise DataError(f"record '{record.id}': {error} {aside}", exit_code=1) from error

    def _told(self, record: Record, problem: str) -> str:
        return f"record '{record.id}' of {self.material.dataset.root}: {problem} Or take its row out."

    def _keep(self, key: tuple[str, ...], inputs: tuple[ImageInput, ...]) -> None:
        self._kept[key] = inputs
        self._bytes += _size(inputs)
        while self._bytes > self.limit and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= _size(old)


def _size(inputs: tuple[ImageInput, ...]) -> int:
    return sum(image.pixel_values.numel() * image.pixel_values.element_size() for image in inputs)
