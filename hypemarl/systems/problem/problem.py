"""Any time-dependent PDE as a controlled system: what a user's class states."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hypemarl.config.problems import SYSTEM, ProblemClass
from hypemarl.systems.problem.actuators import Actuators, Bumps
from hypemarl.systems.problem.agents import Agents, Grid

if TYPE_CHECKING:
    import numpy as np
    import ufl

    from hypemarl.systems.problem.domain import Domain, Marker


@dataclasses.dataclass(frozen=True, eq=False)
class Dirichlet:
    """u = value on a part of the boundary.

    Attributes:
        value: a number, or a UFL expression of x, the parameters, the time t^{n+1} and, linearly,
            the control; vectors for a vector field.
        part: name of the part, by default the whole boundary.
        field: number of the field, where the space is mixed.
    """

    value: Any
    part: str | None = None
    field: int | None = None


class Problem(ProblemClass):
    """A PDE, its agents and its cost, in UFL. Plant, exact adjoint, training and films follow.

    A subclass states ``mesh``, ``space``, ``residual`` and ``cost``, and whatever of the rest is
    not as by default. Its methods take, by name and in any order, those of these arguments that
    they need:

    ============= ==============================================================================
    ``u``         u^{n+1}, to be solved for; a tuple of fields where the space is mixed
    ``u_old``     u^n; ``u_older``: u^{n-1} (in the first step u^0, see ``first_residual``)
    ``v``         the test function, split like u
    ``control``   sum_i a_i q_i, constant in a control interval; a vector with ``components`` > 1
    ``mu``        the parameters, as ``mu.kappa``
    ``dt``, ``t`` length of a time step, and the time t^{n+1} at its end
    ``x``         ``ufl.SpatialCoordinate``; in ``initial`` an array (3, n_points)
    ============= ==============================================================================

    Integrals over parts of the mesh: ``self.dx("hot")``, ``self.ds("inflow")``.
    """

    # Time.
    horizon: float = 1.0  # length of an episode
    control_steps: int = 20  # control intervals of an episode
    substeps: int = 1  # time steps of a control interval
    quadrature: str = "end"  # of the cost in time: end (of each step), trapezoid

    # Parameters, agents.
    parameters: Mapping[str, tuple[float, float]] = {}  # mu: name -> (low, high)
    agents: Agents = Grid(1)
    actuators: Actuators = Bumps(width=0.1)
    components: int = 1  # of the control, so many numbers each agent sets
    bounds: tuple[float, float] = (-1.0, 1.0)  # of every amplitude
    noise: float | str = 0.0  # standard deviation of noise on amplitudes, or the parameter it is
    observation_radius: int = 1  # agents on each side whose quantities an agent sees

    # Start.
    spin_up: float = 0.0  # time without control before an episode begins
    states: int = 64  # different starts in training, where there is a spin-up

    # Numerics and training.
    periodic: tuple[int, ...] = ()  # axes whose two sides are one
    solver: Mapping[str, str] = {}  # PETSc options of the linear solver; none: automatic
    settings: ClassVar[Mapping[str, Any]] = {}  # of training, as {"agent.gamma": 0.95}

    def mesh(self, comm: Any) -> Any:
        """A dolfinx mesh, or a :class:`~hypemarl.meshing.TaggedMesh`.

        In its place an attribute: a mesh file's name, from this file's folder, or settings
        ``env.mesh.*`` by name. Tags of files are parts.
        """
        raise NotImplementedError

    def space(self) -> Any:
        """("Lagrange", 1), ("Lagrange", 2, (2,)), a basix element, or a list of these: mixed."""
        return ("Lagrange", 1)

    def control_space(self) -> Any:
        """Element of the control; by default Lagrange of the state's degree."""
        return None

    def parts(self) -> Mapping[str, Marker]:
        """Parts of the boundary: name -> function of coordinates (3, n) -> bool (n,)."""
        return {}

    def regions(self) -> Mapping[str, Marker]:
        """Parts of the domain, likewise."""
        return {}

    def residual(self, u: Any, u_old: Any, v: Any, control: Any, mu: Any, dt: Any) -> ufl.Form:
        """F(u^{n+1}; u^n, control; v) of one time step, a form linear in v."""
        raise NotImplementedError

    #: residual of the first step of a scheme of two steps; None: ``residual`` with u^{-1} = u^0
    first_residual: Any = None

    def boundary(self) -> Sequence[Dirichlet]:
        """Dirichlet conditions; may take ``control``, ``mu``, ``t``, ``x``."""
        return ()

    def cost(self, u: Any, control: Any) -> Mapping[str, ufl.Form]:
        """Terms of the cost per unit of time, each a form; J is their integral in time."""
        raise NotImplementedError

    def observe(self, u: Any) -> Sequence[Any]:
        """Quantities that agents see: UFL scalars (means over the agent's patch), forms (such as
        ``p * self.ds("wall")``: means over that part of the patch), :class:`PointValue`.

        An agent sees its own and those of agents within ``observation_radius``.
        """
        return [u]

    def show(self, u: Any) -> Mapping[str, Any]:
        """Fields of pictures by name, the first one is drawn; ``target`` is drawn beside it."""
        return {}

    def draw(self, rng: np.random.Generator) -> Any:
        """Random numbers of an episode, the same on every rank, for ``initial``."""
        return None

    def initial(self, x: np.ndarray, mu: Any, draw: Any) -> Any:
        """u^0 at points x (3, n): (n,), (gdim, n), or one for each field, None: zero."""
        return 0.0

    def dx(self, part: str | None = None) -> ufl.Measure:
        """The measure over the domain, or over a part of it."""
        return self.domain.measure("dx", part)

    def ds(self, part: str | None = None) -> ufl.Measure:
        """The measure over the boundary, or over a part of it."""
        return self.domain.measure("ds", part)

    #: the mesh and its parts, set before any form is asked for
    domain: Domain

    @classmethod
    def scenario(cls) -> dict[str, Any]:
        """The settings that a run of this problem starts from, nested."""
        from hypemarl.config.migration import put

        env: dict[str, Any] = {"system": SYSTEM, SYSTEM: {"name": cls.name}}
        env |= {"horizon": float(cls.horizon), "control_steps": int(cls.control_steps)}
        env |= {"agents": list(cls.agents.counts)}
        env |= {"observation_radius": int(cls.observation_radius)}
        if isinstance(cls.mesh, str):
            beside = Path(inspect.getfile(cls)).parent / cls.mesh
            env["mesh"] = {"file": str(beside) if beside.is_file() else cls.mesh}
        elif isinstance(cls.mesh, Mapping):
            env["mesh"] = dict(cls.mesh)
        settings: dict[str, Any] = {"env": env}
        for key, value in cls.settings.items():
            put(settings, key.split("."), list(value) if isinstance(value, tuple) else value)
        return settings
