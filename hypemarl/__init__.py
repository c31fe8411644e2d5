"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork."""

from hypemarl import startup

__version__ = "0.1.0"

startup.prepare()
