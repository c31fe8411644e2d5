"""Decentralised multi-agent TD3."""
