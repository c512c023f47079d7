"""Rewards: pure functions of numbers and text. No torch, no files, no model."""
