"""Environments of other packages, and of users."""
