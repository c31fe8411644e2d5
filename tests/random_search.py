"""Random search over the weights of a policy: an algorithm in a file of its own."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from hypemarl import Algorithm, Learner, key
from hypemarl.agents.policy import PolicyAgent
from hypemarl.seeding import generator_state, set_generator_state, torch_generator
from hypemarl.training.evaluation import evaluate_policy
from hypemarl.training.progress import Result


@dataclass(frozen=True)
class Options:
    """Settings ``agent.random-search.*``."""

    step: float = key(0.05, "standard deviation of a trial's change of the weights", above=0)


class RandomSearch(Learner):
    """Changes all weights at random, and keeps a change that makes the episode cheaper."""

    def start(self):
        if self.groups.leads:  # the other ranks hold parts of the mesh and no agents
            self.agent = make_agent(self.env.agent_spec, self.config)
            self.generator = torch_generator(self.config.seed, "random-search")

    def collect(self, parameters, progress):
        before = self.run(parameters[0])
        if self.groups.root:
            weights = parameters_to_vector(self.agent.actor.parameters())
            change = torch.randn(weights.shape, generator=self.generator)
            self.set_weights(weights + self.config.agent.of(Options).step * change)
        trial = self.run(parameters[0])
        if not self.groups.root:
            return [], {}
        progress.updates += 1
        if not trial.cost < before.cost:
            self.set_weights(weights)
        return [trial], {"gain": before.cost - trial.cost}

    def run(self, parameters):
        """An episode of the present policy; every rank of the environment takes part in it."""
        zeros = np.zeros((self.env.n_agents, self.env.action_size))
        act = self.agent.act if self.groups.root else lambda observations, mu: zeros
        found = evaluate_policy(self.env, act, parameters[None])
        length, failure = self.env.control_steps, found.failure
        return Result(found.cost, float(found.returns[0]), length, failure, random=False)

    def set_weights(self, weights):
        for actor in (self.agent.actor, self.agent.actor_average):
            vector_to_parameters(weights.detach(), actor.parameters())

    def state_dict(self, *, whole):
        return super().state_dict(whole=whole) | {"generator": generator_state(self.generator)}

    def load_state_dict(self, stored):
        super().load_state_dict(stored)
        set_generator_state(self.generator, stored["generator"])


def make_agent(spec, config):
    return PolicyAgent(spec, config.agent, config.seed)


RANDOM_SEARCH = Algorithm(
    name="random-search", options=Options, make=RandomSearch, make_agent=make_agent
)
