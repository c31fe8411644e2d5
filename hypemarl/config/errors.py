"""Errors of a configuration that cannot work, and the values and names in their messages."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

LONGEST_WORD = 250  # longer words of a message are cut by the command line
_LONGEST = 80
LONGEST_NAME = 100  # a longer one is no misspelling, and slow to compare


class UnsupportedError(TypeError):
    """A plant or an environment lacks what is asked of it. Raised on every rank."""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another.

    ``key`` is the setting's full name, as in ``agent.gamma``, where the error is about one.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def quoted(value: object) -> str:
    """``repr(value)`` for a message, cut where it is long."""
    return cut(repr(value))


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``; did you mean 'NAME'?`` for the known name nearest to ``name``, else ``otherwise``."""
    near = get_close_matches(name, list(known), 1) if len(name) <= LONGEST_NAME else []
    return f"; did you mean {near[0]!r}?" if near else otherwise


def cut(text: str, longest: int = _LONGEST) -> str:
    """``text`` without the end of one above ``longest`` characters, and how long it was."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def refuse(*faults: tuple[bool, str]) -> None:
    """Raise :class:`ConfigError` with the first message whose condition holds."""
    for fails, message in faults:
        if fails:
            raise ConfigError(message)


def misordered(options: object, prefix: str, *names: str) -> Iterator[tuple[bool, str]]:
    """Faults for :func:`refuse`: ``<name>_low`` above ``<name>_high``, for each name."""
    for name in names:
        low, high = (getattr(options, f"{name}_{end}") for end in ("low", "high"))
        yield low > high, f"{prefix}.{name}_low ({low:g}) exceeds {name}_high ({high:g})"


def indivisible(where: str, time_step: float, interval: float) -> tuple[bool, str]:
    """Fault for :func:`refuse`: no whole number of the time steps ``where`` makes the interval."""
    steps = interval / time_step
    return (
        abs(steps - round(steps)) > 1e-9 or steps < 1.0,
        f"{where}.time_step ({time_step:g}) must divide the control interval ({interval:g} = "
        f"horizon / control_steps), which holds {steps:.6g} time steps; take "
        f"{interval / max(1, round(steps)):.6g}",
    )
