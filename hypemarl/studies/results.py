"""The tables of docs/results: every scheme, several seeds, the optimum beside them.

Each part can also be made by ``hypemarl train``, ``optimum`` and ``evaluate`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypemarl.studies.pipeline import Entry, Study

NAMES = ("marl", "fups-id", "nops", "hypemarl")
SCHEMES = tuple(Entry(scheme, (f"agent.scheme={scheme}",)) for scheme in NAMES)
COOPERATIVE = ("agent.credit=cooperative", "agent.cloning=0.0", "training.episodes=400")
#: without the adjoint in training
WITHOUT = tuple(Entry(scheme, (f"agent.scheme={scheme}", *COOPERATIVE)) for scheme in NAMES)
#: with the adjoint's share as credit, where that is the scenario's own
WITH = tuple(
    Entry(f"{scheme}-adjoint", (f"agent.scheme={scheme}",)) for scheme in ("marl", "hypemarl")
)
#: decentralised training on own rewards, as the papers have it
PLAIN = tuple(
    Entry(name, (f"agent.scheme={scheme}", *COOPERATIVE[1:], "agent.credit=local"))
    for name, scheme in (("local", "hypemarl"), ("marl-local", "marl"))
)
GRADIENT = tuple(
    Entry(name, (f"agent.scheme={scheme}", "training.algorithm=apg", "training.episodes=400"))
    for name, scheme in (("apg", "hypemarl"), ("marl-apg", "marl"), ("marl-mu-apg", "marl-mu"))
)


def few_real_episodes(method: str, episodes: int) -> tuple[str, ...]:
    """Overrides of a run that learns in a surrogate, with so many real episodes."""
    return (
        f"training.algorithm={method}",
        f"training.episodes={episodes}",
        "training.random_episodes=8",
        "training.validation_every=10",
    )


MODEL = Entry("mbpg", few_real_episodes("mbpg", 73))
OBSERVED = tuple(
    Entry(f"{entry.name}-flow", (*entry.overrides, "env.density-fluid.observe_flow=true"))
    for entry in (SCHEMES[0], SCHEMES[3], MODEL)
)
#: what optima teach: a start to gradients, and a local reward
SHOWN = (
    Entry("imitate", ("training.algorithm=imitate",)),
    Entry("irl", ("training.algorithm=irl", "agent.credit=local")),
)


def _flow(episodes: int) -> tuple[Entry, ...]:
    """Entries of a flow, whose gradients cost seconds, so that few episodes have to do."""
    length = f"training.episodes={episodes}"
    apg, _, unplaced = (Entry(e.name, (*e.overrides[:2], length)) for e in GRADIENT)
    return apg, unplaced, SCHEMES[3], SCHEMES[0]


#: the flow of a moving obstacle, which has no adjoint; with a fifth of the time step an episode's
#: cost changes by less than 0.01%
MOVING = ("env.shape.mode=unsteady", "env.shape.time_step=0.01")
UNSTEADY = tuple(
    Entry(f"{entry.name}-unsteady", (*entry.overrides, *MOVING))
    for entry in (SCHEMES[3], SCHEMES[0])
)


def _table(
    name: str,
    scenario: str,
    entries: Sequence[Entry],
    seeds: int,
    optima: int,
    yardsticks: int = 0,
    start: str = "",
) -> dict[str, Study]:
    """A table of one scenario, by name of the scenario; arguments as of :class:`Study`."""
    return {
        scenario: Study(
            name,
            scenario,
            lambda _: entries,
            runs="runs",
            seeds=seeds,
            by_scheme=True,
            optima=optima,
            yardsticks=yardsticks,
            start=start,
        )
    }


#: the papers' own form, decentralised critics and rewards, of the problem's settings
LOCAL = tuple(
    Entry(f"{name}td3", (f"agent.scheme={scheme}", "training.algorithm=td3"))
    for name, scheme in (("", "hypemarl"), ("marl-", "marl"), ("marl-mu-", "marl-mu"))
)

#: averaged over more updates, so that the noise of the last ones does not decide
LONGER = tuple(
    Entry(e.name, (*e.overrides, "training.episodes=120", "agent.average_rate=0.002"))
    for e in LOCAL[:2]
)


def _problem(
    scenario: str,
    episodes: int,
    learned: Sequence[Entry] = (),
    *,
    model: bool = False,
    seeds: int = 2,
    optima: int = 4,
    yardsticks: int = 100,
    unplaced: str = "",
    mu: bool = True,
) -> dict[str, Study]:
    """The table of a problem: by gradients with so many episodes, and by ``learned`` entries.

    Args:
        unplaced: rate of the schemes without place, where theirs is not the problem's.
        mu: whether there is a row of MARL that knows mu.
    """
    length = f"training.episodes={episodes}"
    rate = (f"agent.apg.rate={unplaced}",) if unplaced else ()
    by_gradient = tuple(
        Entry(e.name, (*e.overrides[:2], length, *(rate if e is not GRADIENT[0] else ())))
        for e in (GRADIENT if mu else GRADIENT[:2])
    )
    entries = (*by_gradient, *learned, *((MODEL,) if model else ()))
    return _table("problems", scenario, entries, seeds, optima, yardsticks, start=GRADIENT[0].name)


def _benard(scenario: str, episodes: int) -> dict[str, Study]:
    """A table of convection, whose episodes take seconds and have no mu."""
    return _problem(scenario, episodes, optima=1, yardsticks=6, unplaced="2e-2", mu=False)


LINE = (*SCHEMES, *PLAIN, *GRADIENT, MODEL)
VACUUM = (*WITHOUT, *WITH, PLAIN[0], GRADIENT[0], GRADIENT[2], MODEL)
TABLES: dict[str, dict[str, Study]] = {
    "density": {
        **_table("density", "density-1d", LINE, 3, 32, 400),
        **_table("density", "density-vacuum", VACUUM, 3, 32, 400),
        **_table("density", "density-fluid", (*SCHEMES, GRADIENT[0], GRADIENT[2]), 3, 32, 400),
    },
    # agents that see the flow, which a surrogate of near patches has to
    "observed-flow": _table("observed-flow", "density-fluid", OBSERVED, 3, 32),
    "imitation": _table(
        "imitation", "density-1d", (SCHEMES[3], PLAIN[0], GRADIENT[0], *SHOWN), 3, 32
    ),
    "flow": {
        **_table("flow", "flow-cylinder", _flow(60), 2, 2, 60, start=GRADIENT[0].name),
        **_table("flow", "flow-dissipation", _flow(100), 2, 2, 100, start=GRADIENT[0].name),
    },
    "shape": _table("shape", "shape-morphing", _flow(80), 2, 4, 80),
    # networks that share all weights learn best at a rate of 1e-2, those of HypeMARL below
    "problems": {
        **_problem("kuramoto-sivashinsky", 100, LONGER, model=True, seeds=5, mu=False),
        **_problem("kuramoto-sivashinsky-homogeneous", 100),
        **_problem("kuramoto-sivashinsky-mu", 200, LOCAL),
        **_problem("burgers", 150, unplaced="1e-2"),
        **_problem("burgers-homogeneous", 150, unplaced="1e-2"),
        **_problem("reaction-diffusion", 150, LOCAL[:2], model=True, optima=2, unplaced="1e-2"),
        **_problem("reaction-diffusion-homogeneous", 150, optima=2, unplaced="1e-2"),
        **_problem("heat-3d", 100, optima=2, unplaced="1e-2"),
        **_problem("heat-3d-homogeneous", 100, optima=2, unplaced="1e-2"),
        **_benard("rayleigh-benard", 60),
        **_benard("rayleigh-benard-pattern", 40),
        **_benard("rayleigh-benard-walls", 60),
    },
    "unsteady": _table("unsteady", "shape-morphing", UNSTEADY, 2, 0),
}
