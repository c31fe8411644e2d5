"""Experiments: training, evaluation and pictures put together."""
