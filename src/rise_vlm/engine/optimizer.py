"""AdamW or Muon whose state is float32 whatever the weights are, and the learning-rate schedule.

A bfloat16 weight has 8 bits of mantissa: an update of a thousandth of its size is rounded away. So each half-precision
parameter gets a float32 *master* that is updated and rounded into it; gradients of the micro-batches are summed in
float32 too. A float32 parameter is its own master and costs nothing more.

Of several processes each owns some of the parameters: it alone has their masters and the optimizer's state, gets the
sum of their gradients, updates them and sends them to the others. That moves as many bytes as summing the gradients
everywhere, and what takes the most memory is there once. (ZeRO stage 2, arXiv 1910.02054, of whole tensors.)
A weight in parts (``policy.parts``) is nobody's: each process updates its own part, whose gradient comes summed. But
Muon needs whole matrices: one in parts that it trains has an owner again, who gets the parts of its gradient.

Left out: 8-bit states, parameter groups with rates of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rise_vlm import ranks
from rise_vlm.engine.settings import OptimizerKind
from rise_vlm.errors import UserError
from rise_vlm.policy.loading import cpu_has_bf16
from rise_vlm.policy.parts import collect, is_part, lay_out, own, take

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


class Wide(TorchFunctionMode):
    """What asks for bfloat16 inside gets float32: Muon's products, fifty times slower in bfloat16 on processors that do
    not multiply it.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].float().clone() if func is Tensor.bfloat16 else func(*args, **(kwargs or {}))


def muon_products(device: torch.device) -> AbstractContextManager[Any]:
    """In which Muon steps on a device."""
    return Wide() if device.type == "cpu" and not cpu_has_bf16() else nullcontext()


class MasterOptimizer:
    """AdamW over named parameters, or Muon over the hidden matrices and AdamW over the rest.

    Muon's updates are scaled to the root mean square of AdamW's, so that one rate serves both; weight decay spares
    vectors (norms, biases), as is usual.
    In a step: the backward passes, ``reduce()``, ``gradient_norm()``, ``step(rate, ...)``, ``clear()``. The gradient of
    a half-precision parameter is taken from it while the backward pass goes on, so that these never exist all at once;
    ``close()`` ends that. ``masters`` maps each name that this process owns, or has a part of, to the float32 weights
    that are the truth.

    Of several processes all must construct it at the same time. Raises UserError where nothing trains.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], *, kind: OptimizerKind = "adamw", weight_decay: float = 0.0
    ) -> None:
        if not parameters:
            raise UserError("the policy has no parameter to train: everything is frozen")
        self.parameters = dict(parameters)
        hidden = {name for name, p in parameters.items() if kind == "muon" and _is_hidden(name, p)}
        self.owners = _owners({n: p for n, p in parameters.items() if n in hidden or not is_part(p)}, ranks.size())
        self._dealt = [name for name in self.owners if is_part(parameters[name])]
        self.masters = dict(self._make_masters())
        self._sums: dict[str, Tensor] = {}
        halves = ((name, parameter) for name, parameter in parameters.items() if parameter.dtype in HALF)
        self._hooks = [p.register_post_accumulate_grad_hook(partial(self._collect, name)) for name, p in halves]
        self._fused = all(master.device.type in ("cpu", "cuda") for master in self.masters.values())
        self._optimizers: list[torch.optim.Optimizer] = []
        self._products = muon_products(next(iter(parameters.values())).device)
        matrices = [master for name, master in self.masters.items() if name in hidden]
        if matrices:
            muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            self._optimizers.append(muon)
        rest = [master for name, master in self.masters.items() if name not in hidden]
        matrices = [master for master in rest if master.dim() >= 2]
        vectors = [master for master in rest if master.dim() < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        if rest:
            groups = [group for group in groups if group["params"]]
            self._optimizers.append(torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPS, fused=self._fused))

    def _make_masters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """By name the float32 weights that are this process's to update."""
        for name, parameter in self.parameters.items():
            mine = self.owners.get(name, ranks.rank()) == ranks.rank()
            if name in self._dealt:
                whole = self._at_owner(name, own(parameter))  # in all processes, whoever it is
                if mine:
                    yield name, nn.Parameter(whole)
            elif mine and (is_part(parameter) or parameter.dtype in HALF):
                yield name, nn.Parameter(own(parameter).float())
            elif mine:
                yield name, parameter

    def _at_owner(self, name: str, part: Tensor) -> Tensor:
        """All processes' parts of a tensor, put together where its parameter is owned; elsewhere it is of no use."""
        whole = lay_out(part, self.parameters[name])
        ranks.add([whole], self.owners[name])
        return whole

    def _collect(self, name: str, parameter: Tensor) -> None:
        """Take a parameter's gradient and add it up in float32."""
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        self._sums[name] = self._sums[name].add_(gradient) if name in self._sums else gradient
        parameter.grad = None

    def close(self) -> None:
        """Leave the parameters' gradients alone from here on."""
        for hook in self._hooks:
            hook.remove()

    def reduce(self) -> None:
        """Sum the gradients of all processes where the parameters are owned; elsewhere they are let go.

        A process that has none of a parameter that others have adds nothing to it.
        """
        if ranks.size() == 1:
            return
        held = {name for part in ranks.gather([list(self._gradients())]) for name in part}
        gradients = self._gradients()
        for owner in range(ranks.size()):
            owned = [name for name in self._passed(owner) if name in held]
            summed = [
                gradients[name] if name in gradients else torch.zeros_like(self.parameters[name], dtype=torch.float32)
                for name in owned
            ]
            ranks.add(summed, owner)
            for name, gradient in zip(owned, summed, strict=True):
                self._keep(name, gradient if owner == ranks.rank() else None)
        for name in self._dealt:
            if name in held:
                whole = self._at_owner(name, gradients[name])
                self.parameters[name].grad = None
                if name in self.masters:
                    self._sums[name] = whole

    def gradient_norm(self) -> float:
        """The 2-norm of the gradient that this process holds; NaN or infinite if any part is; 0.0 without any."""
        gradients = list(self._gradients().values())
        return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def whole_norm(self) -> float:
        """The same over all processes, after ``reduce``."""
        norms = ranks.gather([self.gradient_norm()])
        return norms[0] if len(norms) == 1 else math.sqrt(sum(norm * norm for norm in norms))

    def step(self, learning_rate: float, *, norm: float, max_norm: float | None) -> None:
        """One update, with the gradient shortened to ``max_norm`` where its ``norm`` exceeds it."""
        for name, gradient in self._gradients().items():
            self.masters[name].grad = gradient
        if max_norm is not None and norm > max_norm:
            nn.utils.clip_grads_with_norm_(self.masters.values(), max_norm, torch.tensor(norm))
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            with self._products:
                optimizer.step()
        with torch.no_grad():
            for name, master in self.masters.items():
                if self.parameters[name].dtype in HALF:
                    self.parameters[name].copy_(master)
        for owner in range(ranks.size()):
            ranks.spread([self.parameters[name] for name in self._passed(owner)], owner)
        for name in self._dealt:
            parameter = self.parameters[name]
            whole = self.masters[name].detach() if name in self.masters else lay_out(own(parameter), parameter)
            ranks.spread([whole], self.owners[name])
            own(parameter).copy_(take(whole, parameter))

    def _passed(self, owner: int) -> list[str]:
        """The whole parameters that it owns."""
        return [name for name, other in self.owners.items() if other == owner and not is_part(self.parameters[name])]

    def clear(self) -> None:
        """Forget all gradients."""
        self._sums.clear()
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def state(self) -> dict[str, Tensor]:
        """What the optimizer remembers of each parameter that is owned and was updated, by ``KEY.NAME``, such as
        ``exp_avg.NAME``."""
        return {
            f"{key}.{name}": value
            for name, master in self.masters.items()
            for optimizer in self._optimizers
            for key, value in optimizer.state.get(master, {}).items()
        }

    def whole(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """``masters`` and ``state()`` of all processes, put together in the main one; nothing in the others."""
        if ranks.size() == 1:
            return dict(self.masters), self.state()
        weights: dict[str, Tensor] = {}
        state: dict[str, Tensor] = {}
        for name in self.parameters:  # one by one: the whole is several times the model's size
            if name in self.owners:
                found = ranks.to_main(self._kept(name) if name in self.masters else None, self.owners[name])
            else:
                found = self._put_together(name)
            if found is not None:
                weights[name] = found[0]
                state |= found[1]
        return weights, state

    def _kept(self, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        """A master and its state in the machine's memory."""
        master = self.masters[name]
        found = {key: value for optimizer in self._optimizers for key, value in optimizer.state.get(master, {}).items()}
        return master.detach().cpu(), {f"{key}.{name}": value.cpu() for key, value in found.items()}

    def _put_together(self, name: str) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The same of a weight in parts, in the main process. Numbers, such as AdamW's counter, are equal in all."""
        parameter, (part, kept) = self.parameters[name], self._kept(name)
        whole = collect(part, parameter)
        state = {key: value if value.shape != part.shape else collect(value, parameter) for key, value in kept.items()}
        return None if whole is None else (whole, {key: value for key, value in state.items() if value is not None})

    def load_state(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Put back what `whole` gave: names and shapes must agree (the checkpoint has checked them)."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                own(parameter).copy_(take(weights[name], parameter))
            for name, master in self.masters.items():
                master.copy_(self._mine(name, weights[name]))
        kept: dict[str, dict[str, Tensor]] = {}
        for full, value in state.items():
            key, name = full.split(".", 1)
            kept.setdefault(name, {})[key] = value
        names = {id(master): name for name, master in self.masters.items()}
        for optimizer in self._optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                for master in group["params"]:
                    name = names[id(master)]
                    if found := {key: self._mine(name, value) for key, value in kept.get(name, {}).items()}:
                        optimizer.state[master] = {key: self._placed(key, found[key], master) for key in found}

    def _mine(self, name: str, whole: Tensor) -> Tensor:
        """Of a tensor shaped like a parameter, or a number, what belongs to its master here."""
        return whole if name in self.owners else take(whole, self.parameters[name])

    def _placed(self, key: str, value: Tensor, master: Tensor) -> Tensor:
        """A copy of a state's tensor where the optimizer wants it: AdamW's counter stays on the CPU unless fused."""
        return value.to(device="cpu" if key == "step" and not self._fused else master.device, copy=True)

    def _gradients(self) -> dict[str, Tensor]:
        """The gradients held, in float32, by name."""
        held = {name: self._sums.get(name, p.grad) for name, p in self.parameters.items()}
        return {name: own(gradient) for name, gradient in held.items() if gradient is not None}

    def _keep(self, name: str, gradient: Tensor | None) -> None:
        if self.parameters[name].dtype not in HALF:
            self.parameters[name].grad = gradient
        elif gradient is None:
            self._sums.pop(name, None)
        else:
            self._sums[name] = gradient


def _owners(parameters: Mapping[str, nn.Parameter], count: int) -> dict[str, int]:
    """By name who owns it, of ``count`` processes: about as many numbers each."""
    loads = [0] * count
    owners: dict[str, int] = dict.fromkeys(parameters, 0)
    for name in sorted(parameters, key=lambda name: -parameters[name].numel()):
        owners[name] = loads.index(min(loads))
        loads[owners[name]] += parameters[name].numel()
    return owners


def _is_hidden(name: str, weight: Tensor) -> bool:
    """Whether Muon takes it: a matrix that stands neither for the vocabulary nor for patches or positions."""
    return weight.dim() == 2 and not any(part in name for part in VOCABULARY)
