"""The weights that pre-training updates: float32 copies and their optimizers, over gradients averaged over processes.

Left out: the model in its own precision, the loss and the schedule (``train``).
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from rise_vlm.engine.optimizer import muon_products

CPU = torch.device("cpu")


class Masters:
    """float32 copies of the weights, updated by Muon (matrices) and AdamW (embeddings, reader, norms, biases)."""

    def __init__(self, model: nn.Module, rate: float) -> None:
        self.rate = rate
        self.products = muon_products(CPU)
        self.named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.copies = {name: p.detach().float().clone() for name, p in self.named}
        ends = ("embed_tokens", "reader")
        matrices = [c for n, c in self.copies.items() if c.ndim == 2 and not any(end in n for end in ends)]
        others = [c for n, c in self.copies.items() if c.ndim != 2 or any(end in n for end in ends)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, share: float, processes: int) -> float:
        """One update at ``share`` of the peak rate with the mean gradient of all processes; returns its norm."""
        sizes = [parameter.numel() for _, parameter in self.named]
        flat = torch.cat([_gradient(parameter) for _, parameter in self.named]) / processes
        distributed.all_reduce(flat)
        for (name, parameter), gradient in zip(self.named, flat.split(sizes), strict=True):
            self.copies[name].grad = gradient.view_as(parameter)
            parameter.grad = None
        # No gradient on any process: left alone, since Muon would go on along what it remembers, at full rate.
        for copy in self.copies.values():
            if copy.grad is not None and not copy.grad.any():
                copy.grad = None
        norm = float(nn.utils.clip_grad_norm_(list(self.copies.values()), 1.0))
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = self.rate * share
            with self.products:
                optimizer.step()
        with torch.no_grad():
            for name, parameter in self.named:
                parameter.copy_(self.copies[name])
        return norm

    def state(self) -> dict[str, Tensor]:
        """Masters and optimizer states as one flat dictionary of tensors."""
        flat = {f"master/{name}": copy.detach() for name, copy in self.copies.items()}
        for k, optimizer in enumerate(self.optimizers):
            for i, values in optimizer.state_dict()["state"].items():
                flat |= {f"optimizer{k}/{i}/{key}": torch.as_tensor(value) for key, value in values.items()}
        return flat

    def load(self, flat: dict[str, Tensor]) -> None:
        """The inverse of ``state``."""
        with torch.no_grad():
            for name, parameter in self.named:
                self.copies[name].copy_(flat[f"master/{name}"])
                parameter.copy_(self.copies[name])
        for k, optimizer in enumerate(self.optimizers):
            full = optimizer.state_dict()
            for key, value in flat.items():
                if key.startswith(f"optimizer{k}/"):
                    _, index, field = key.split("/")
                    full["state"].setdefault(int(index), {})[field] = value
            optimizer.load_state_dict(full)


def _gradient(parameter: Tensor) -> Tensor:
    return (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).float().flatten()
