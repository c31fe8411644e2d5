"""Policies improved in a learned local model (mbpg, dyna)."""
