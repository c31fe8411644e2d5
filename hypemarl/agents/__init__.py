"""Agents: encodings, hypernetworks, TD3 and its replay. Never an environment."""
