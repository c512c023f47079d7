"""Presets of the closed loop: settings that take effect unless a recipe or an override says otherwise.

``official`` makes the choices of the official code, where it makes any, so that the difference to ours can be measured:
the reconstructor sees the picture and samples at 0.7, the gradient goes to the tokens of the reconstructed answer, the
format counts as much as the score, nothing checks grounding or length, and distributions are rewarded by
exp(-KL/2 - MSE/2); they are tested by the same score as all others. The warm-up, of which that code has none, stays:
leave it out of ``stages`` to be without. Left out: its faults (a leak check that never fires for boxes, a repetition
penalty while sampling that the scored log-probabilities do not have, answers that cannot be parsed scoring 0.7).
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "official": {
        "task": {"score": "official"},
        "closed_loop": {
            "objective": {"loss": "grpo", "advantage": "group_std", "beta": 0.0},
            "reconstruct": {
                "sees_image": True,
                "temperature": 0.7,
                "samples": 1,
                "combine": False,
                "reconstructor": "policy",
            },
            "grounding": {"weight": 0.0},
            "length": {"weight": 0.0},
            "format_weight": 1.0,
            "credit": "answer",
        },
    },
}
