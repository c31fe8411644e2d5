"""One root seed, and from it a named, independent generator for each use.

The name decides the stream, so a new use never shifts the numbers of an old one; nothing seeds or
draws from a global generator. Streams are split by numpy's ``SeedSequence`` (after O'Neill's
seed_seq); the name enters through SHA-256, as Python's own ``hash`` differs between processes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def _sequence(seed: int, name: str) -> np.random.SeedSequence:
    if seed < 0:
        raise ValueError(f"the seed must be a non-negative integer, got {seed}")
    words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype="<u4")
    return np.random.SeedSequence(seed, spawn_key=tuple(words.tolist()))


def derived_seed(seed: int, name: str) -> int:
    """A seed in [0, 2**63) for a library that takes an integer. Raises as below."""
    return int(_sequence(seed, name).generate_state(1, np.uint64)[0] >> np.uint64(1))


def fresh_seed() -> int:
    """A root seed out of the operating system's entropy, another one in every call."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


def numpy_generator(seed: int, name: str) -> np.random.Generator:
    """The numpy generator of this ``name``. Raises ValueError: ``seed`` is negative."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, name)))


def torch_generator(seed: int, name: str, device: str = "cpu") -> torch.Generator:
    """The torch generator of this ``name`` on a device. Raises ValueError: ``seed`` is negative."""
    import torch  # here, so that a run without agents does not wait for it

    return torch.Generator(device).manual_seed(derived_seed(seed, name))


def generator_state(generator: np.random.Generator | torch.Generator) -> Any:
    """The state as plain Python (numpy) or as a byte tensor (torch).

    Both load with ``torch.load(weights_only=True)``.
    """
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def set_generator_state(generator: np.random.Generator | torch.Generator, state: Any) -> None:
    """Put a state of :func:`generator_state` back; the stream continues where it was.

    Raises:
        ValueError: the state is of a different kind of generator.
    """
    if isinstance(generator, np.random.Generator):
        expected = type(generator.bit_generator).__name__
        kind = state.get("bit_generator") if isinstance(state, dict) else type(state).__name__
        if kind != expected:
            raise ValueError(f"expected the state of a {expected} generator, got that of {kind}")
        generator.bit_generator.state = state
        return
    if isinstance(state, dict):
        raise ValueError("expected the byte tensor of a torch generator, got a numpy state")
    generator.set_state(state.cpu())
