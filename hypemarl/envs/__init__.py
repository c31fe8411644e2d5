"""Environments: a plant as a PettingZoo ``ParallelEnv``, and external environments."""

from hypemarl.envs.array_env import ArrayEnv, Episode, EpisodeError, Step
from hypemarl.envs.external.env import ExternalEnv
from hypemarl.envs.parallel import PDEEnv, make

__all__ = ["ArrayEnv", "Episode", "EpisodeError", "ExternalEnv", "PDEEnv", "Step", "make"]
