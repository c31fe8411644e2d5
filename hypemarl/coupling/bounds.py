"""Which actions a plant heeded: those beyond their bounds were cut off."""

import numpy as np

from hypemarl.coupling.plant import Plant


def inside(plant: Plant, actions: np.ndarray) -> np.ndarray:
    """One (n, m) where rank 0's actions lie within their bounds, else zero. Collective."""
    given = plant.comm.bcast(np.asarray(actions, dtype=np.float64), root=0)
    return ((given >= plant.action_low) & (given <= plant.action_high)).astype(float)
