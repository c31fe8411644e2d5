"""TD3: explore, store transitions, and update from the replay after each control step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hypemarl import mpi
from hypemarl.algorithms import lazy
from hypemarl.config import Config
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups, Slot, start_round, step_round
from hypemarl.training.learner import Learner
from hypemarl.training.progress import Losses, Progress, Round, TrainingError, averages
from hypemarl.training.setup import pick_device
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.agents.policy import ExploringAgent, Probe
    from hypemarl.agents.replay import Replay
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.optimal.trajectory import EpisodeAdjoint

PROBE_EPISODES = 4  # the latest, which diagnostics look at


class OffPolicy(Learner):
    """The algorithm ``td3`` (see :class:`~hypemarl.training.learner.Learner`).

    Raises:
        TypeError: credit ``adjoint`` with a plant that has none.
    """

    keep_costs = False  # in the replay: for those who learn them
    exact_gradients = True  # credit adjoint asks the plant

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.settings = config.training
        self.replay: Replay
        self.policy_from = config.training.random_episodes  # episodes before have random actions
        self.adjoint: EpisodeAdjoint | None = None
        if self.exact_gradients and config.agent.credit == "adjoint":
            # Imported here: PETSc comes along, which all ranks must initialise at the same time.
            from hypemarl.optimal.trajectory import EpisodeAdjoint

            self.adjoint = EpisodeAdjoint(require_adjoint(plant_of(env)))
        self._error: Exception | None = None  # of an update, until all ranks can raise it

    def start(self) -> None:
        """Agents on the first rank of every group, the replay on rank 0."""
        if not self.groups.leads:
            return
        spec, config, root = self.env.agent_spec, self.config, self.groups.root
        device = pick_device(self.settings.device) if root else "cpu"
        slots = self.groups.count
        self.agent = self._agent_class()(spec, config.agent, config.seed, device, slots=slots)
        if root:
            capacity, steps = config.agent.replay_episodes, config.env.control_steps
            self.replay = lazy("agents.replay:Replay")(spec, capacity, steps, config.seed)

    def _agent_class(self) -> Callable[..., ExploringAgent]:
        return lazy("algorithms.td3.agent:TD3")

    def has_policy(self, episode: int) -> bool:
        """True after the random episodes."""
        return episode >= self.policy_from

    def collect(self, parameters: Sequence[Array], progress: Progress) -> Round:
        """Step through a round in lockstep, with updates on the way.

         Updates see whole episodes of earlier rounds only, so that it makes no difference whether
        they come before or after the step. With several groups rank 0 makes them while the others
        step.
        """
        before = progress.episode
        random = [before + g < self.policy_from for g in range(len(parameters))]
        slots = start_round(self.groups, self.env, parameters, random)
        losses: list[Losses] = []
        if self.groups.root:
            for slot in slots:
                self.agent.start_episode(slot.index)
            self.replay.make_room(len(slots))
        several = self.groups.count > 1
        while plan := mpi.on_root(self.groups.comm, lambda: self._plan(slots, before)):
            running = [slot for slot in slots if slot.index in plan]
            if several:
                losses += self._update(running, progress)
            outcomes = step_round(self.groups, self.env, plan)
            for slot in running:
                slot.take(plan[slot.index], outcomes[slot.index])
            if not several:
                losses += self._update([s for s in running if s.failure is None], progress)
        gradients = self._action_gradients(parameters, slots)
        with mpi.raise_together(self.groups.comm):
            for slot in slots:  # in their order
                gradient = gradients[slot.index] if gradients else None
                slot.store(self.replay, gradient, keep_costs=self.keep_costs)
        return [slot.result for slot in slots], averages(losses) | self._value_bound(losses)

    def _value_bound(self, losses: Sequence[Losses]) -> Losses:
        """Largest value that the rewards so far allow, beside those of the critics. On rank 0."""
        if not losses:
            return {}
        largest = float(np.abs(self.replay.rewards[: self.replay.stored]).max())
        return {"value_bound": self.agent.value_bound(largest)}

    def _action_gradients(
        self, parameters: Sequence[Array], slots: list[Slot]
    ) -> list[Array | None]:
        """Action gradients of this round where the credit needs them. Collective."""
        if self.adjoint is None:
            return []
        actions = mpi.on_root(
            self.groups.comm,
            lambda: {s.index: np.stack([a for a, *_ in s.steps]) for s in slots if s.steps},
        )
        gamma = self.config.agent.gamma
        return action_gradients(self.adjoint, self.groups, parameters, actions, gamma)

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

        An error is kept for :meth:`_plan`, which raises it on every rank.
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
        """The replay's latest episodes, with the critics' gradients in the actors' actions."""
        sample = self.replay.latest(PROBE_EPISODES)
        return None if sample is None else self.agent.probe(sample)

    def state_dict(self, *, whole: bool) -> Row:
        """Agent and replay."""
        replay = {"replay": self.replay.state_dict()} if whole else {}
        return super().state_dict(whole=whole) | replay

    def load_state_dict(self, stored: Row) -> None:
        """Agent and replay."""
        super().load_state_dict(stored)
        self.replay.load_state_dict(stored["replay"])


def action_gradients(
    adjoint: EpisodeAdjoint,
    groups: Groups,
    parameters: Sequence[Array],
    actions: Mapping[int, Array],
    gamma: float,
) -> list[Array | None]:
    """Action gradients (steps, n, m) of the episode ``actions[g]`` at ``parameters[g]`` in group g.

    Each is minus the derivative of the costs of the action's interval and of those that follow,
    each interval discounted once more by ``gamma``, summed over agents, with all later actions as
    they are. Runs every episode once more and back. On rank 0, an empty list elsewhere. Collective.
    """
    gradient = None
    if groups.index in actions:
        episode = parameters[groups.index], actions[groups.index]
        gradient = -adjoint.gradient(*episode, gamma).gradient
    return groups.gather(gradient)
