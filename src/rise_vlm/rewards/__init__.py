"""Rewards: pure functions of numbers. No torch, no files, no text, no model."""
