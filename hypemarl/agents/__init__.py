"""Agents: encodings, hypernetworks, TD3 and its replay. Never an environment."""

from hypemarl.startup import require_torch_order

require_torch_order()
