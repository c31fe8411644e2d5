"""Environments: a plant as a PettingZoo ``ParallelEnv``, those of others, and their registry."""

from hypemarl.envs.external.env import ExternalEnv
from hypemarl.envs.parallel import Episode, EpisodeError, PDEEnv, Step
from hypemarl.envs.registry import make

__all__ = ["Episode", "EpisodeError", "ExternalEnv", "PDEEnv", "Step", "make"]
