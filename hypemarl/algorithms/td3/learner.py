"""TD3: explore, keep what was seen, and update from the replay after each control step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hypemarl import mpi
from hypemarl.config import Config
from hypemarl.envs.array_env import plant_of
from hypemarl.training import groups
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups, Slot
from hypemarl.training.progress import Losses, Progress, Result, TrainingError, averages
from hypemarl.training.setup import pick_device, spec_of
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.agents.probe import Probe
    from hypemarl.agents.replay import Replay
    from hypemarl.coupling.adjoint import PlantAdjoint
    from hypemarl.envs.array_env import ArrayEnv


PROBE_EPISODES = 4  # the latest, which diagnostics look at


class OffPolicy:
    """The algorithm ``td3`` (see :class:`~hypemarl.training.learner.Learner`).

    Raises:
        TypeError: credit ``adjoint`` with a plant that has none.
    """

    keep_costs = False  # in the replay: for those who learn them
    exact_gains = True  # credit adjoint asks the plant

    def __init__(self, config: Config, env: ArrayEnv, split: Groups) -> None:
        self.config, self.settings, self.env, self.split = config, config.training, env, split
        self.agent: Any  # explores; TD3 here
        self.replay: Replay
        self.policy_from = config.training.random_episodes  # episodes before have random actions
        self._adjoint: PlantAdjoint | None = None
        if self.exact_gains and config.agent.credit == "adjoint":
            from hypemarl.coupling.adjoint import adjoint_of

            self._adjoint = adjoint_of(plant_of(env))
        self._error: Exception | None = None  # of an update, until all ranks can raise it

    def start(self) -> None:
        """Agents on the first rank of every group, the replay on rank 0."""
        if not self.split.leads:
            return
        from hypemarl.agents.replay import Replay

        spec, config, root = spec_of(self.env), self.config, self.split.root
        device = pick_device(self.settings.device) if root else "cpu"
        slots = self.split.count
        self.agent = self._make_agent(spec, config.agent, config.seed, device, slots=slots)
        if root:
            capacity, steps = config.agent.replay_episodes, config.env.control_steps
            self.replay = Replay(spec, capacity, steps, config.seed)

    def _make_agent(self, *arguments: Any, **options: Any) -> Any:
        from hypemarl.algorithms.td3.agent import TD3

        return TD3(*arguments, **options)

    def has_policy(self, episode: int) -> bool:
        """After the random episodes."""
        return episode >= self.policy_from

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """Step through a round in lockstep, with updates on the way.

        Updates see whole episodes of earlier rounds only, so that nothing hangs on whether they are
        made before or after the step. With several groups rank 0 makes them while the others step.
        """
        before = progress.episode
        random = [before + g < self.policy_from for g in range(len(parameters))]
        slots = groups.start(self.split, self.env, parameters, random)
        losses: list[Losses] = []
        if self.split.root:
            for slot in slots:
                self.agent.start_episode(slot.index)
            self.replay.make_room(len(slots))
        several = self.split.count > 1
        while plan := mpi.on_root(self.split.comm, lambda: self._plan(slots, before)):
            running = [slot for slot in slots if slot.index in plan]
            if several:
                losses += self._update(running, progress)
            outcomes = groups.step(self.split, self.env, plan)
            for slot in running:
                slot.take(plan[slot.index], outcomes[slot.index])
            if not several:
                losses += self._update([s for s in running if s.failure is None], progress)
        gains = self._gains(parameters, slots)
        with mpi.raise_together(self.split.comm):
            for slot in slots:  # in their order
                own = gains[slot.index] if gains else None
                slot.store(self.replay, own, keep_costs=self.keep_costs)
        return [slot.result for slot in slots], averages(losses) | self._value_bound(losses)

    def _value_bound(self, losses: Sequence[Losses]) -> Losses:
        """What the rewards so far allow critics to say, beside what they say. On rank 0."""
        if not losses:
            return {}
        largest = float(np.abs(self.replay.rewards[: self.replay.stored]).max())
        return {"value_bound": self.agent.value_bound(largest)}

    def _gains(self, parameters: Sequence[Array], slots: list[Slot]) -> list[Array | None]:
        """What the adjoint says of the actions of this round, where the credit asks. Collective."""
        if self._adjoint is None:
            return []
        whole = mpi.on_root(
            self.split.comm,
            lambda: {s.index: np.stack([a for a, *_ in s.steps]) for s in slots if s.steps},
        )
        return groups.gains(self.split, self._adjoint, parameters, whole, self.config.agent.gamma)

    def _plan(self, slots: list[Slot], before: int) -> dict[int, np.ndarray]:
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
                    f"episode {before + 1 + index}: the policy gives actions that are not finite; "
                    "lower agent.actor_rate and agent.critic_rate, or set agent.gradient_clip. "
                    "Checkpoints of the run are intact"
                )
        return plan

    def _update(self, running: list[Slot], progress: Progress) -> list[Losses]:
        """The updates that are due for a control step of these slots; their losses. Local.

        An error is kept for :meth:`_plan`, where every rank hears of it.
        """
        progress.warm_step += sum(not slot.random for slot in running)
        due = int(progress.warm_step * self.settings.updates_per_step)
        due -= progress.updates
        progress.updates += due
        if not due or not len(self.replay):
            return []
        try:
            return [self.agent.update(self.replay) for _ in range(due)]
        except FloatingPointError as error:
            self._error = TrainingError(f"episode {progress.episode + 1}: {error}")
            self._error.__cause__ = error
        except Exception as error:
            self._error = error
        return []

    def probe(self) -> Probe | None:
        """The replay's latest episodes, and what the critics say of the actors' actions there."""
        sample = self.replay.latest(PROBE_EPISODES)
        return None if sample is None else self.agent.probe(sample)

    def share(self) -> None:
        """The averaged actor of rank 0 to the other groups."""
        if self.split.count == 1:
            return
        state = None
        if self.split.root:
            state = {k: v.cpu() for k, v in self.agent.actor_average.state_dict().items()}
        state = self.split.comm.bcast(state, root=0)
        if self.split.leads and not self.split.root:
            self.agent.actor_average.load_state_dict(state)

    def state_dict(self, *, whole: bool) -> Row:
        """Agent and replay."""
        state: Row = {"agent": self.agent.state_dict()}
        if whole:
            state["replay"] = self.replay.state_dict()
        return state

    def load_state_dict(self, stored: Row) -> None:
        """Agent and replay."""
        self.agent.load_state_dict(stored["agent"])
        self.replay.load_state_dict(stored["replay"])
