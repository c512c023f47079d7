"""The engine: sampling, scoring, objectives and the training loop. One prompt is computed once."""
