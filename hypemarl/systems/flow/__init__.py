"""Flow control at an obstacle's actuated boundary."""

from hypemarl.systems.flow.options import FLOW

SYSTEMS = (FLOW,)
