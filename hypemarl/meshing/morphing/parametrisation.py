"""From the agents' amplitudes to the displacement of an outline, always linear in the amplitudes.

Displacement D(s) = sum_i Phi_i(s) a_i is added to the reference outline X(s), never accumulated.
The agents of an outline stand at s_i = i / n, equally far from each other along it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from scipy.special import comb

from hypemarl.config.keys import Displacement
from hypemarl.meshing.morphing.outlines import Outline
from hypemarl.meshing.raw import MeshError

KINDS: tuple[Displacement, ...] = get_args(Displacement)
MARGIN = 0.1
"""The free-form box exceeds the outline by this share of its extent on every side."""


@dataclass(frozen=True)
class Parametrisation:
    """Linear map from the agents' amplitudes to the displacement of an outline.

    Attributes:
        outline: the reference.
        kind: ``radial-*`` moves points away from the centre of area, ``normal-*`` along the
            reference normal; ``*-bspline`` blends the agents' amplitudes by periodic cubic
            B-splines (support of 4 agents, sum 1), ``*-fourier`` keeps the lowest ``modes``
            harmonics of them; ``free-form`` moves the control points of a Bezier patch.
        agents: number of agents; of a free-form box the number of its control points.
        modes: harmonics kept by ``*-fourier``, at most (agents - 1) / 2 are.
        lattice: control points of the free-form box along x and y, their product is ``agents``.

    Raises:
        MeshError: unknown kind, too few agents, or a lattice that does not fit them.
    """

    outline: Outline
    kind: Displacement
    agents: int = 16
    modes: int = 4
    lattice: tuple[int, int] = (4, 4)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MeshError(f"parametrisation {self.kind!r} is unknown; choose one of {KINDS}")
        if self.kind == "free-form":
            if min(self.lattice) < 2 or np.prod(self.lattice) != self.agents:
                raise MeshError(
                    f"free-form: expected a lattice of at least 2 x 2 control points, one per "
                    f"agent, got {self.lattice} for {self.agents} agents"
                )
        elif self.agents < 4:
            raise MeshError(f"{self.kind}: expected at least 4 agents, got {self.agents}")
        if self.kind.endswith("fourier") and self.modes < 1:
            raise MeshError(f"{self.kind}: expected at least 1 mode, got {self.modes}")

    @property
    def components(self) -> int:
        """Amplitudes per agent: 1, of a free-form control point 2 (x and y)."""
        return 2 if self.kind == "free-form" else 1

    def basis(self, s: np.ndarray) -> np.ndarray:
        """Phi (k, 2, agents * components) at parameters (k,): D = Phi @ amplitudes.ravel()."""
        if self.kind == "free-form":
            weights = self._bernstein(self.outline.points(s))
            return np.einsum("kp,cd->kcpd", weights, np.eye(2)).reshape(len(s), 2, -1)
        direction, blend = self.kind.split("-")
        weights = bsplines(s, self.agents)
        if blend == "fourier":
            weights = harmonics(s, self.agents, self.modes)
        if direction == "normal":
            vectors = self.outline.normals(s)
        else:
            arms = self.outline.points(s) - self.outline.centre
            vectors = arms / np.linalg.norm(arms, axis=1, keepdims=True)
        return vectors[:, :, None] * weights[:, None, :]

    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        points = self.outline.points(self.outline.dense)
        low, high = points.min(axis=0), points.max(axis=0)
        return low - MARGIN * (high - low), high + MARGIN * (high - low)

    def _bernstein(self, points: np.ndarray) -> np.ndarray:
        low, high = self._box()
        x, y = ((points - low) / (high - low)).T
        along_x, along_y = bernstein(x, self.lattice[0]), bernstein(y, self.lattice[1])
        return np.einsum("ki,kj->kij", along_x, along_y).reshape(len(points), -1)

    @cached_property
    def positions(self) -> np.ndarray:
        """Positions of the agents (agents, 2): on the reference outline, or at control points."""
        if self.kind != "free-form":
            return self.outline.points(np.arange(self.agents) / self.agents)
        low, high = self._box()
        axes = [np.linspace(low[i], high[i], self.lattice[i]) for i in range(2)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def bsplines(s: np.ndarray, n: int) -> np.ndarray:
    """Periodic cubic B-splines (k, n), centred at i / n; they are C2 and sum to 1 (n >= 4)."""
    offset = np.asarray(s)[:, None] * n - np.arange(n)
    u = np.abs((offset + 0.5 * n) % n - 0.5 * n)
    inner, outer = 2.0 / 3.0 - u**2 + 0.5 * u**3, np.maximum(2.0 - u, 0.0) ** 3 / 6.0
    return np.where(u < 1.0, inner, outer)


def harmonics(s: np.ndarray, n: int, modes: int) -> np.ndarray:
    """(k, n): the trigonometric least-squares fit of n equidistant values by ``modes`` harmonics.

    At most (n - 1) // 2 of them, so that the fit has a unique solution; C-infinity.
    """
    order = np.arange(1, min(modes, (n - 1) // 2) + 1)
    phase = 2.0 * np.pi * (np.asarray(s)[:, None] - np.arange(n) / n)
    return (1.0 + 2.0 * np.cos(phase[..., None] * order).sum(axis=-1)) / n


def bernstein(x: np.ndarray, n: int) -> np.ndarray:
    """Bernstein polynomials (k, n) of degree n - 1 on [0, 1]; they sum to 1."""
    i = np.arange(n)
    x = np.asarray(x)[:, None]
    return comb(n - 1, i) * x**i * (1.0 - x) ** (n - 1 - i)
