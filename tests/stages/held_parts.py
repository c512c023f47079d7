"""What two processes hold of a model in parts: a program started by test_parts.

``held_parts.py MODEL``: each process is a forked child. Prints, for each, the share that it holds of every layer, the
numbers in the decoder and in the tensors alive that could be its, hashes of the whole and of the parts put together.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import sys
from typing import Any

import torch

from rise_vlm import ranks
from rise_vlm.engine.checkpoint import fingerprint
from rise_vlm.policy import Policy, parts


def held(name: str) -> dict[str, Any]:
    ranks.start()
    policy = Policy.load(name, dtype="float32")
    policy.check()
    layers: Any = policy.language_model.get_submodule("layers")
    with torch.no_grad(), policy.in_step():  # as many passes as there are processes before this one
        prompt = policy.encode("What is this?")
        for _ in range(ranks.rank()):
            embeds = policy.embed(prompt.input_ids[None], [])
            policy.hidden(embeds, prompt.positions[:, None], None)
    shares = [
        sum(parts.own(one).numel() for one in layer.parameters()) / sum(one.numel() for one in layer.parameters())
        for layer in layers
    ]
    others = {id(weight) for name, weight in policy.model.named_parameters() if ".layers." not in name}
    alive = sum(storage // 4 for storage in _storages(others))
    with policy.whole():
        state = policy._whole or {}
    return {
        "shares": shares,
        "decoder": sum(weight.numel() for weight in layers.parameters()),
        "alive": alive,
        "again": _hash(state) if ranks.is_main() else "",
        "fingerprint": fingerprint(policy.model),
    }


def _storages(others: set[int]) -> list[int]:
    """Bytes of each memory that a tensor stands in, without those of ``others``."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    aside = {one.untyped_storage().data_ptr() for one in tensors if id(one) in others}
    plain = [one for one in tensors if not parts.is_part(one) and one.device.type == "cpu"]
    plain += [parts.own(one) for one in tensors if parts.is_part(one)]
    found = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in plain}
    return [size for place, size in found.items() if place not in aside]


def _hash(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def main(name: str) -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes: list[int] = []
    for rank in range(2):
        read, write = os.pipe()
        if not os.fork():
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
            os.environ |= {key: str(value) for key, value in place.items()}
            os.write(write, json.dumps(held(name)).encode())
            ranks.stop()
            os._exit(0)
        os.close(write)
        pipes.append(read)
    found = [json.loads(os.fdopen(read).read()) for read in pipes]
    whole = Policy.load(name, dtype="float32")
    hashed = _hash(whole.base.state_dict())
    for rank, one in enumerate(found):
        one |= {"whole": hashed if rank == 0 else "", "of whole": fingerprint(whole.model)}
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps(main(sys.argv[1])))
