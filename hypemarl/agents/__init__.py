"""Agents: encodings, hypernetworks, TD3 and its replay. Shapes and bounds only, never an environment."""
