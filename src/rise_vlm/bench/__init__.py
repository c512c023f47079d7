"""Benchmarks: a step of ours beside the same step of others, in turn, in one process, on the same weights.

``case`` says what is computed, ``meter`` what is measured, ``ours``, ``trl_side`` and ``official`` are the sides, and
``compare`` puts them side by side. Left out: reward and accuracy of what is trained; the learning rate is next to zero.
"""
