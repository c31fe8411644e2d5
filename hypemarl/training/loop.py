"""The collect and update loop: one run of one scheme from one seed.

Ranks form groups that run an environment each (:mod:`hypemarl.training.groups`), by default one
group of all. Rank 0 alone learns and holds replay and files. Training goes on from checkpoints at
the ends of rounds only (one episode in each group), where nothing but the stored state decides what
follows: a resumed run equals the uninterrupted one, in serial bit for bit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from hypemarl import mpi, seeding
from hypemarl.config import Config
from hypemarl.training import checkpoint, evaluation, groups
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.groups import Groups, Slot
from hypemarl.training.interrupt import deferred_interrupt
from hypemarl.training.records import Recorder, RunFolder
from hypemarl.training.setup import MakeEnv, default_make_env, pick_device, spec_of, torch_threads

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.agents.td3 import TD3


class TrainingError(RuntimeError):
    """Training cannot go on: the networks left the finite numbers."""


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    comm: Any = None,
    ranks_per_env: int | None = None,
    progress: bool = True,
    make_env: MakeEnv = default_make_env,
) -> dict[str, Any]:
    """Train one run into ``run_dir`` and return its summary. Collective over ``comm``.

    ``comm`` defaults to the world, ``ranks_per_env`` to all its ranks: one environment. With fewer,
    ``comm.size / ranks_per_env`` environments run at once and fill one replay; an error on some
    ranks only then ends the world with one message. The first Ctrl-C (or SIGTERM) lets the episode
    end, saves and returns; a second one stops at once, and ``resume`` then goes on from the last
    checkpoint.

    Returns: episode, step, seconds, best_cost, best_episode, uncontrolled, failures, groups,
        interrupted.
    Raises: ValueError (ranks do not split), RunError (folder occupied), CheckpointError (cannot
        resume), TrainingError.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    stored: dict[str, Any] | None = None
    with mpi.one_fate(comm):
        split = Groups(comm, ranks_per_env)
        with mpi.raise_together(comm):
            if split.root:
                stored = _open_run(folder, config, resume=resume, overwrite=overwrite)
        env = make_env(config.env, comm=split.own)
    try:
        with mpi.one_fate(comm):
            trainer = Trainer(config, env, folder, split)
            with mpi.raise_together(comm):
                trainer.start(stored)
            # only ranks that hold an agent import torch
            limit = torch_threads(config.training.threads) if trainer.acts else nullcontext()
            with deferred_interrupt(split.root) as interrupted, limit:
                return trainer.run(interrupted, progress=progress)
    finally:
        env.close()
        split.close()


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

    def __init__(self, config: Config, env: Any, folder: RunFolder, split: Groups) -> None:
        self.config, self.settings, self.env = config, config.training, env
        self.folder, self.split, self.comm, self.root = folder, split, split.comm, split.root
        # The first rank of a group asks the policy in validations; rank 0 does in training.
        self.acts = split.leads
        self.progress = Progress()
        self.parameters = seeding.numpy_generator(config.seed, "parameters")
        self.validation_set = evaluation.parameter_set(
            env.parameter_low, env.parameter_high, config.training.validation_size, "validation"
        )
        self.agent: TD3
        self.replay: Replay
        self.recorder: Recorder
        self._error: Exception | None = None  # of an update, until all ranks can raise it

    def start(self, stored: dict[str, Any] | None) -> None:
        """Build agents and replay on rank 0 and continue what is ``stored``. Local."""
        if not self.acts:
            return
        from hypemarl.agents.replay import Replay
        from hypemarl.agents.td3 import TD3

        spec, config = spec_of(self.env), self.config
        device = pick_device(config.training.device) if self.root else "cpu"
        self.agent = TD3(spec, config.agent, config.seed, device, slots=self.split.count)
        if not self.root:
            return
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
                before = self.progress.episode
                cost = self._round(began)
                bar.set_postfix(cost=f"{cost:.3f}", best=f"{self.progress.best_cost:.3f}")
                bar.update(self.progress.episode - before)
                stop = self._agree(interrupted())
                if stop or self._due(self.settings.checkpoint_every, before):
                    self._save(self.folder.last)
        finally:
            bar.close()
            if self.root:
                self.recorder.close()
        self._share_progress()  # seconds are each rank's own so far
        return self._summary(interrupted=stop)

    def _round(self, began: float) -> float:
        """An episode in each group with updates, records and, where due, validation.

        Returns the mean cost on rank 0.
        """
        before, settings = self.progress.episode, self.settings
        count = min(self.split.count, settings.episodes - before)
        parameters = [self.env.sample_parameters(self.parameters) for _ in range(count)]
        random = [before + g < settings.random_episodes for g in range(count)]
        slots, losses = self._collect(parameters, random)
        with mpi.raise_together(self.comm):
            if self.root:
                self.progress.seconds = time.monotonic() - began
                self._finish(slots, losses)
        self._share_progress()
        trained = self.progress.episode >= settings.random_episodes
        if trained and self._due(settings.validation_every, before):
            self._validate(began)
        return float(np.mean([np.inf if s.failure else s.cost for s in slots])) if slots else 0.0

    def _collect(
        self, parameters: list[np.ndarray], random: list[bool]
    ) -> tuple[list[Slot], list[dict[str, float]]]:
        """Step through a round with updates on the way; slots and losses on rank 0. Collective.

        Updates see whole episodes of earlier rounds only, so that nothing hangs on whether they are
        made before or after the step. With several groups rank 0 makes them while the others step.
        """
        slots = groups.start(self.split, self.env, parameters, random)
        losses: list[dict[str, float]] = []
        if self.root:
            for slot in slots:
                self.agent.start_episode(slot.index)
            self.replay.make_room(len(slots))
        several = self.split.count > 1
        while plan := mpi.on_root(self.comm, lambda: self._plan(slots)):
            running = [slot for slot in slots if slot.index in plan]
            if several:
                losses += self._update(running)
            outcomes = groups.step(self.split, self.env, plan)
            for slot in running:
                slot.take(plan[slot.index], outcomes[slot.index])
            if not several:
                losses += self._update([slot for slot in running if slot.failure is None])
        return slots, losses

    def _plan(self, slots: list[Slot]) -> dict[int, np.ndarray]:
        """Actions (n, m) of the slots that go on. Local, on rank 0."""
        if self._error is not None:
            raise self._error
        going = [slot for slot in slots if not slot.done]
        scale = self.settings.random_scale
        plan = {s.index: self.agent.random_actions(scale, s.index) for s in going if s.random}
        policy = [slot for slot in going if not slot.random]
        if policy:
            observations = np.stack([slot.observations for slot in policy])
            mu = np.stack([slot.mu for slot in policy])
            indices = [slot.index for slot in policy]
            explored = self.agent.explore_slots(observations, mu, indices)
            plan |= dict(zip(indices, explored, strict=True))
        for index, actions in plan.items():
            if not np.isfinite(actions).all():
                raise TrainingError(
                    f"episode {self.progress.episode + 1 + index}: the policy gives actions that "
                    f"are not finite; lower agent.actor_rate and agent.critic_rate, or set "
                    f"agent.gradient_clip. Checkpoints in {self.folder.last.parent} are intact"
                )
        return plan

    def _update(self, running: list[Slot]) -> list[dict[str, float]]:
        """The updates that are due for a control step of these slots; their losses. Local.

        An error is kept for :meth:`_plan`, where every rank hears of it.
        """
        self.progress.warm_step += sum(not slot.random for slot in running)
        due = int(self.progress.warm_step * self.settings.updates_per_step)
        due -= self.progress.updates
        self.progress.updates += due
        if not due or not len(self.replay):
            return []
        try:
            return [self.agent.update(self.replay) for _ in range(due)]
        except FloatingPointError as error:
            self._error = TrainingError(f"episode {self.progress.episode + 1}: {error}")
            self._error.__cause__ = error
        except Exception as error:
            self._error = error
        return []

    def _finish(self, slots: list[Slot], losses: list[dict[str, float]]) -> None:
        """Replay, counters and records of a round, in the order of the slots. Local, on rank 0."""
        for slot in slots:
            slot.store(self.replay)
            self.progress.episode += 1
            length = len(slot.steps)
            self.progress.step += length
            if slot.failure is not None:
                self.progress.failures += 1
                self._record("failure", failure=slot.failure, length=length)
            else:
                sums = {"return_mean": slot.return_mean, "cost": slot.cost}
                self._record("episode", **sums, length=length, random=slot.random)
        if losses:
            self._record("update", **_averages(losses))

    def _policy(self, observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        if not self.acts:
            return np.zeros((self.env.n_agents, self.env.action_size))
        return self.agent.act(observations, mu)

    def _share_policy(self) -> None:
        """Give rank 0's averaged actor to the first ranks of the other groups. Collective."""
        if self.split.count == 1:
            return
        state = None
        if self.root:
            state = {k: v.cpu() for k, v in self.agent.actor_average.state_dict().items()}
        state = self.comm.bcast(state, root=0)
        if self.acts and not self.root:
            self.agent.actor_average.load_state_dict(state)

    def _measure_uncontrolled(self) -> None:
        if np.isfinite(self.progress.uncontrolled) or not self.settings.validation_every:
            return
        nothing = evaluation.uncontrolled(self.env)
        costs = groups.spread_costs(self.split, self.env, nothing, self.validation_set)
        self.progress.uncontrolled = float(costs.mean())

    def _validate(self, began: float) -> None:
        """Cost of the averaged actor on the validation set; keeps the best. Collective."""
        self._share_policy()
        costs = groups.spread_costs(self.split, self.env, self._policy, self.validation_set)
        cost, finite = float(costs.mean()), np.isfinite(costs)
        self.progress.seconds = time.monotonic() - began
        self._record(
            "validation",
            cost=cost,
            cost_std=float(costs.std()) if finite.all() else float("inf"),
            uncontrolled=self.progress.uncontrolled,
            failures=int((~finite).sum()),
        )
        if cost < self.progress.best_cost:
            self.progress.best_cost = cost
            self.progress.best_episode = self.progress.episode
            self._save(self.folder.best, replay=False)

    def _due(self, every: int, before: int) -> bool:
        """Whether what comes every so many episodes, and at the end, fell due since ``before``."""
        episode = self.progress.episode
        if every == 0:
            return False
        return episode // every > before // every or episode == self.settings.episodes

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
                "groups": self.split.count,
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
        if (trained := stored.get("groups", 1)) != self.split.count:
            print(
                f"note: {trained} environments at once so far, {self.split.count} from here on: "
                "sound, but no longer what an uninterrupted run would give",
                file=sys.stderr,
            )

    def _summary(self, *, interrupted: bool) -> dict[str, Any]:
        return {
            "run": str(self.folder.path),
            "scheme": self.config.agent.scheme,
            "credit": self.config.agent.credit,
            "seed": self.config.seed,
            **vars(self.progress),
            "groups": self.split.count,
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
