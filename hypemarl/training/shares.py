"""The optimum beside a policy: the share of the possible gain that it recovered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from hypemarl.optimal.open_loop import OpenLoop, recovered_share
from hypemarl.training.evaluation import Array, Evaluation
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


KINDS = ("best_constant", "schedule", "schedule_mu", "feedback")
"""Yardsticks that are fitted, see :mod:`hypemarl.training.yardsticks`."""
RESAMPLES = 1000
"""Of the bootstrap."""


@dataclass(frozen=True)
class KnownOptima:
    """Optima that are stored: which rows of a parameter set, J* and J0 there (each (k,)).

    ``actions`` (k, steps, n, m) of them.
    """

    rows: Array
    costs: Array
    uncontrolled: Array
    actions: Sequence[Array] = ()

    def row(self) -> Row:
        """Entries of a table's row, none where no optimum is known."""
        if not len(self.rows):
            return {}
        return {
            "optima": len(self.rows),
            "optimum_cost": float(self.costs.mean()),
            "optimum_uncontrolled": float(self.uncontrolled.mean()),
            "optimum_gains": (self.uncontrolled - self.costs).tolist(),
        }

    def recovered(self, result: Evaluation) -> Row:
        """Share of the gain over the parameters whose optimum is known.

        ``recovered`` is that of the mean costs, in which expensive episodes count most;
        ``recovered_median`` the median of the episodes' own shares; ``gains`` J0 - J of each, for
        :func:`interval`. Shares above 1 are kept: a policy may be better than a known optimum.
        """
        if not len(self.rows):
            return {}
        costs = result.costs[self.rows]
        shares = (self.uncontrolled - costs) / (self.uncontrolled - self.costs)
        share = recovered_share(costs, self.uncontrolled, self.costs)
        gains = (self.uncontrolled - costs).tolist()
        return {"recovered": share, "recovered_median": float(np.median(shares)), "gains": gains}


def interval(gains: ArrayLike, best: ArrayLike) -> tuple[float, float] | None:
    """95% bootstrap interval of a recovered share, over seeds and over mu. Local.

    Args:
        gains: (S, E) J0 - J of every seed at every mu; best: (E,) J0 - J* there.

    Returns None where one mu is all there is. Of a single seed mu alone are drawn anew.
    """
    table, best = np.asarray(gains, dtype=np.float64), np.asarray(best)
    if len(best) < 2 or not np.isfinite(table).all():
        return None
    axes = [np.arange(size) for size in table.shape if size > 1]

    def share(*drawn: Array) -> float:
        mu = drawn[-1]
        seeds = drawn[0] if len(drawn) > 1 else [0]
        return float(table[np.ix_(seeds, mu)].mean() / best[mu].mean())

    limits = bootstrap(
        axes, share, n_resamples=RESAMPLES, vectorized=False, method="percentile", rng=0
    ).confidence_interval
    return float(limits.low), float(limits.high)


def known_optima(env: ArrayEnv, parameters: Array) -> KnownOptima:
    """Optima that ``hypemarl optimum`` has stored for rows of ``parameters`` (E, n_par).

    None is computed here; each that is found is checked by one episode. Collective.
    """
    optima = []
    loop = OpenLoop(env) if OpenLoop.serves(env) else None
    if loop is not None:
        stored = [(k, loop.load(row)) for k, row in enumerate(parameters)]
        optima = [(k, best) for k, best in stored if best is not None]
    return KnownOptima(
        np.array([k for k, _ in optima], dtype=np.int64),
        np.array([best.cost for _, best in optima]),
        np.array([best.uncontrolled for _, best in optima]),
        [best.actions for _, best in optima],
    )
