"""Algorithms: each a folder with its options, its agent, how it collects and learns."""
