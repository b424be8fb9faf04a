"""Training: episodes, packed log-probabilities, objectives, the loop, recipes."""
