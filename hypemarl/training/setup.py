"""Parts that a run is built from: environment, device, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hypemarl.config import EnvConfig
from hypemarl.mpi import Comm

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv

type MakeEnv = Callable[..., ArrayEnv]
"""(EnvConfig, comm=...) -> environment, see :func:`hypemarl.envs.make`."""


def default_make_env(config: EnvConfig, comm: Comm) -> ArrayEnv:
    """Build the environment of the configuration; imported here, as it brings dolfinx along."""
    from hypemarl.envs import make

    return make(config, comm=comm)


def pick_device(name: str) -> str:
    """``auto`` is CUDA where it is present. Raises ValueError for CUDA where it is not."""
    import torch

    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ValueError("training.device=cuda, but torch sees no CUDA device; take auto or cpu")
    return ("cuda" if present else "cpu") if name == "auto" else name


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch ``count`` threads inside the block, so that runs share the cores in peace."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
