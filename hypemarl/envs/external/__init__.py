"""Environments of other packages, and of a user's own."""
