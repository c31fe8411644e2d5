"""The loop over rounds of episodes: counters, records, validation, checkpoints.

Ranks form groups that run an environment each (:mod:`hypemarl.training.groups`), by default one
group of all. Rank 0 alone learns and holds files; how it learns is up to the learner of its
algorithm (:mod:`hypemarl.training.learner`). Training goes on from checkpoints at the ends of
rounds only (one episode in each group), where nothing but the stored state decides what follows: a
resumed run equals the uninterrupted one, in serial bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hypemarl import mpi, seeding
from hypemarl.config import Config
from hypemarl.training import checkpoint, evaluation, groups
from hypemarl.training.groups import Groups
from hypemarl.training.learner import make_learner
from hypemarl.training.progress import Losses, Progress, Result
from hypemarl.training.records import Recorder, RunFolder
from hypemarl.training.watch import Watch, look
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


class Trainer:
    """Environment, learner and records of one run. Built on every rank, collective."""

    def __init__(self, config: Config, env: ArrayEnv, folder: RunFolder, split: Groups) -> None:
        self.config, self.settings, self.env = config, config.training, env
        self.folder, self.split, self.comm, self.root = folder, split, split.comm, split.root
        # The first rank of a group asks the policy in validations; rank 0 does in training.
        self.acts = split.leads
        self.progress = Progress()
        self.parameters = seeding.numpy_generator(config.seed, "parameters")
        size = config.training.validation_size
        self.validation_set = evaluation.fixed_set(env, size, "validation")
        self.learner = make_learner(config, env, split)
        self._choose_anew = False  # on rank 0
        self.watch = Watch(config, lambda: self.progress, self._record)
        self.recorder: Recorder

    def start(self, stored: Row | None, *, other_code: bool = False) -> None:
        """Build the networks, and on rank 0 load the checkpoint ``stored``. Local, writes nothing.

        ``other_code``: costs so far are of other code than the present one, so that what was
        chosen by them is chosen anew.

        Raises CheckpointError: the checkpoint does not fit.
        """
        self.learner.start()
        if self.root and stored is not None:
            self._load(stored)
            self._choose_anew = other_code

    def open_records(self) -> None:
        """Open the records, which continue those of earlier episodes. Local, on rank 0."""
        self.recorder = Recorder(
            self.folder,
            tensorboard=self.settings.tensorboard,
            after_episode=self.progress.episode,
        )
        if self.recorder.gap is not None:
            self._record("gap", **self.recorder.gap._asdict())

    def run(self, interrupted: Callable[[], bool], *, progress: bool = True) -> Row:
        """Train to the last episode or the interrupt; returns the summary. Collective."""
        self._share_progress()
        began = time.monotonic() - self.progress.seconds
        if anew := self._agree(self._choose_anew):
            self._forget_best()
        self._measure_uncontrolled()
        measures = self.settings.validation_every > 0
        if anew and measures and self.learner.has_policy(self.progress.episode):
            self._validate(began)
        episodes, stop = self.settings.episodes, self._agree(interrupted())
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
        return self._summary(stop_asked=stop or self._agree(interrupted()))

    def _round(self, began: float) -> float:
        """An episode in each group with updates, records and, where due, validation.

        Returns the mean cost on rank 0.
        """
        before, settings = self.progress.episode, self.settings
        count = min(self.split.count, settings.episodes - before)
        parameters = [self.env.sample_parameters(self.parameters) for _ in range(count)]
        results, losses = self.learner.collect(parameters, self.progress)
        with mpi.raise_together(self.comm):
            if self.root:
                self.progress.seconds = time.monotonic() - began
                self._finish(results, losses)
        self._share_progress()
        if self.learner.has_policy(self.progress.episode) and self._due(
            settings.validation_every, before
        ):
            self._validate(began)
        with mpi.raise_together(self.comm):
            if self.root:
                self._look(before)
        return _mean_cost(results)

    def _finish(self, results: Sequence[Result], losses: Losses) -> None:
        """Counters and records of a round, in the order of the groups. Local, on rank 0."""
        for result in results:
            self.progress.episode += 1
            self.progress.step += result.length
            if result.failure is not None:
                self.progress.failures += 1
                self.progress.failure = result.failure
                self._record("failure", failure=result.failure, length=result.length)
            else:
                self._record(
                    "episode",
                    return_mean=result.return_mean,
                    cost=result.cost,
                    length=result.length,
                    random=result.random,
                )
        if losses:
            self._record("update", **losses)
        self.watch.losses(losses)
        self.watch.failures()

    def _look(self, before: int) -> None:
        """Diagnostics where due; warnings with validations and checkpoints. Local, on rank 0."""
        settings = self.settings
        describe = self._due(settings.diagnose_every, before)
        now = describe or any(
            self._due(every, before)
            for every in (settings.validation_every, settings.checkpoint_every)
        )
        if now and self.learner.has_policy(self.progress.episode):
            look(self.watch, self.learner, describe=describe)

    def _policy(self, observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        if not self.acts:
            return np.zeros((self.env.n_agents, self.env.action_size))
        return np.asarray(self.learner.agent.act(observations, mu))

    def _measure_uncontrolled(self) -> None:
        if np.isfinite(self.progress.uncontrolled) or not self.settings.validation_every:
            return
        nothing = evaluation.uncontrolled(self.env)
        costs = groups.spread_costs(self.split, self.env, nothing, self.validation_set)
        self.progress.uncontrolled = float(costs.mean())

    def _forget_best(self) -> None:
        """Set the best checkpoint aside, and drop the costs that it was chosen by. Collective."""
        blank = Progress()
        self.progress.best_cost, self.progress.best_episode = blank.best_cost, blank.best_episode
        self.progress.uncontrolled = blank.uncontrolled
        with mpi.raise_together(self.comm):
            if self.root and self.folder.best.exists():
                self.folder.best.replace(self.folder.earlier_best)

    def _validate(self, began: float) -> None:
        """Cost of the averaged actor on the validation set; keeps the best. Collective."""
        self.learner.share()
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
        if self.root:
            self.watch.validated(cost)
        if cost < self.progress.best_cost:
            self.progress.best_cost = cost
            self.progress.best_episode = self.progress.episode
            self._save(self.folder.best, whole=False)

    def _due(self, every: int, before: int) -> bool:
        """True where a task of every so many episodes, or of the end, fell due since ``before``."""
        episode = self.progress.episode
        if every == 0:
            return False
        return episode // every > before // every or episode == self.settings.episodes

    def _record(self, kind: str, **values: object) -> None:
        if self.root:
            now = self.progress
            self.recorder.write(kind, now.episode, now.step, now.seconds, **values)

    def _agree(self, stop: bool) -> bool:
        """True where any rank wants to stop. Collective."""
        return bool(self.comm.allreduce(int(stop)) if self.comm.size > 1 else stop)

    def _share_progress(self) -> None:
        """Give rank 0's counters and generator to every rank: the control flow depends on them."""
        if self.comm.size > 1:
            state = seeding.generator_state(self.parameters)
            self.progress, state = self.comm.bcast((self.progress, state), root=0)
            seeding.set_generator_state(self.parameters, state)

    def _save(self, path: Path, *, whole: bool = True) -> None:
        with mpi.raise_together(self.comm):
            if not self.root:
                return
            self.recorder.sync()  # a checkpoint counts on the records before it
            state = {
                "progress": vars(self.progress).copy(),
                "parameters": seeding.generator_state(self.parameters),
                "groups": self.split.count,
                **self.learner.state_dict(whole=whole),
            }
            checkpoint.save(path, state, self.config)

    def _load(self, stored: Row) -> None:
        file = self.folder.last
        expected = ("progress", "parameters", *self.learner.state_dict(whole=True))
        checkpoint.check_entries(file, {"groups": 1} | stored, (*expected, "groups"))
        checkpoint.restore(
            file,
            {
                "agent": (self.learner.load_state_dict, stored),
                "parameters": (
                    lambda state: seeding.set_generator_state(self.parameters, state),
                    stored["parameters"],
                ),
                "progress": (self._count_from, stored["progress"]),
            },
        )
        if (trained := stored.get("groups", 1)) != self.split.count:
            mpi.note(
                f"{trained} environments at once so far, {self.split.count} from here on: sound, "
                "but no longer what an uninterrupted run would give"
            )

    def _count_from(self, progress: Row) -> None:
        self.progress = Progress(**progress)

    def _summary(self, *, stop_asked: bool) -> Row:
        return {
            "run": str(self.folder.path),
            "scheme": self.config.agent.scheme,
            "credit": self.config.agent.credit,
            "method": self.settings.algorithm,
            "seed": self.config.seed,
            **vars(self.progress),
            "groups": self.split.count,
            "in_vain": self.progress.in_vain,
            "stop_asked": stop_asked,
            "interrupted": stop_asked and self.progress.episode < self.settings.episodes,
        }


def _mean_cost(results: Sequence[Result]) -> float:
    """Mean cost of a round; a failed episode counts as infinite."""
    costs = [np.inf if result.failure else result.cost for result in results]
    return float(np.mean(costs)) if costs else 0.0
