"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork."""

import importlib.util

__version__ = "0.1.0"

# Where dolfinx comes as a wheel, the wheel must load its MPI ahead of every compiled module.
if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401
