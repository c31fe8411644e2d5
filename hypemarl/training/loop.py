"""The collect and update loop: one run of one scheme from one seed.

Every rank of the communicator steps the environment; rank 0 alone holds agents, replay and files,
and its actions win. Training goes on from checkpoints at the ends of episodes only, where nothing
but the stored state decides what follows: a resumed run equals the uninterrupted one, in serial
bit for bit.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from hypemarl import mpi, seeding
from hypemarl.config import Config, EnvConfig
from hypemarl.training import checkpoint, evaluation
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.records import Recorder, RunFolder

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.agents.td3 import TD3

MakeEnv = Callable[..., Any]  # (EnvConfig, comm=...) -> environment, see hypemarl.envs.make


class TrainingError(RuntimeError):
    """Training cannot go on: the networks left the finite numbers."""


def default_make_env(config: EnvConfig, comm: Any) -> Any:
    """Build the environment of the configuration; imported here, as it brings dolfinx along."""
    from hypemarl.envs import make

    return make(config, comm=comm)


def spec_of(env: Any) -> AgentSpec:
    """What the agents may know of ``env``."""
    from hypemarl.agents.spec import AgentSpec

    return AgentSpec(**{item.name: getattr(env, item.name) for item in fields(AgentSpec)})


def pick_device(name: str) -> str:
    """``auto`` is CUDA where it is present. Raises ValueError for CUDA where it is not."""
    import torch

    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ValueError("training.device=cuda, but torch sees no CUDA device; take auto or cpu")
    return ("cuda" if present else "cpu") if name == "auto" else name


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch ``count`` threads inside the block, so that runs share the cores in peace."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    comm: Any = None,
    progress: bool = True,
    make_env: MakeEnv = default_make_env,
) -> dict[str, Any]:
    """Train one run into ``run_dir`` and return its summary. Collective over ``comm``.

    ``comm`` defaults to the world. The first Ctrl-C (or SIGTERM) lets the episode end, saves and
    returns; a second one stops at once, and ``resume`` then goes on from the last checkpoint.

    Returns: episode, step, seconds, best_cost, best_episode, uncontrolled, failures, interrupted.
    Raises: RunError (folder occupied), CheckpointError (cannot resume), TrainingError.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    stored: dict[str, Any] | None = None
    with mpi.raise_together(comm):
        if comm.rank == 0:
            stored = _open_run(folder, config, resume=resume, overwrite=overwrite)
    env = make_env(config.env, comm=comm)
    try:
        trainer = Trainer(config, env, folder, comm)
        with mpi.raise_together(comm):
            trainer.start(stored)
        # only rank 0 learns, and only it imports torch
        limit = torch_threads(config.training.threads) if trainer.root else nullcontext()
        with _deferred_interrupt(comm.rank == 0) as interrupted, limit:
            return trainer.run(interrupted, progress=progress)
    finally:
        env.close()


def _open_run(
    folder: RunFolder, config: Config, *, resume: bool, overwrite: bool
) -> dict[str, Any] | None:
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    stored = None
    if resume and folder.last.exists():
        stored = checkpoint.load(folder.last)
        checkpoint.check_config(folder.last, stored, config)
    elif resume and not folder.exists():
        raise CheckpointError(f"{folder.path}: nothing to resume; train without --resume first")
    folder.begin(config, resume=resume, overwrite=overwrite)
    return stored


@dataclass
class Progress:
    """Counters of a run; with networks, replay and generators they make the whole state."""

    episode: int = 0
    step: int = 0
    updates: int = 0
    warm_step: int = 0  # control steps since updates were allowed
    failures: int = 0
    seconds: float = 0.0
    best_cost: float = float("inf")
    best_episode: int = 0
    uncontrolled: float = float("nan")


class Trainer:
    """Environment, agents, replay and records of one run. Built on every rank."""

    def __init__(self, config: Config, env: Any, folder: RunFolder, comm: Any) -> None:
        self.config, self.settings, self.env = config, config.training, env
        self.folder, self.comm, self.root = folder, comm, comm.rank == 0
        self.progress = Progress()
        self.parameters = seeding.numpy_generator(config.seed, "parameters")
        self.validation_set = evaluation.parameter_set(
            env.parameter_low, env.parameter_high, config.training.validation_size, "validation"
        )
        self.agent: TD3
        self.replay: Replay
        self.recorder: Recorder

    def start(self, stored: dict[str, Any] | None) -> None:
        """Build agents and replay on rank 0 and continue what is ``stored``. Local."""
        if not self.root:
            return
        from hypemarl.agents.replay import Replay
        from hypemarl.agents.td3 import TD3

        spec, config = spec_of(self.env), self.config
        self.agent = TD3(spec, config.agent, config.seed, pick_device(config.training.device))
        steps = config.env.control_steps
        self.replay = Replay(spec, config.agent.replay_episodes, steps, config.seed)
        if stored is not None:
            self._load(stored)
        self.recorder = Recorder(
            self.folder,
            tensorboard=self.settings.tensorboard,
            after_episode=self.progress.episode,
        )

    def run(self, interrupted: Callable[[], bool], *, progress: bool = True) -> dict[str, Any]:
        """Train to the last episode or the interrupt; returns the summary. Collective."""
        self._share_progress()
        began = time.monotonic() - self.progress.seconds
        self._measure_uncontrolled()
        episodes, stop = self.settings.episodes, False
        bar = tqdm(
            total=episodes,
            initial=self.progress.episode,
            unit="episode",
            desc=f"{self.config.agent.scheme} seed {self.config.seed}",
            disable=not (progress and self.root),
        )
        try:
            while self.progress.episode < episodes and not stop:
                cost = self._episode(began)
                bar.set_postfix(cost=f"{cost:.3f}", best=f"{self.progress.best_cost:.3f}")
                bar.update()
                stop = self._agree(interrupted())
                if stop or self._due(self.settings.checkpoint_every):
                    self._save(self.folder.last)
        finally:
            bar.close()
            if self.root:
                self.recorder.close()
        return self._summary(interrupted=stop)

    def _episode(self, began: float) -> float:
        """One episode with its updates, records and, where due, validation. Returns its cost."""
        random = self.progress.episode < self.settings.random_episodes
        self.progress.episode += 1
        values, losses, failure = self._collect(random=random)
        self.progress.seconds = time.monotonic() - began
        if failure is not None:
            self.progress.failures += 1
            self._record("failure", failure=failure, length=values["length"])
        else:
            self._record("episode", **values, random=random)
        if losses:
            self._record("update", **_averages(losses))
        trained = self.progress.episode >= self.settings.random_episodes
        if trained and self._due(self.settings.validation_every):
            self._validate(began)
        return float(values["cost"]) if failure is None else float("inf")

    def _collect(
        self, *, random: bool
    ) -> tuple[dict[str, Any], list[dict[str, float]], str | None]:
        """Step through an episode into the replay, with updates on the way."""
        episode = self.env.reset_arrays(self.env.sample_parameters(self.parameters))
        if self.root:
            self.agent.start_episode()
            self.replay.begin(episode.mu, episode.targets, episode.observations)
        observations, losses, done = episode.observations, [], False
        values = {"return_mean": 0.0, "cost": 0.0, "length": 0}
        failure = None
        while not done:
            actions = self._act(observations, episode.mu, random=random)
            step = self.env.step_arrays(actions)
            failure = evaluation.failure_of(step)
            if failure is not None:
                break
            values["return_mean"] += float(np.mean(step.rewards))
            values["cost"] += float(step.info["cost"])
            values["length"] += 1
            if self.root:
                self.replay.add(actions, step.rewards, step.observations, step.terminated)
            self.progress.step += 1
            losses += self._update(allowed=not random)
            observations, done = step.observations, step.terminated or step.truncated
        if self.root and values["length"]:
            self.replay.end()
        return values, losses, failure

    def _act(self, observations: np.ndarray, mu: np.ndarray, *, random: bool) -> np.ndarray:
        """Exploring actions (n, m) on rank 0, zeros elsewhere."""
        actions = np.zeros((self.env.n_agents, self.env.action_size))
        with mpi.raise_together(self.comm):
            if self.root and random:
                actions = self.agent.random_actions(self.settings.random_scale)
            elif self.root:
                actions = self.agent.explore(observations, mu)
            if not np.isfinite(actions).all():
                raise TrainingError(
                    f"episode {self.progress.episode}: the policy gives actions that are not "
                    f"finite; lower agent.actor_rate and agent.critic_rate, or set "
                    f"agent.gradient_clip. Checkpoints in {self.folder.last.parent} are intact"
                )
        return actions

    def _update(self, *, allowed: bool) -> list[dict[str, float]]:
        """The updates that are due after a control step; their losses, on rank 0."""
        if not allowed:
            return []
        self.progress.warm_step += 1
        due = int(self.progress.warm_step * self.settings.updates_per_step)
        due -= self.progress.updates
        self.progress.updates += due
        losses: list[dict[str, float]] = []
        with mpi.raise_together(self.comm):
            if self.root and len(self.replay):
                try:
                    losses = [self.agent.update(self.replay) for _ in range(due)]
                except FloatingPointError as error:
                    raise TrainingError(f"episode {self.progress.episode}: {error}") from error
        return losses

    def _policy(self, observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        if not self.root:
            return np.zeros((self.env.n_agents, self.env.action_size))
        return self.agent.act(observations, mu)

    def _measure_uncontrolled(self) -> None:
        if np.isfinite(self.progress.uncontrolled) or not self.settings.validation_every:
            return
        nothing = evaluation.uncontrolled(self.env)
        result = evaluation.evaluate_policy(self.env, nothing, self.validation_set)
        self.progress.uncontrolled = result.cost

    def _validate(self, began: float) -> None:
        """Cost of the averaged actor on the validation set; keeps the best. Collective."""
        result = evaluation.evaluate_policy(self.env, self._policy, self.validation_set)
        self.progress.seconds = time.monotonic() - began
        self._record(
            "validation",
            cost=result.cost,
            cost_std=result.cost_std,
            uncontrolled=self.progress.uncontrolled,
            failures=result.failures,
        )
        if result.cost < self.progress.best_cost:
            self.progress.best_cost = result.cost
            self.progress.best_episode = self.progress.episode
            self._save(self.folder.best, replay=False)

    def _due(self, every: int) -> bool:
        """Whether something that happens every so many episodes, and at the end, is due now."""
        episode = self.progress.episode
        return every > 0 and (episode % every == 0 or episode == self.settings.episodes)

    def _record(self, kind: str, **values: Any) -> None:
        if self.root:
            now = self.progress
            self.recorder.write(kind, now.episode, now.step, now.seconds, **values)

    def _agree(self, stop: bool) -> bool:
        """Whether any rank wants to stop. Collective."""
        return bool(self.comm.allreduce(int(stop)) if self.comm.size > 1 else stop)

    def _share_progress(self) -> None:
        """Give rank 0's counters and generator to every rank: the control flow hangs on them."""
        if self.comm.size > 1:
            state = seeding.generator_state(self.parameters)
            self.progress, state = self.comm.bcast((self.progress, state), root=0)
            seeding.set_generator_state(self.parameters, state)

    def _save(self, path: Path, *, replay: bool = True) -> None:
        with mpi.raise_together(self.comm):
            if not self.root:
                return
            state = {
                "progress": vars(self.progress).copy(),
                "agent": self.agent.state_dict(),
                "parameters": seeding.generator_state(self.parameters),
            }
            if replay:
                state["replay"] = self.replay.state_dict()
            checkpoint.save(path, state, self.config)

    def _load(self, stored: dict[str, Any]) -> None:
        checkpoint.restore(
            self.folder.last,
            {
                "agent": (self.agent.load_state_dict, stored["agent"]),
                "replay": (self.replay.load_state_dict, stored["replay"]),
                "parameters": (
                    lambda state: seeding.set_generator_state(self.parameters, state),
                    stored["parameters"],
                ),
            },
        )
        self.progress = Progress(**stored["progress"])

    def _summary(self, *, interrupted: bool) -> dict[str, Any]:
        return {
            "run": str(self.folder.path),
            "scheme": self.config.agent.scheme,
            "credit": self.config.agent.credit,
            "seed": self.config.seed,
            **vars(self.progress),
            "interrupted": interrupted and self.progress.episode < self.settings.episodes,
        }


def is_finished(run_dir: str | Path, config: Config) -> bool:
    """Whether ``run_dir`` holds a whole run of just this configuration. Local, never raises."""
    folder = RunFolder(run_dir)
    try:
        stored = checkpoint.load(folder.last)
        checkpoint.check_config(folder.last, stored, config)
    except CheckpointError:
        return False
    return int(stored["progress"]["episode"]) == config.training.episodes


def _averages(losses: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for loss in losses for name in loss})
    return {name: float(np.mean([loss[name] for loss in losses if name in loss])) for name in names}


@contextmanager
def _deferred_interrupt(speaks: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag; a second one interrupts as usual."""
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if speaks:
            print("\nfinishing the episode, then saving (again: stop at once)", file=sys.stderr)

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
