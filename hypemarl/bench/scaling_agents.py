"""`hypemarl bench scaling-agents`: cost of an update over the number of agents, by scheme.

Every measurement is a process of its own, so that none inherits the memory of another.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from hypemarl import config as configuration
from hypemarl.bench.timing import best_ms
from hypemarl.types import Record, Row

SIDES = (2, 4, 8, 16)
"""Agents per axis of the square: 4, 16, 64, 256 agents."""
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PRELOADED = ["hypemarl.algorithms.td3.agent", "hypemarl.bench.agent_update", "torch._dynamo"]
"""Imports of every case; the last comes with the first optimiser."""
CASES: Mapping[str, Record] = {
    "nops": {"scheme": "nops"},
    "fups": {"scheme": "marl"},
    "fups_id": {"scheme": "fups-id"},
    "mlp": {},
    "mlp_learned": {"encoder": "learned"},
    "linear": {"hypernetwork": "linear"},
    "chunked": {"hypernetwork": "chunked"},
    "low_rank": {"hypernetwork": "low-rank"},
}
"""Changes of each row to the agents of density-vacuum."""


def run(
    sides: Sequence[int] = SIDES, names: Sequence[str] = tuple(CASES), repeats: int = 5
) -> dict[str, float]:
    """Time, memory and parameters of a TD3 update with cooperative credit on one thread.

    Networks are those of density-vacuum; the batch is 3 episodes of 20 steps of all agents, and
    critics, actor and targets are updated. Flat keys, by case and number of agents:
    ``chunked_64_ms`` (best of the repeats), ``chunked_64_mib`` (peak of resident memory that the
    agents and their updates add, the batch included), ``chunked_64_parameters`` (trained numbers
    of actor and both critics), and ``chunked_64_saving``, the factor by which the last lies below
    the full hypernetwork's. Linux only.
    """
    result: dict[str, float] = {}
    context = get_context("forkserver")  # a process for each case, torch loaded once for all
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for side in sides:
            agents = side * side
            cases = {name: pool.submit(measure, name, side, repeats).result() for name in names}
            for name, values in cases.items():
                result |= {f"{name}_{agents}_{key}": value for key, value in values.items()}
                if "mlp" in cases and name in ("chunked", "low_rank", "linear", "nops"):
                    saving = cases["mlp"]["parameters"] / values["parameters"]
                    result[f"{name}_{agents}_saving"] = saving
    return result


def measure(name: str, side: int, repeats: int) -> dict[str, float]:
    """One case in this process: ms, mib, parameters."""
    import torch

    from hypemarl.algorithms.td3.agent import TD3
    from hypemarl.bench.agent_update import random_batch, square_spec

    torch.set_num_threads(1)
    base = configuration.load("density-vacuum").agent
    shared: Row = {"credit": "cooperative", "cloning": 0.0, "policy_delay": 1}
    config = dataclasses.replace(base, **shared, **CASES[name])

    def ready(side: int) -> Callable[[], object]:
        agent = TD3(square_spec((side, side)), config, seed=0)
        batch = agent.prepare(random_batch(agent.spec, config.batch_episodes, 20))
        counted.update(agent.parameter_count)
        return lambda: agent.learn(batch)

    counted: dict[str, int] = {}
    ready(2)()  # once for what torch sets up at first use
    CLEAR.write_text("5")  # the peak of resident memory starts from now
    before = _status("VmRSS")
    ms = best_ms(ready(side), repeats)
    return {"ms": ms, "mib": _status("VmHWM") - before, "parameters": float(sum(counted.values()))}


def _status(name: str) -> float:
    """A line of the kernel's account of this process, MiB."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return float(lines[name].split()[0]) / 1024
