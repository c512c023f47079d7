"""What two processes hold of a model in parts: a program started by test_parts.

``held_parts.py FOLDER``: writes a random model of 24 layers there, of which each process, a forked child, opens its
part. Prints, for each, the share that it holds of every layer; bytes of the decoder, and by how much the process's own
memory grew by the load, and at most while it computed; hashes of the whole and of the parts put together.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))

import torch
from tiny_models import save_tiny

from rise_vlm import ranks
from rise_vlm.engine.checkpoint import fingerprint
from rise_vlm.policy import Policy, parts


def held(name: str) -> dict[str, Any]:
    ranks.start()
    before = memory()
    policy = Policy.load(name, dtype="float32")
    policy.check()
    gc.collect()
    loaded = memory() - before
    layers: Any = policy.language_model.get_submodule("layers")
    seen: list[int] = []
    for layer in layers:
        layer.register_forward_hook(lambda *_: seen.append(memory() - before))
    prompt = policy.encode("What is this?")
    with torch.no_grad(), policy.in_step():  # as many passes as there are processes before this one
        for _ in range(ranks.rank()):
            policy.hidden(policy.embed(prompt.input_ids[None], []), prompt.positions[:, None], None)
    with policy.whole():
        again = hashed(policy._whole) if policy._whole else ""
    return {
        "shares": [count(parts.own(one) for one in layer.parameters()) / count(layer.parameters()) for layer in layers],
        "decoder": 4 * count(layers.parameters()),
        "layer": 4 * count(layers[0].parameters()),
        "loaded": loaded,
        "computing": max(seen),
        "again": again,
        "fingerprint": fingerprint(policy.model),
    }


def count(tensors: Any) -> int:
    return sum(one.numel() for one in tensors)


def memory() -> int:
    """Bytes that are this process's own: not those of files that it has mapped."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def hashed(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def main(folder: Path) -> list[dict[str, Any]]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 12, 12]}
    large = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 24, "rope_parameters": rope}
    name = str(save_tiny(folder / "large", **large))
    Policy.load(str(save_tiny(folder / "small")), dtype="float32")  # what a load imports is nobody's growth
    gc.collect()
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
            with os.fdopen(write, "w") as pipe:
                pipe.write(json.dumps(held(name)))
            ranks.stop()
            os._exit(0)
        os.close(write)
        pipes.append(read)
    found = [json.loads(os.fdopen(read).read()) for read in pipes]
    whole = Policy.load(name, dtype="float32")
    digest, prints = hashed(whole.base.state_dict()), fingerprint(whole.model)
    return [one | {"whole": digest if rank == 0 else "", "of whole": prints} for rank, one in enumerate(found)]


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps(main(Path(sys.argv[1]))))
