"""Presets of the closed loop and of GRPO: settings that take effect unless a recipe or an override says otherwise.

The loop's ``official`` makes the choices of the official code, where it makes any, so that the difference to ours can
be measured: the reconstructor sees the picture and samples at 0.7, the gradient goes to the tokens of the
reconstructed answer, the format counts as much as the score, nothing checks grounding or length, and distributions
are rewarded by exp(-KL/2 - MSE/2); they are tested by the same score as all others. The warm-up, of which that code
has none, stays: leave it out of ``stages`` to be without. Left out: its faults (a leak check that never fires for
boxes, a repetition penalty while sampling that the scored log-probabilities do not have, answers that cannot be
parsed scoring 0.7).

GRPO's ``official`` is the reinforcement of RISE's code: its score plus the format at full weight, the loss averaged
over each completion's tokens, no divergence term (the default of its pinned TRL). Left out: that a decimal in the
rationale costs nine tenths, that classification pays the format by the sum of the probabilities, training on 16
records.

GRPO's ``visual_rft`` is Visual-RFT's code: the score of its task (``visual_rft``: detection, greedy matching from an
IoU of 0.5 on; grounding, the generalised IoU; classes, right or wrong) plus the format at full weight, beta 0.04.
Which beta its runs had is unknown: the scripts set none, and the default of TRL was 0.04 when they were written and
is 0 since. Left out: the confidence reward, our answers stating none; that grounding pays up to 2
(``grpo.score_weight=2``); and its faults (empty answers and lists of classes that count as right, one number compared
in place of a box).

Both leave out sizes and rates, which go with the model. Where loop and GRPO name presets of different scores, GRPO's
holds for both: there is one ``task.score``.
"""

from __future__ import annotations

from typing import Any


def _grpo(score: str, beta: float) -> dict[str, Any]:
    return {
        "task": {"score": score},
        "grpo": {
            "score_weight": 1.0,
            "format_weight": 1.0,
            "rewards": {"repetition": 0.0, "reconstruction": 0.0},
            "objective": {"loss": "grpo", "advantage": "group_std", "beta": beta},
        },
    }


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "closed_loop": {
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
    },
    "grpo": {
        "ours": {},
        "official": _grpo("official", beta=0.0),
        "visual_rft": _grpo("visual_rft", beta=0.04),
    },
}
"""By the section that names them, then by name."""
