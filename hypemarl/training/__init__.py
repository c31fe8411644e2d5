"""Training: the collect and update loop, evaluation, checkpoints and records on disk."""
