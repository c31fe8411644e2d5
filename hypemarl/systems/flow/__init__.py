"""Flow control at an obstacle's actuated boundary."""
