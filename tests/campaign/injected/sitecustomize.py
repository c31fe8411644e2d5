"""Python runs this at its start where its folder stands on PYTHONPATH."""

from boundaries import arm_from_environment

arm_from_environment()
