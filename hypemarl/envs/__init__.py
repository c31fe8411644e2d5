"""Environments: a plant as a PettingZoo ``ParallelEnv``, those of others, and their registry."""

from hypemarl.envs.array_env import ArrayEnv, Episode, EpisodeError, Step
from hypemarl.envs.external.env import ExternalEnv
from hypemarl.envs.parallel import PDEEnv
from hypemarl.envs.registry import make

__all__ = ["ArrayEnv", "Episode", "EpisodeError", "ExternalEnv", "PDEEnv", "Step", "make"]
