"""AdamW or Muon whose state is float32 whatever the weights are, and the learning-rate schedule.

A bfloat16 weight has 8 bits of mantissa: an update of a thousandth of its size is rounded away. So each half-precision
parameter gets a float32 *master* that is updated and rounded into it; gradients of the micro-batches are summed in
float32 too. A float32 parameter is its own master and costs nothing more.

Left out: 8-bit states, sharding over devices, parameter groups with rates of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rise_vlm.engine.settings import OptimizerKind
from rise_vlm.errors import UserError

HALF = (torch.bfloat16, torch.float16)
VOCABULARY = ("embed", "wte", "lm_head")
"""In names of embeddings and output layers: matrices that Muon leaves to AdamW."""
BETAS = (0.9, 0.999)
EPS = 1e-8


def learning_rate_at(step: int, *, peak: float, steps: int, warmup_steps: int, schedule: str) -> float:
    """The rate of step 1..``steps``: a linear climb to ``peak`` over ``warmup_steps``, then the schedule.

    ``constant`` stays, ``linear`` and ``cosine`` would reach 0 one step after the last: every step moves the weights.
    """
    done = step - 1
    if done < warmup_steps:
        return peak * step / warmup_steps
    progress = (done - warmup_steps) / max(steps - warmup_steps, 1)
    if schedule == "linear":
        return peak * (1 - progress)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak


class MasterOptimizer:
    """AdamW over named parameters, or Muon over the hidden matrices and AdamW over the rest.

    Muon's updates are scaled to the root mean square of AdamW's, so that one rate serves both; weight decay spares
    vectors (norms, biases), as is usual.
    In a step: ``collect()`` after each backward pass, then ``gradient_norm()``, ``step(rate, ...)``, ``clear()``.
    ``masters`` maps each name to the float32 weights that are the truth.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], *, kind: OptimizerKind = "adamw", weight_decay: float = 0.0
    ) -> None:
        if not parameters:
            raise UserError("the policy has no parameter to train: everything is frozen")
        self.parameters = dict(parameters)
        self.masters = {
            name: nn.Parameter(parameter.detach().float()) if parameter.dtype in HALF else parameter
            for name, parameter in parameters.items()
        }
        self._fused = all(master.device.type in ("cpu", "cuda") for master in self.masters.values())
        self._optimizers: list[torch.optim.Optimizer] = []
        hidden = [master for name, master in self.masters.items() if kind == "muon" and _is_hidden(name, master)]
        if hidden:
            muon = torch.optim.Muon(hidden, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            self._optimizers.append(muon)
        taken = {id(master) for master in hidden}
        rest = [master for master in self.masters.values() if id(master) not in taken]
        matrices = [master for master in rest if master.dim() >= 2]
        vectors = [master for master in rest if master.dim() < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        if rest:
            groups = [group for group in groups if group["params"]]
            self._optimizers.append(torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPS, fused=self._fused))

    def collect(self) -> None:
        """Move the gradients of half-precision parameters into their masters, where they add up in float32."""
        for name, parameter in self.parameters.items():
            master = self.masters[name]
            if parameter is master or parameter.grad is None:
                continue
            gradient = parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def gradient_norm(self) -> float:
        """The 2-norm of the whole gradient; NaN or infinite if any part is; 0.0 without any gradient."""
        gradients = self._gradients()
        return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def step(self, learning_rate: float, *, norm: float, max_norm: float | None) -> None:
        """One update, with the gradient shortened to ``max_norm`` where its ``norm`` exceeds it."""
        if max_norm is not None and norm > max_norm:
            nn.utils.clip_grads_with_norm_(self.masters.values(), max_norm, torch.tensor(norm))
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter is not self.masters[name]:
                    parameter.copy_(self.masters[name])

    def clear(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def state(self) -> dict[str, Tensor]:
        """What the optimizer remembers of each parameter updated so far, by ``KEY.NAME``, such as ``exp_avg.NAME``."""
        return {
            f"{key}.{name}": value
            for name, master in self.masters.items()
            for optimizer in self._optimizers
            for key, value in optimizer.state.get(master, {}).items()
        }

    def load_state(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Put back what ``masters`` and `state` held: names and shapes must agree (the checkpoint has checked them)."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(weights[name])
                if self.parameters[name] is not master:
                    self.parameters[name].copy_(master)
        kept: dict[str, dict[str, Tensor]] = {}
        for full, value in state.items():
            key, name = full.split(".", 1)
            kept.setdefault(name, {})[key] = value
        names = {id(master): name for name, master in self.masters.items()}
        for optimizer in self._optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                for master in group["params"]:
                    if found := kept.get(names[id(master)]):
                        optimizer.state[master] = {key: self._placed(key, found[key], master) for key in found}

    def _placed(self, key: str, value: Tensor, master: Tensor) -> Tensor:
        """A copy of a state's tensor where the optimizer wants it: AdamW's counter stays on the CPU unless fused."""
        return value.to(device="cpu" if key == "step" and not self._fused else master.device, copy=True)

    def _gradients(self) -> list[Tensor]:
        return [master.grad for master in self.masters.values() if master.grad is not None]


def _is_hidden(name: str, weight: Tensor) -> bool:
    """Whether Muon takes it: a matrix that stands neither for the vocabulary nor for patches or positions."""
    return weight.dim() == 2 and not any(part in name for part in VOCABULARY)
