"""What a RISE training takes of memory and time, by arithmetic: the tables of docs/scaling.md.

    python benchmarks/scaling.py [--parts] [--memory 80] [--flops 400e12] [--bandwidth 1.7e12] [--link 300e9]

Nothing is measured here. Rates are of one device: products with gradient, reading weights in decoding, and, with
``--parts``, getting the others' parts of a layer; the defaults are goals for an H100 (0.4 of its peak, half of its
bandwidth, two thirds of its NVLink). Give those that `rise bench step` finds on yours.
Sizes are those of the released models; a step is 8 records of 480,000 pixels and 8 rationales of 64 tokens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

RECORDS, GROUP, PICTURE, TEXT, COMPLETION = 8, 8, 612, 60, 64
"""Of a step: records, rationales of each, tokens of a picture, of the words around it, and of a rationale."""

GB = 1e9


@dataclass(frozen=True)
class Shape:
    """A released model: its parameters; of its decoder layers, hidden size, MLP, query and key-value heads of 128."""

    name: str
    parameters: float
    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int

    @property
    def cache(self) -> float:
        """Bytes of keys and values of a token, bfloat16."""
        return 2 * 2 * self.layers * self.kv_heads * 128

    @property
    def activations(self) -> float:
        """Bytes that a token leaves for the backward pass: of each layer what its products and norms take, bfloat16."""
        attention = (2 * self.heads + 2 * self.kv_heads) * 128
        return 2 * self.layers * (6 * self.hidden + attention + 4 * self.mlp)

    @property
    def layer(self) -> float:
        """Parameters of a decoder layer: attention and MLP."""
        return self.hidden * ((2 * self.heads + 2 * self.kv_heads) * 128 + 3 * self.mlp)

    @property
    def divided(self) -> float:
        """Parameters of all layers, which is what is in parts."""
        return self.layers * self.layer


SHAPES = (
    Shape("2B", 2.2e9, 28, 1536, 8960, 12, 2),
    Shape("7B", 8.3e9, 28, 3584, 18944, 28, 4),
    Shape("32B", 33.5e9, 64, 5120, 27648, 40, 8),
)

GROUP_TOKENS = PICTURE + TEXT + GROUP * COMPLETION


def memory(shape: Shape, devices: int, lora: bool, models: int) -> float:
    """Bytes on one device in the closed loop: ``models`` of which one trains, and the larger of what a group leaves for
    its backward pass and what decoding the device's share keeps. Adapters, 1 % of the weights, have one base."""
    adapters = 0.01 * shape.parameters
    weights = 2 * (shape.parameters + models * adapters if lora else models * shape.parameters)
    trains = adapters if lora else shape.parameters
    learning = 4 * trains + 12 * trains / devices
    return weights + learning + passing(shape, devices)


def passing(shape: Shape, devices: int) -> float:
    """Bytes of the larger of the two."""
    decoding = RECORDS / min(devices, RECORDS) * GROUP_TOKENS * shape.cache
    return max(GROUP_TOKENS * shape.activations, decoding)


def in_parts(shape: Shape, devices: int, lora: bool) -> tuple[float, ...]:
    """Bytes on one device with weights in parts: of the policy's layers, of all else that it has, of a second model, of
    the layer that is gathered, of activations or cache.

    Layers that train are float32 with a gradient and two moments (AdamW), those that do not bfloat16. In the backward
    pass two layers and a message are there in bfloat16 and, where it trains, the gradient and the float32 message that
    sums it. All else is as with whole weights; under LoRA other models share it.
    """
    rest, adapters = shape.parameters - shape.divided, 0.01 * shape.parameters
    layers = (2 if lora else 16) * shape.divided / devices
    learning = 4 + 12 / devices
    whole = 2 * rest + (2 + learning) * adapters if lora else (2 + learning) * rest
    other = 2 * shape.divided / devices + (2 * adapters if lora else 2 * rest)
    return layers, whole, other, (6 if lora else 12) * shape.layer, passing(shape, devices)


def moved(shape: Shape, devices: int) -> float:
    """Bytes that a device gets in a forward pass, such as a step of decoding: the others' parts of all layers."""
    return 2 * shape.divided * (devices - 1) / devices


def seconds_in_parts(shape: Shape, devices: int, lora: bool, flops: float, bandwidth: float, link: float) -> float:
    """Of one loop step: as ``seconds``, and what is moved in decoding and the five other passes, none of it hidden
    behind products; then the sum of the gradients."""
    passes = 2 * COMPLETION + 5 + (0 if lora else 2)
    return seconds(shape, devices, flops, bandwidth) + passes * moved(shape, devices) / link


def seconds(shape: Shape, devices: int, flops: float, bandwidth: float) -> float:
    """Of one loop step, blind: prefill, decoding of rationales and annotations, grounding, and the update."""
    share = max(RECORDS / devices, 1.0)
    tokens = share * GROUP_TOKENS
    forward = 2 * shape.parameters * tokens / flops
    decoding = 2 * COMPLETION * 2 * shape.parameters / bandwidth
    return forward * (1 + 2 + 3) + decoding  # prefill, two pictures for grounding, forward and backward


def table(limit: float, flops: float, bandwidth: float) -> str:
    rows = ["| model | trains | devices | GB, three models | GB, one model | seconds a step |", "|---" * 6 + "|"]
    for shape in SHAPES:
        for lora in (True, False):
            for devices in (1, 8, 16):
                if lora and devices == 16:
                    continue
                fits = [memory(shape, devices, lora, models) / GB for models in (3, 1)]
                shown = " | ".join(f"{size:.0f}" if size <= limit else f"({size:.0f})" for size in fits)
                time = f"{seconds(shape, devices, flops, bandwidth):.1f}" if min(fits) <= limit else "-"
                rows.append(f"| {shape.name} | {'LoRA' if lora else 'all'} | {devices} | {shown} | {time} |")
    return "\n".join(rows)


def table_in_parts(limit: float, flops: float, bandwidth: float, link: float) -> str:
    heads = ("model", "trains", "devices", "its layers", "its rest", "another model", "gathered", "activations",
             "GB, three models", "GB, one model", "GB moved a pass", "seconds a step")  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for shape in SHAPES[1:]:
        for lora in (True, False):
            for devices in (8, 16, 32):
                parts = [size / GB for size in in_parts(shape, devices, lora)]
                one = sum(parts) - parts[2]
                fits = [one + 2 * parts[2], one]
                shown = [f"{size:.1f}" for size in parts]
                shown += [f"{size:.0f}" if size <= limit else f"({size:.0f})" for size in fits]
                time = seconds_in_parts(shape, devices, lora, flops, bandwidth, link)
                shown += [f"{moved(shape, devices) / GB:.0f}", f"{time:.0f}" if one <= limit else "-"]
                rows.append(f"| {shape.name} | {'LoRA' if lora else 'all'} | {devices} | {' | '.join(shown)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=float, default=80, help="GB of a device")
    parser.add_argument("--flops", type=float, default=400e12, help="operations a second in products")
    parser.add_argument("--bandwidth", type=float, default=1.7e12, help="bytes a second in decoding")
    parser.add_argument("--parts", action="store_true", help="the table of weights in parts")
    parser.add_argument("--link", type=float, default=300e9, help="bytes a second that a device gets from the others")
    given = parser.parse_args()
    if given.parts:
        print(table_in_parts(given.memory, given.flops, given.bandwidth, given.link))
    else:
        print(table(given.memory, given.flops, given.bandwidth))
