"""Environments: PettingZoo ``ParallelEnv`` over a plant, and the registry that builds them."""

from hypemarl.envs.parallel import Episode, PDEEnv, Step
from hypemarl.envs.registry import make

__all__ = ["Episode", "PDEEnv", "Step", "make"]
