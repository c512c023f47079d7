"""The stages of a run: warm_up, closed_loop, harvest, sft, grpo, evaluate. Each takes files and leaves files.

``run.run_recipe`` puts them in order. Importing this package loads nothing.
"""
