"""Warnings of a training that goes wrong, each given once, with a remedy.

On rank 0 alone. Only recorded numbers are compared, so that watching does not affect learning, and
a resumed run warns where the uninterrupted one would.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping

from tqdm import tqdm

from hypemarl.agents.schemes import scheme_of
from hypemarl.config import Config
from hypemarl.training.learner import Learner
from hypemarl.training.progress import Progress

ALIKE = 0.01
"""Distance between agents' actions on the same observations, over the actions' size, below which
they act alike. Fresh networks have 0.1 to 1."""
RUN_OFF = 2.0
"""Factor on the bound that rewards set to a critic's values, beyond which it diverges."""
FRESH_VALUE = 1.0
"""Size of a fresh critic's values, which small rewards must not be held against."""
SURROGATE_GOOD = 0.1
"""Prediction error, as a share of the variance of what is predicted, of a surrogate that is good"""
POLICY_WORSE = 1.2
"""A cost this many times the best one so far is worse, beyond the noise of validation sets."""

VAIN_EPISODES = 10
"""Failed episodes at a run's beginning from which on a warning is given."""


class Watch:
    """Checks the numbers of a run and warns of each kind of failure once.

    Args:
        config: the run's.
        progress: gives the run's counters, whose ``warned`` is kept here.
        record: writes a metrics line: kind, then values by name.
    """

    def __init__(
        self, config: Config, progress: Callable[[], Progress], record: Callable[..., None]
    ) -> None:
        self.config, self.progress, self.record = config, progress, record
        self._latest: Mapping[str, float] = {}

    def losses(self, losses: Mapping[str, float]) -> None:
        """Warn where a round's critics exceed the values that rewards allow; ``losses`` by name."""
        self._latest = losses
        bound = losses.get("value_bound", math.inf)
        if not math.isfinite(bound):
            return
        largest = max(bound, FRESH_VALUE)
        value, loss = abs(losses.get("q_mean", 0.0)), losses.get("critic_loss", 0.0)
        # No error between two values within the bounds gives the twins a larger loss than this.
        error = 2.0 * largest
        largest_loss = 2.0 * (error - 0.5 if self.config.agent.huber else error**2)
        if value > RUN_OFF * largest or loss > RUN_OFF * largest_loss:
            self.warn(
                "critic-diverges",
                f"the critics run off: mean value {value:.3g}, loss {loss:.3g}, where rewards "
                f"allow values up to {bound:.3g} and fresh networks give {FRESH_VALUE:g}. Lower "
                "agent.critic_rate or agent.tau, set agent.reward_clip, or choose "
                "agent.reward_scale so that rewards are of order one",
            )

    def failures(self) -> None:
        """Warn at the end of a round where every episode so far has failed."""
        progress = self.progress()
        if progress.in_vain and progress.episode >= VAIN_EPISODES:
            self.warn(
                "every-episode-fails",
                f"all {progress.episode} episodes so far failed, and nothing can be learned. The "
                f"last one: {progress.failure}",
            )

    def agents(self, diagnostics: Mapping[str, float]) -> None:
        """Warn where the diagnostics of actors show agents at different places that act alike."""
        if not scheme_of(self.config.agent).distinct:  # agents with one common policy
            return
        relative = diagnostics.get("diversity_relative", math.inf)
        if relative < ALIKE:
            self.warn(
                "agents-alike",
                f"all agents act alike although their positions differ: on the same observations "
                f"their actions are {relative:.2g} of their size apart. Either they are driven "
                "against their bounds (lower agent.actor_rate, set agent.gradient_clip), or codes "
                "do not reach the weights (look at code_distance and weight_distance of hypemarl "
                "diagnose; raise agent.encoding_frequency, or take agent.encoder=learned)",
            )

    def validated(self, cost: float) -> None:
        """Compare the cost of a validation, before it counts as the best, with the surrogate's.

        For model-based algorithms, which put ``surrogate_error`` (a root mean square, in units of
        changes) and ``imagined_cost`` among the losses of every round with imagined episodes.
        """
        if {"surrogate_error", "imagined_cost"} <= self._latest.keys():
            error = self._latest["surrogate_error"] ** 2  # recorded as a root mean square
            self.surrogate(error, self._latest["imagined_cost"], cost)

    def surrogate(self, error: float, imagined: float, real: float) -> None:
        """Warn where a surrogate is good on its data and its policy has nevertheless become worse.

        Args:
            error: mean squared error of its one-step predictions on real steps that it was not
                fitted to, over the variance of what it predicts.
            imagined: mean cost that it predicts for the policy.
            real: mean cost of that policy in the environment.
        """
        best = self.progress().best_cost
        if error <= SURROGATE_GOOD and imagined <= best and real > POLICY_WORSE * best:
            self.warn(
                "surrogate-misleads",
                f"the surrogate predicts well (error {error:.2g} of the variance) and promises a "
                f"cost of {imagined:.3g}, yet the policy's real cost is {real:.3g} after "
                f"{best:.3g} at best: the policy has left the data. Collect real episodes with it "
                "more often, imagine shorter episodes, or stop them where predictions are unsure",
            )

    def warn(self, name: str, text: str) -> None:
        """Print and record ``text``, once for each ``name``."""
        progress = self.progress()
        if name in progress.warned:
            return
        progress.warned.append(name)
        self.record("warning", warning=name, text=text)
        line = f"warning ({name}, episode {progress.episode}): {text}"
        tqdm.write(line, file=sys.stderr)  # above the progress bar, where there is one


def look(watch: Watch, learner: Learner, *, describe: bool) -> None:
    """Show the actors' latest episodes to ``watch``, and record all diagnostics if ``describe``."""
    from hypemarl.agents import diagnostics

    probe = learner.probe()
    if probe is None:
        return
    actor = learner.agent.actor
    if describe:
        values = diagnostics.describe(actor, probe)
        watch.record("diagnostic", **values)
    else:
        values = diagnostics.behavioural_diversity(actor, probe)
    if probe.observations.shape[1] > 1:
        watch.agents(values)
