"""Imitation of open-loop optima, and rewards learned from them."""
