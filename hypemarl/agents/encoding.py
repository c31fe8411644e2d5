"""Codes of the agents, the part of a context that identifies or locates an agent.

A code has mean square 1 over its entries, whatever its kind and size, so that networks start with
input of order one.
"""

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec


def agent_codes(
    spec: AgentSpec, config: AgentConfig, copies: int, generator: torch.Generator
) -> Tensor:
    """The codes of ``config.encoder``: a constant (n, d), or trained parameters (copies, n, d).

    ``sinusoidal``: :func:`position_encoding`; near agents have similar codes, and places that were
    never seen have some too. ``one-hot``: the identity times sqrt(n). ``learned``: an embedding per
    agent that starts orthogonal, as in HyperMARL; rows are orthogonal where n <= d, else columns.
    Only the last draws from ``generator``.
    """
    n, d = spec.n_agents, config.embedding_size
    if config.encoder == "one-hot":
        return n**0.5 * torch.eye(n)
    if config.encoder == "learned":
        codes = torch.empty(copies, n, d)
        for copy in codes:
            nn.init.orthogonal_(copy, gain=max(n, d) ** 0.5, generator=generator)
        return nn.Parameter(codes)
    return torch.as_tensor(encode(spec, config), dtype=torch.float32)


def encode(spec: AgentSpec, config: AgentConfig, places: np.ndarray | None = None) -> np.ndarray:
    """(n, d) the sinusoidal encodings of this spec's positions, float64.

    With ``places`` (k, gdim) those of other places, (k, d), in the same frequencies.
    """
    size, highest = config.encoding_size, config.encoding_frequency
    return position_encoding(spec.positions, size, spec.spacing, highest, places)


def position_encoding(
    positions: np.ndarray,
    size: int,
    spacing: float,
    highest: float,
    places: np.ndarray | None = None,
) -> np.ndarray:
    """Encode positions (n, gdim) as (n, size) float64, smooth and different for each agent.

    Every coordinate, taken from the middle of the agents' bounding box, gets ``size // gdim``
    entries, half sines and half cosines. Their angular frequencies rise geometrically from half a
    period over the box (whose sine alone already separates all points of it) to ``highest`` rad per
    ``spacing``. Surplus entries are zero. Rows have mean square 1 whatever ``size`` is
    (over the entries in use), so that what follows sees input of order one. With ``places`` (k,
    gdim) these are encoded, (k, size), in the box and frequencies of ``positions``.

    After Vaswani et al. 2017, section 3.5, with physical coordinates in place of token indices.

    Raises:
        ValueError: too few entries, or a frequency or spacing that is not positive.
    """
    positions = np.asarray(positions, dtype=np.float64)
    gdim = positions.shape[1]
    share = size // gdim
    if share < 1:
        raise ValueError(
            f"an encoding of {gdim} coordinates needs at least {gdim} entries, got {size}: raise "
            "agent.encoding_size"
        )
    if not (spacing > 0 and highest > 0):
        raise ValueError(f"spacing and frequency must be positive, got {spacing} and {highest}")
    places = positions if places is None else np.asarray(places, dtype=np.float64)
    encoding = np.zeros((len(places), size))
    for axis, line in enumerate(positions.T):
        lowest = np.pi / max(np.ptp(line), spacing)
        frequencies = _frequencies(max(share // 2, 1), lowest, highest / spacing)
        phase = (places[:, axis, None] - 0.5 * (line.min() + line.max())) * frequencies
        block = np.sin(phase) if share == 1 else np.hstack([np.sin(phase), np.cos(phase)])
        encoding[:, axis * share : axis * share + block.shape[1]] = block
    return np.sqrt(2.0) * encoding


def _frequencies(count: int, lowest: float, highest: float) -> np.ndarray:
    """(count,) geometric frequencies; the lowest stays, so that the encoding remains injective."""
    return np.geomspace(lowest, max(highest, lowest), count) if count > 1 else np.array([lowest])
