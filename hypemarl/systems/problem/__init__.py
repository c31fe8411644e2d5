"""Any time-dependent PDE, written in UFL by its user."""

from hypemarl.config.problems import shipped
from hypemarl.systems.problem.options import PROBLEM

SYSTEMS = (PROBLEM,)
_PLACE = "hypemarl.systems.problem.library"
_KURAMOTO = f"{_PLACE}.kuramoto_sivashinsky:KuramotoSivashinsky"
_BENARD = f"{_PLACE}.rayleigh_benard:RayleighBenard"
PROBLEMS = (
    shipped("kuramoto-sivashinsky", _KURAMOTO, "Chaos in 1D, to be led to a wave"),
    shipped("kuramoto-sivashinsky-homogeneous", f"{_KURAMOTO}Homogeneous", "Chaos in 1D, to rest"),
    shipped("kuramoto-sivashinsky-mu", f"{_KURAMOTO}Mu", "Chaos in 1D, to a wave with phase mu"),
    shipped("rayleigh-benard", _BENARD, "12 heaters under a fluid layer are to calm convection"),
    shipped(
        "rayleigh-benard-turbulent",
        f"{_PLACE}.rayleigh_benard_turbulent:RayleighBenardTurbulent",
        "The same at Ra 4e5, where rolls break up",
    ),
    shipped("rayleigh-benard-walls", f"{_BENARD}Walls", "Heaters calm convection between walls"),
)
