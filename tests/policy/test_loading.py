"""Opening checkpoints: what loads, with which settings, and one clear message for each way it can fail."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import picture

from rise_vlm.errors import UserError
from rise_vlm.policy import LoraSettings, Policy
from rise_vlm.policy.frames import ResizedPixels, Thousand
from rise_vlm.policy.loading import cpu_has_bf16, pick_dtype


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(checkpoints["qwen2_vl"], tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None drops one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def drop_a_weight(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state.pop(next(name for name in state if "gate_proj" in name))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def swap_a_shape(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if "gate_proj" in name)
    save_file(state | {name: torch.zeros(3, 3)}, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "config is not JSON": (lambda f: (f / "config.json").write_text("{"), "configuration cannot be read"),
    "unknown architecture": (lambda f: edit(f / "config.json", model_type="martian"), "configuration cannot be read"),
    "a text model": (lambda f: edit(f / "config.json", model_type="gpt2"), "'gpt2' is no vision-language model"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "weights cannot be loaded"),
    "truncated weights": (truncate, "weights cannot be loaded"),
    "a weight is missing": (drop_a_weight, "do not fit its configuration .*gate_proj"),
    "a weight of another shape": (swap_a_shape, "weights"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer cannot be read"),
    "no chat template": (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
    "no image processor": (lambda f: (f / "preprocessor_config.json").unlink(), "image processor cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_named_in_one_line(folder: Path, case: str) -> None:
    harm, message = BROKEN[case]
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        Policy.load(str(folder))
    text = str(caught.value)
    assert str(folder) in text
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("name", ["no/such/folder", "nowhere", "./nowhere", "/nowhere/at/all", "a b/c", ""])
def test_a_missing_folder_is_named_and_no_hub_asked(name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Policy.load(name)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="no such folder"):
        Policy.load(str(tmp_path / "model.bin"))


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(UserError, match="Did you mean 'tiny'"):
        Policy.load("tinny")


def test_a_hub_id_without_network_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"model nobody/nothing-at-all: it cannot be found \(.+\)\.$"):
        Policy.load("nobody/nothing-at-all")


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Policy.load(str(folder))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "frame"), [("qwen2_vl", Thousand), ("qwen2_5_vl", ResizedPixels)])
def test_the_frame_is_the_family_s_and_knows_the_resizing(checkpoints: dict[str, Path], kind: str, frame: type) -> None:
    policy = Policy.load(str(checkpoints[kind]), max_pixels=28 * 28 * 6)
    assert isinstance(policy.frame, frame)
    if isinstance(policy.frame, ResizedPixels):
        whole = policy.frame.encode([0, 0, 300, 200], 300, 200)
        rows, columns = policy.preprocess([picture(0, 300, 200)])[0].grid[1:].tolist()
        assert whole == [0, 0, columns * 14, rows * 14]


def test_stop_and_banned_ids(policy: Policy) -> None:
    tokenizer = policy.tokenizer
    assert policy.stop_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    names = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|endoftext|>"]
    banned = {tokenizer.convert_tokens_to_ids(name) for name in names} | {263}  # 263 is beyond the tokenizer
    assert set(policy.banned_ids.tolist()) == banned
    logits = policy.logits(torch.randn(2, 32))
    assert logits.dtype == torch.float32
    assert {i for i in range(264) if logits[0, i] == -torch.inf} == banned


def test_only_what_should_train_does(checkpoints: dict[str, Path]) -> None:
    def trained(**settings: Any) -> set[str]:
        policy = Policy.load(str(checkpoints["qwen2_vl"]), **settings)
        assert policy.tower_frozen == (
            not any("visual" in n for n, w in policy.model.named_parameters() if w.requires_grad)
        )
        return {name for name, weight in policy.model.named_parameters() if weight.requires_grad}

    frozen, whole = trained(), trained(freeze_tower=False)
    assert whole - frozen == {name for name in whole if "visual" in name} != set()
    assert all("lora_" in name and "visual" not in name for name in trained(lora=LoraSettings(r=2)))


def test_types(checkpoints: dict[str, Path]) -> None:
    for dtype in ("float32", "bfloat16"):
        assert Policy.load(str(checkpoints["qwen2_vl"]), dtype=dtype).dtype == getattr(torch, dtype)
    expected = torch.bfloat16 if cpu_has_bf16() else torch.float32
    assert Policy.load(str(checkpoints["qwen2_vl"]), device="cpu").dtype == expected
    assert pick_dtype("auto", torch.device("meta")) == torch.float32


def test_what_is_saved_loads_to_the_same_model(policy: Policy, tmp_path: Path) -> None:
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.01)
    policy.save(tmp_path / "saved")
    again = Policy.load(str(tmp_path / "saved"), dtype="float32")
    for mine, theirs in zip(policy.model.state_dict().items(), again.model.state_dict().items(), strict=True):
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1], theirs[1])
    assert again.encode("Hi", [picture(0)]).identity == policy.encode("Hi", [picture(0)]).identity
    assert (again.stop_ids, again.banned_ids.tolist()) == (policy.stop_ids, policy.banned_ids.tolist())


def test_a_saved_checkpoint_keeps_no_sampling_settings(folder: Path, tmp_path: Path) -> None:
    edit(folder / "generation_config.json", temperature=0.01, top_k=1, do_sample=True, eos_token_id=[2, 0])
    policy = Policy.load(str(folder))
    assert policy.stop_ids == (0, 2)
    assert 0 not in policy.banned_ids.tolist()  # the padding token, but it stops here
    policy.save(tmp_path / "saved")
    kept = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert kept["eos_token_id"] == [0, 2]
    assert not {"temperature", "top_k", "top_p", "do_sample"} & set(kept)
    assert policy.base.generation_config.temperature == 0.01


def test_a_saved_checkpoint_opens_in_transformers(policy: Policy, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    policy.save(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == policy.tokenizer.chat_template
    assert AutoImageProcessor.from_pretrained(tmp_path / "saved", backend="pil").size == policy.processor.size
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved")
    assert type(model) is type(policy.base)


def test_a_reference_is_what_was_loaded(checkpoints: dict[str, Path]) -> None:
    policy = Policy.load(str(checkpoints["qwen2_vl"]), dtype="float32", keep_reference=True, freeze_tower=False)
    prompt = policy.encode("Hi", [picture(0)])
    embeds = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(4).expand(3, 1, 4)

    def outputs() -> list[torch.Tensor]:
        feature = policy.image_features([prompt], grad=False)[prompt.images[0].key]
        return [policy.hidden(embeds, positions, None).detach(), feature]

    before = outputs()
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.1)
    with policy.reference():
        for old, new in zip(before, outputs(), strict=True):
            assert torch.equal(old, new)
    for old, new in zip(before, outputs(), strict=True):
        assert not torch.allclose(old, new)
    with pytest.raises(UserError, match="keep_reference"), Policy.load(str(checkpoints["qwen2_vl"])).reference():
        pass


@pytest.mark.parametrize(("name", "tokens"), [("tiny", 36), ("tiny_fine", 144)])
def test_a_built_in_model_loads_by_name_and_sees_pictures_at_its_size(name: str, tokens: int) -> None:
    policy = Policy.load(name)
    assert policy.packs
    assert isinstance(policy.frame, Thousand)
    pad = policy.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert policy.encode("Describe this.", [picture(0, 500, 500)]).input_ids.tolist().count(pad) == tokens
