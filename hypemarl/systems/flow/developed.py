"""Developed flows that episodes start from: one per mu, computed once, in memory and on disk.

The flow at the middle of the box of mu is marched from rest: the inflow sets in smoothly, then the
disc turns back and forth once, which breaks the symmetry, so that vortices shed early. The state
at any other mu continues that one for a third of the time. The same mu gives the same state,
whatever was asked for before. A phase marches the state of its mu on, while the disc turns a little
at random, so that no two phases are states of one periodic orbit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hypemarl import files, seeding
from hypemarl.coupling.actuators import smoothstep
from hypemarl.coupling.recent import Recent
from hypemarl.solvers import navier_stokes
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.navier_stokes import FlowState, UnsteadyFlow
from hypemarl.systems.flow.arcs import Disc
from hypemarl.systems.flow.inflow import InflowProfile
from hypemarl.systems.flow.options import FlowOptions
from hypemarl.systems.flow.state_cache import StateCache
from hypemarl.types import Row

VERSION = 2
"""Of the boundary conditions and the way from rest to a developed state."""
SOLVER = (
    "flow_kernels",
    "krylov",
    "momentum",
    "navier_stokes",
    "p1",
    "pressure",
    "taylor_hood",
)
"""Modules of :mod:`hypemarl.solvers` that a developed state depends on."""
CONTINUATION = 1.0 / 3.0
"""Time from the base state to a state at another mu, in units of develop_time."""
ONSET = 0.1
"""Share of a march in which its boundary values set in."""
PULSE = 0.5
"""Largest speed of the disc's boundary while it turns, in units of the inflow's speed."""
PULSE_TIME = 5.0
"""Duration of the turning, in units of diameter / speed; at most a fifth of develop_time."""
MATTERS = (
    "inflow",
    "walls",
    "speed",
    "reynolds_low",
    "reynolds_high",
    "angle_low",
    "angle_high",
    "time_step",
    "develop_time",
)
"""Settings of the flow that a developed state depends on."""
NOISE_MODES = 4
"""Sines in time of which the disc's random turning consists while a phase is marched."""
BESIDES = 48
"""States kept in memory beside those that training starts from: a validation and a held-out set.
Others are on disk."""
SHOW_AFTER = 2.0  # seconds of marching before a progress bar appears


class DevelopedStates:
    """State per mu = (reynolds, angle); solver states are this rank's part.

    Args:
        solver: of the flow, used for marching; inflow: its profile; disc: circle and its local P2
            nodes; config: the flow's settings; folder: of the files (default:
            :func:`hypemarl.files.cache_folder`).

    Collective, every method too.
    """

    def __init__(
        self,
        solver: UnsteadyFlow,
        inflow: InflowProfile,
        disc: tuple[Disc, np.ndarray],
        config: FlowOptions,
        folder: Path | None = None,
    ) -> None:
        self.solver, self.inflow, self.config = solver, inflow, config
        self.disc, self._nodes = disc
        self.cache = StateCache(solver, _facts(solver, config), folder)
        self._known: Recent[tuple[float, ...], FlowState] = Recent(config.states + BESIDES)
        angles = self.disc.angles(solver.space.velocity_points[self._nodes])
        self._turning = PULSE * config.speed * np.stack([-np.sin(angles), np.cos(angles)])
        low, high = (config.reynolds_low, config.angle_low), (config.reynolds_high,)
        self.base = 0.5 * (np.array(low) + np.array((*high, config.angle_high)))

    def viscosity(self, reynolds: float) -> float:
        """U D / Re. Local."""
        return self.config.speed * 2.0 * self.disc.radius / reynolds

    def get(self, parameters: np.ndarray) -> FlowState:
        """The developed state at (reynolds, angle); marches the solver where it is not known.

        Raises CacheError: a stored state belongs to something else. OSError: the cache folder
        cannot be written; nothing was computed. SolverDiverged: the march left the trusted range.
        """
        name = tuple(float(value) for value in parameters)
        return self._known.get(name, lambda: self._find(np.array(name)))

    def _find(self, parameters: np.ndarray) -> FlowState:
        if len(parameters) > len(self.base):
            return self._at_phase(parameters)
        stored = self.cache.load(parameters)
        if stored is not None:
            return stored
        self.cache.check_writable()  # before what may take minutes
        at_base = np.array_equal(parameters, self.base)
        state = self._from_rest() if at_base else self._continued(parameters)
        self.cache.save(parameters, state)
        return state

    def _from_rest(self) -> FlowState:
        """March at the middle of the box from rest for develop_time."""
        config, solver = self.config, self.solver
        entering = self.inflow.values(self.base[1])
        start = ONSET * config.develop_time
        length = PULSE_TIME * 2.0 * self.disc.radius / config.speed
        length = min(length, 0.2 * config.develop_time)

        def write(time: float) -> None:
            solver.boundary[:, self.inflow.nodes] = entering * smoothstep(time / start)
            phase = np.clip((time - start) / length, 0.0, 1.0)
            # sin(2 pi s) sin(pi s)^2: forth and back, smooth at both ends
            turn = np.sin(2.0 * np.pi * phase) * np.sin(np.pi * phase) ** 2
            solver.boundary[:, self._nodes] = turn * self._turning

        solver.reset(np.zeros_like(solver.velocity))
        solver.viscosity = self.viscosity(self.base[0])
        return self._march(self.base, config.develop_time, write)

    def _continued(self, parameters: np.ndarray) -> FlowState:
        """March on from the base state at other parameters."""
        base = self.get(self.base)
        solver, duration = self.solver, CONTINUATION * self.config.develop_time
        before, after = (self.inflow.values(mu[1]) for mu in (self.base, parameters))

        def write(time: float) -> None:
            share = smoothstep(time / (ONSET * self.config.develop_time))
            solver.boundary[:, self.inflow.nodes] = before + share * (after - before)

        solver.restore(base)
        solver.viscosity = self.viscosity(parameters[0])
        return self._march(parameters, duration, write)

    def _at_phase(self, parameters: np.ndarray) -> FlowState:
        """March the state of its mu on by the phase, in memory only: it takes a second."""
        config, solver, phase = self.config, self.solver, float(parameters[-1])
        start = self.get(parameters[:-1])
        duration = phase * config.phase_time * 2.0 * self.disc.radius / config.speed
        if duration < solver.dt:
            return start
        generator = seeding.numpy_generator(int(phase * 2**52), "flow-phase")
        shares = config.phase_noise / PULSE * generator.normal(size=NOISE_MODES)

        def write(time: float) -> None:
            modes = np.sin(np.pi * np.arange(1, NOISE_MODES + 1) * time / duration)
            fade = np.sin(np.pi * min(time / duration, 1.0))
            solver.boundary[:, self._nodes] = fade * float(shares @ modes) * self._turning

        solver.restore(start)
        solver.viscosity = self.viscosity(parameters[0])
        return self._march(parameters, duration, write)

    def _march(
        self, parameters: np.ndarray, duration: float, write: Callable[[float], None]
    ) -> FlowState:
        """Step for ``duration``; ``write(time)`` sets the boundary at the end of each step."""
        solver, where = self.solver, f"Re {parameters[0]:g}, angle {parameters[1]:g}"
        onset, limit = ONSET * self.config.develop_time, solver.imbalance_limit
        count = max(1, round(duration / solver.dt))
        bar = tqdm(
            range(1, count + 1),
            f"developing the flow at {where}",
            disable=True if solver.comm.rank > 0 else None,  # None: where stderr is no terminal
            delay=SHOW_AFTER,
            leave=False,
            mininterval=1.0,
        )
        try:
            for step in bar:
                # a flow that is being accelerated has next to no dissipation to compare with
                solver.imbalance_limit = limit if step * solver.dt > onset else np.inf
                write(step * solver.dt)
                solver.step()
        except SolverDiverged as error:
            raise SolverDiverged(
                f"developing the flow at {where}: {error} (env.flow.time_step, env.flow.speed)"
            ) from error
        finally:
            bar.close()
            solver.imbalance_limit = limit
        return solver.snapshot()


def _facts(solver: UnsteadyFlow, config: FlowOptions) -> Row:
    """All that a developed state depends on, besides its parameters."""
    settings, folder = asdict(config), Path(navier_stokes.__file__).parent
    code = files.code_digest(folder / f"{module}.py" for module in SOLVER)
    return {
        "mesh": solver.space.tagged.content_hash,
        "settings": {name: settings[name] for name in MATTERS},
        "scheme": f"{VERSION}-{code}",
    }
