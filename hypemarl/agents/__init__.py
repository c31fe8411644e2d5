"""Agents: encodings, hypernetworks, policies, replay. Never an environment."""

from hypemarl.startup import require_torch_order

require_torch_order()
