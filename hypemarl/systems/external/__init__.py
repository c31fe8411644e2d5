"""Environments that are no PDE: their own package steps them (:mod:`hypemarl.envs.external`)."""

from hypemarl.config.external import EXTERNAL

SYSTEMS = (EXTERNAL,)
