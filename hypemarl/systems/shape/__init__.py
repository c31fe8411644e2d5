"""An obstacle whose boundary the agents move."""

from hypemarl.systems.shape.options import SHAPE

SYSTEMS = (SHAPE,)
