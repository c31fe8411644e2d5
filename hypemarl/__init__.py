"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork."""

from hypemarl import startup

__version__ = "0.1.0"

startup.prepare()


def __getattr__(name: str) -> object:
    """Public names that bring heavy modules along, imported when they are asked for."""
    if name == "load_policy":
        from hypemarl.agents.policy_file import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
