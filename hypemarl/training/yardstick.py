"""The optimum beside a policy: what of the possible gain it recovered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypemarl.optimal.open_loop import OpenLoop, recovered_share
from hypemarl.training.evaluation import Array, Evaluation
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


@dataclass(frozen=True)
class KnownOptima:
    """Optima that are stored: which rows of a parameter set, J* and J0 there (each (k,))."""

    rows: Array
    costs: Array
    uncontrolled: Array

    def row(self) -> Row:
        """Entries of a table's row, none where no optimum is known."""
        if not len(self.rows):
            return {}
        return {
            "optima": len(self.rows),
            "optimum_cost": float(self.costs.mean()),
            "optimum_uncontrolled": float(self.uncontrolled.mean()),
        }

    def recovered(self, result: Evaluation) -> dict[str, float]:
        """Share of the gain over the parameters whose optimum is known.

        ``recovered`` is that of the mean costs, in which expensive episodes count most;
        ``recovered_median`` the median of the episodes' own shares.
        """
        if not len(self.rows):
            return {}
        costs = result.costs[self.rows]
        own = (self.uncontrolled - costs) / (self.uncontrolled - self.costs)
        share = recovered_share(costs, self.uncontrolled, self.costs)
        return {"recovered": share, "recovered_median": float(np.median(own))}


def known_optima(env: ArrayEnv, parameters: Array) -> KnownOptima:
    """Optima that ``hypemarl optimum`` has stored for rows of ``parameters`` (E, n_par).

    None is computed here; each that is found is checked by one episode. Collective.
    """
    found = []
    loop = OpenLoop(env) if OpenLoop.serves(env) else None
    if loop is not None:
        stored = [(k, loop.load(row)) for k, row in enumerate(parameters)]
        found = [(k, best) for k, best in stored if best is not None]
    return KnownOptima(
        np.array([k for k, _ in found], dtype=np.int64),
        np.array([best.cost for _, best in found]),
        np.array([best.uncontrolled for _, best in found]),
    )
