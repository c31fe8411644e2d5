"""Any time-dependent PDE, written in UFL by its user."""

from hypemarl.config.problems import shipped
from hypemarl.systems.problem.options import PROBLEM

SYSTEMS = (PROBLEM,)
_PLACE = "hypemarl.systems.problem.library"
_BURGERS = f"{_PLACE}.burgers:Burgers"
_HEAT = f"{_PLACE}.heat_3d:Heat3d"
_KURAMOTO = f"{_PLACE}.kuramoto_sivashinsky:KuramotoSivashinsky"
_REACTION = f"{_PLACE}.reaction_diffusion:ReactionDiffusion"
_BENARD = f"{_PLACE}.rayleigh_benard:RayleighBenard"
PROBLEMS = (
    shipped("burgers", _BURGERS, "Burgers equation under noise, to a wave of height mu"),
    shipped("burgers-homogeneous", f"{_BURGERS}Homogeneous", "Burgers under noise, to speed mu"),
    shipped("heat-3d", _HEAT, "Unstable heat in a box under noise, to a profile mu"),
    shipped("heat-3d-homogeneous", f"{_HEAT}Homogeneous", "Unstable heat in a box, to level mu"),
    shipped("kuramoto-sivashinsky", _KURAMOTO, "Chaos in 1D, to be led to a wave"),
    shipped("kuramoto-sivashinsky-homogeneous", f"{_KURAMOTO}Homogeneous", "Chaos in 1D, to rest"),
    shipped("kuramoto-sivashinsky-mu", f"{_KURAMOTO}Mu", "Chaos in 1D, to a wave with phase mu"),
    shipped("reaction-diffusion", _REACTION, "Spirals in 2D, to a standing pattern mu"),
    shipped("reaction-diffusion-homogeneous", f"{_REACTION}Homogeneous", "Spirals, to level mu"),
    shipped("rayleigh-benard", _BENARD, "12 heaters under a fluid layer are to calm convection"),
    shipped(
        "rayleigh-benard-pattern",
        f"{_PLACE}.rayleigh_benard_pattern:RayleighBenardPattern",
        "Heaters move convection rolls to given places",
    ),
    shipped(
        "rayleigh-benard-turbulent",
        f"{_PLACE}.rayleigh_benard_turbulent:RayleighBenardTurbulent",
        "The same at Ra 4e5, where rolls break up",
    ),
    shipped("rayleigh-benard-walls", f"{_BENARD}Walls", "Heaters calm convection between walls"),
)
