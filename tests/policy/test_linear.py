"""oneDNN's products against torch's own, in values and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rise_vlm.policy import linear as module
from rise_vlm.policy.linear import FEW, Linear, fast_linears, linear, packed_weights

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where the products pay, on any that has them."""
    if not module._works(torch.float32):
        pytest.skip("this torch or processor has no such product")
    monkeypatch.setattr(module, "_float32_pays", lambda: True)


def made(dtype: torch.dtype = torch.float32, bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
    """A layer of torch, and a copy that takes our products."""
    torch.manual_seed(0)
    plain = nn.Linear(48, 80, bias=bias).to(dtype)
    ours = nn.Sequential(copy.deepcopy(plain))
    fast_linears(ours, CPU)
    assert type(ours[0]) is Linear
    return plain, ours[0]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each product that oneDNN computes whether its weights were laid out."""
    found: list[bool] = []
    real = module._onednn

    def counted(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found.append(weight.layout != torch.strided)
        return real(rows, weight, bias)

    monkeypatch.setattr(module, "_onednn", counted)
    return found


def near(ours: Tensor | None, theirs: Tensor | None) -> bool:
    """Of one type and shape, and apart by rounding alone."""
    if ours is None or theirs is None or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False
    return float((ours - theirs).norm() / theirs.norm()) < (1e-2 if ours.dtype == torch.bfloat16 else 2e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(200, 48), (2, 90, 48), (3, 48), (48,), (0, 48)])
def test_values_and_gradients_are_torch_s(shape: tuple[int, ...], bias: bool, calls: list[bool]) -> None:
    plain, ours = made(bias=bias)
    rows = torch.randn(shape)
    slope = torch.randn(*shape[:-1], 80)
    found: list[list[Tensor | None]] = []
    for layer in (ours, plain):
        given = rows.clone().requires_grad_()
        out = layer(given)
        out.backward(slope)
        found.append([out.detach(), given.grad, layer.weight.grad, layer.bias.grad if bias else out.detach()])
    for mine, theirs in zip(*found, strict=True):
        if rows.numel():
            assert near(mine, theirs)
        else:
            assert mine is not None and theirs is not None and mine.shape == theirs.shape
    assert calls == ([False] * 3 if rows.numel() > FEW * 48 else []), "forward, and both gradients"


def test_a_bias_alone_gets_its_gradient() -> None:
    plain, ours = made()
    ours.weight.requires_grad_(False)
    ours(torch.randn(200, 48)).sum().backward()
    assert ours.weight.grad is None
    assert near(ours.bias.grad, torch.full((80,), 200.0))
    assert plain.bias.grad is None


def test_layers_that_are_computed_again_get_the_same_gradients() -> None:
    plain, ours = made()
    rows = torch.randn(200, 48)
    for layer in (ours, plain):
        checkpoint(layer, rows, use_reentrant=False).square().sum().backward()
    assert near(ours.weight.grad, plain.weight.grad)


def test_autocast_is_torch_s_business(calls: list[bool]) -> None:
    _, ours = made()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(torch.randn(200, 48)).dtype == torch.bfloat16
    assert not calls


def test_gradients_of_one_number_and_of_rows_out_of_order() -> None:
    """A sum's gradient is one number expanded; rows may be a view of something else."""
    plain, ours = made()
    wide = torch.randn(48, 300)
    for layer in (ours, plain):
        layer(wide.t()[::2]).sum().backward()
    assert near(ours.weight.grad, plain.weight.grad)


def test_what_is_frozen_gets_no_gradient_and_keeps_nothing() -> None:
    plain, ours = made()
    ours.requires_grad_(False)
    kept: list[Tensor] = []
    rows = torch.randn(200, 48, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = ours(rows)
    assert [tuple(t.shape) for t in kept] == [(80, 48)]
    out.sum().backward()
    assert ours.weight.grad is None
    assert near(rows.grad, plain.weight.detach().sum(0).expand(200, 48))
    still = torch.randn(200, 48)
    assert not ours(still).requires_grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 16, FEW, 300])
def test_packed_weights_give_the_same_while_they_are_packed(
    dtype: torch.dtype, rows: int, calls: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not module._works(dtype):
        pytest.skip("no such product")
    monkeypatch.setattr(module, "_bfloat16_packs", lambda: True)
    plain, ours = made(dtype)
    x = torch.randn(rows, 1, 48).to(dtype)
    calls.clear()
    with torch.no_grad():
        with packed_weights(ours, ours):
            assert near(ours(x), plain(x))
            assert calls == [True]
        assert ours.packed is None
        ours.weight.mul_(2)
        with packed_weights(ours):
            assert near(ours(x), nn.functional.linear(x, plain.weight * 2, plain.bias))


def out_of_memory(*_: object) -> Tensor:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")


def test_weights_are_unpacked_after_an_error_and_large_models_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = made()
    with pytest.raises(KeyError), packed_weights(ours):
        assert ours.packed is not None
        raise KeyError
    assert ours.packed is None
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", out_of_memory)
    with packed_weights(ours):
        assert ours.packed is None
    monkeypatch.undo()
    monkeypatch.setattr(module, "_float32_pays", lambda: True)
    monkeypatch.setattr(module, "PACKED_BYTES", 48 * 80 * 4 - 1)
    with packed_weights(ours):
        assert ours.packed is None


def test_the_layer_stays_what_it_was_for_everyone_else() -> None:
    plain, ours = made()
    assert isinstance(ours, nn.Linear) and list(ours.state_dict()) == list(plain.state_dict())
    again = copy.deepcopy(ours)
    assert type(again) is Linear and again.weight.data_ptr() != ours.weight.data_ptr()
    assert near(again(torch.ones(100, 48)).detach(), plain(torch.ones(100, 48)).detach())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_is_a_product(dtype: torch.dtype) -> None:
    left, right = torch.randn(100, 48).to(dtype), torch.randn(48, 90).to(dtype)
    assert near(module.product(left, right), left @ right)
    assert near(module.product(right.T, left.T), right.T @ left.T)


def test_other_types_and_devices_take_torch_s_product() -> None:
    plain, _ = made(torch.float64)
    rows = torch.ones(200, 48).double()
    assert near(linear(rows, plain.weight, plain.bias).detach(), plain(rows).detach())
    layers = nn.Sequential(nn.Linear(2, 2))
    fast_linears(layers, torch.device("meta"))
    assert type(layers[0]) is nn.Linear


def test_without_such_a_product_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_float32_pays", lambda: False)
    monkeypatch.setattr(module, "_bfloat16_packs", lambda: False)
    layers = nn.Sequential(nn.Linear(48, 80))
    fast_linears(layers, CPU)
    assert type(layers[0]) is nn.Linear
    x = torch.randn(200, 48)
    assert torch.equal(linear(x, layers[0].weight, layers[0].bias), layers[0](x))
