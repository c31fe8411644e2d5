"""Exact solutions and published values behind `hypemarl validate`.

``CASES`` maps a case's name to a function that runs it and returns a :class:`Report`.
"""

from collections.abc import Callable

from hypemarl.verification.adjoint import adjoint
from hypemarl.verification.benard import rayleigh_benard
from hypemarl.verification.flow import dfg_2d_2, taylor_green
from hypemarl.verification.fokker_planck import gibbs, mass, ornstein_uhlenbeck
from hypemarl.verification.forces import forces
from hypemarl.verification.morphing import feasible, transfer
from hypemarl.verification.moving_mesh import ale
from hypemarl.verification.problems import problems
from hypemarl.verification.report import Report, Row
from hypemarl.verification.rotation import rotation
from hypemarl.verification.schemes import compare_schemes
from hypemarl.verification.steady_flow import dfg_2d_1, poiseuille

CASES: dict[str, Callable[[], Report]] = {
    "ou": ornstein_uhlenbeck,
    "gibbs": gibbs,
    "mass": mass,
    "schemes": compare_schemes,
    "rotation": rotation,
    "poiseuille": poiseuille,
    "dfg-2d-1": dfg_2d_1,
    "taylor-green": taylor_green,
    "dfg-2d-2": dfg_2d_2,
    "forces": forces,
    "adjoint": adjoint,
    "feasible": feasible,
    "transfer": transfer,
    "ale": ale,
    "problems": problems,
    "rayleigh-benard": rayleigh_benard,
}

__all__ = ["CASES", "Report", "Row"]
