"""The families of models that tests prove, each with what cannot be read off a checkpoint. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What cannot be read off a checkpoint.

    ``patches``: the image processor makes rows of patches, and pictures of any sizes share one tower pass (Qwen).
    ``both_ways``: tokens of one picture see each other, later ones too.
    ``finer_alone``: a picture that is alone in its prompt is cut into tiles, one of several is not.
    ``processor``: a class to use in place of the family's own, which needs packages that serve videos only.
    """

    patches: bool = False
    both_ways: bool = False
    finer_alone: bool = False
    processor: str | None = None


FAMILIES: dict[str, Traits] = {
    "qwen2_vl": Traits(patches=True),
    "qwen2_5_vl": Traits(patches=True),
    "qwen3_vl": Traits(patches=True),
    "smolvlm": Traits(processor="Idefics3Processor"),
    "idefics3": Traits(),
    "internvl": Traits(),
    "llava": Traits(),
    "llava_onevision": Traits(finer_alone=True),
    "llava_next": Traits(),
    "glm4v": Traits(patches=True),
    "gemma3": Traits(both_ways=True),
}
"""``model_type`` of a configuration -> traits, for the families that tests prove."""


def traits_of(model_type: str) -> Traits:
    """The traits of a family; the default ones where nobody wrote them down."""
    return FAMILIES.get(model_type, Traits())
