"""Ways to learn (``training.method``) behind one interface: what a round of episodes is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hypemarl.config import AgentConfig, Config
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups
from hypemarl.training.progress import Losses, Progress, Result

if TYPE_CHECKING:
    from hypemarl.agents.probe import Probe


class Method(Protocol):
    """Collects episodes and learns from them. Made on every rank; rank 0 alone learns.

    ``agent`` is there on the first rank of every group, after :meth:`start`: it has
    ``act(observations, mu)``, and on rank 0 everything that is learned.
    """

    agent: Any

    def start(self) -> None:
        """Build networks where they are needed. Local."""

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """An episode in group g at ``parameters[g]``, with what is learned of it. Collective.

        Counts updates in ``progress`` of rank 0. Returns results and mean losses on rank 0, none
        elsewhere. Raises TrainingError on every rank.
        """

    def share(self) -> None:
        """Give rank 0's averaged actor to the first ranks of all groups. Collective."""

    def has_policy(self, episode: int) -> bool:
        """Whether after this number of episodes there is a policy to validate."""

    def probe(self) -> Probe | None:
        """What the latest episodes show of the agents, None where there are none. On rank 0.

        Changes nothing, and depends on nothing that a resumed run would lack.
        """

    def state_dict(self, *, whole: bool) -> dict[str, Any]:
        """What a checkpoint holds: ``agent``, and if ``whole`` all that training goes on from."""

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take up a checkpoint with a whole state. On rank 0."""


def make_method(config: Config, env: Any, groups: Groups) -> Method:
    """The method that ``config`` names. Collective.

    Raises:
        TypeError: the plant has no adjoint and the method needs it.
    """
    method = config.training.method
    if method == "td3":
        from hypemarl.algorithms.td3.learner import OffPolicy

        return OffPolicy(config, env, groups)
    if method == "apg":
        from hypemarl.algorithms.apg.learner import AdjointGradient

        return AdjointGradient(config, env, groups)
    if method in ("mbpg", "dyna"):
        from hypemarl.algorithms.model_based.learner import ModelBased

        return ModelBased(config, env, groups)
    from hypemarl.algorithms.imitation.learner import Imitation, InverseReward

    return (Imitation if method == "imitate" else InverseReward)(config, env, groups)


def make_agent(config: Config, spec: Any) -> Any:
    """The agent whose state a checkpoint of such a run holds, on the CPU. Local."""
    if config.training.method in ("td3", "dyna"):  # without dyna's surrogate
        from hypemarl.algorithms.td3.agent import TD3

        return TD3(spec, config.agent, config.seed)
    if config.training.method == "irl":
        from hypemarl.algorithms.imitation.learned_reward import RewardLearner

        return RewardLearner(spec, config.agent, config.seed)
    if config.training.method == "mbpg":
        from hypemarl.agents.policy import PolicyAgent  # without the surrogate

        return PolicyAgent(spec, config.agent, config.seed)
    from hypemarl.algorithms.apg.agent import APG

    return APG(spec, config.agent, config.seed)


def variant(config: Config) -> str:
    """What tables call the scheme: its name, and what departs from its usual code and kind."""
    agent, usual = config.agent, AgentConfig()
    names: list[str] = [agent.scheme]
    if agent.scheme not in ("marl", "nops") and agent.encoder != usual.encoder:
        names.append(agent.encoder)
    if agent.scheme == "hypemarl" and agent.hypernetwork != usual.hypernetwork:
        names.append(agent.hypernetwork)
    return " ".join(names)


def label(config: Config) -> str:
    """What stands beside the scheme in tables: the credit of TD3, else the method."""
    method = config.training.method
    return config.agent.credit if method == "td3" else method
