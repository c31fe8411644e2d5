"""Effects of sharing on agents: interference of their gradients, noise, diversity, distances.

All of it rests on one decomposition (HyperMARL, arXiv:2412.04233, for likelihood-ratio gradients;
here for deterministic ones). Agent i acts by theta_i = h(psi; e_i, mu), whatever the scheme: a
hypernetwork's weights, a shared network with the code folded into its bias, or a separate
network. Hence

    grad_psi J = sum_i J_i^T Z_i,
    J_i = d theta_i / d psi,   Z_i = sum_t (d a_it / d theta_i)^T q_it,

with q_it = dJ/da_it. The Jacobian J_i knows the agent alone: no observation is in it. Z_i is where
observations, and their noise, come in. :meth:`AgentNetwork.generated` gives theta.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hypemarl.agents.policy import Actor, Probe

MOST_AGENTS = 16  # whose gradients are compared, evenly spread
MOST_STEPS = 8  # of an episode, from which the variance is estimated, evenly spread
MOST_OBSERVATIONS = 64  # for all agents alike


def describe(actor: Actor, probe: Probe) -> dict[str, float]:
    """All diagnostics of ``actor``, flat; those of gradients where the probe has one.

    Nothing random is drawn, nothing is changed, and no parameter keeps a gradient.
    """
    result = behavioural_diversity(actor, probe) | distances(actor, probe.mu)
    if probe.gradient is not None:
        result |= gradient_conflict(agent_gradients(actor, probe))
        result |= gradient_variance(actor, probe)
    return result


def observation_terms(actor: Actor, probe: Probe, weights: Tensor) -> Tensor:
    """Z (E, n, p), summed over steps, at the policies' parameters ``weights`` (E, n, p)."""
    leaf = weights.detach().requires_grad_()
    seen = probe.observations[..., : actor.seen]
    actions = torch.tanh(actor.network.run_generated(leaf, seen))
    return torch.autograd.grad((actions * _known(probe)).sum(), leaf)[0]


def agent_gradients(actor: Actor, probe: Probe, most: int = MOST_AGENTS) -> Tensor:
    """(N, P) the part J_i^T Z_i of N = min(n, most) agents in the gradient of the objective.

    P counts all parameters of the actor. With N = n the rows sum to the whole gradient.
    """
    weights = actor.network.generated(probe.mu, trained=True)
    terms = observation_terms(actor, probe, weights)
    rows = []
    for agent in _spread(weights.shape[1], most):
        term = torch.zeros_like(terms)
        term[:, agent] = terms[:, agent]
        rows.append(_pull_back(actor, weights, term))
    return torch.stack(rows)


def gradient_conflict(gradients: Tensor) -> dict[str, float]:
    """Agreement of agents' gradients (N, P) with respect to the same parameters.

    ``conflict_cosine``: mean cosine over pairs; ``conflict_negative``: share of pairs with a
    negative one (they undo each other). Agents without a gradient do not count. Agents that share
    no parameter have cosine 0.
    """
    norms = gradients.norm(dim=1)
    unit = gradients[norms > 0] / norms[norms > 0, None]
    if len(unit) < 2:
        return {"conflict_cosine": 0.0, "conflict_negative": 0.0}
    cosines = (unit @ unit.T)[tuple(torch.triu_indices(len(unit), len(unit), 1))]
    return {
        "conflict_cosine": float(cosines.mean()),
        "conflict_negative": float((cosines < -1e-6).float().mean()),
    }


def gradient_variance(actor: Actor, probe: Probe, most: int = MOST_STEPS) -> dict[str, float]:
    """Variance of the policy gradient over the steps of an episode, and its sources.

    One step of all agents gives the estimate sum_i J_i^T z_it. Within an episode J_i is the same
    for all of them, so that all noise enters by d_it = z_it minus its mean over steps:

    - ``gradient_variance`` V = E |sum_i J_i^T d_it|^2, the trace of the estimate's covariance;
    - ``gradient_noise`` V over the squared norm of the mean estimate;
    - ``observation_variance`` E sum_i |d_it|^2, the observation-conditioned term's;
    - ``jacobian_gain`` E sum_i |J_i^T d_it|^2 over the latter, the agent-conditioned factor;
    - ``cross_agent_share`` of V that stems from different agents' noise meeting in the shared
      parameters: V = jacobian_gain * observation_variance / (1 - cross_agent_share).

    Of ``most`` steps per episode, zero without two. Two fixed random signs estimate inner sums.
    """
    generator, mean = torch.Generator().manual_seed(0), torch.zeros(())
    total, separate, observed, count, free = 0.0, 0.0, 0.0, 0, 0
    for episode in range(len(probe.mu)):
        weights = actor.network.generated(probe.mu[episode : episode + 1], trained=True)
        terms = _terms_of_steps(actor, probe, episode, weights.detach(), most)  # (S, n, p)
        mean = mean + _pull_back(actor, weights, terms.sum(dim=0, keepdim=True))
        count, free = count + len(terms), free + len(terms) - 1
        if len(terms) < 2:
            continue
        noise = terms - terms.mean(dim=0)
        observed += float(noise.square().sum())
        for step in noise[:, None]:
            total += float(_pull_back(actor, weights, step).square().sum())
            for _ in range(2):
                signs = torch.randint(2, (1, step.shape[1], 1), generator=generator) * 2.0 - 1.0
                mixed = _pull_back(actor, weights, step * signs.to(step.device))
                separate += 0.5 * float(mixed.square().sum())
    size, free = float((mean / max(count, 1)).square().sum()), max(free, 1)
    return {
        "gradient_variance": total / free,
        "gradient_noise": total / free / size if size else 0.0,
        "observation_variance": observed / free,
        "jacobian_gain": separate / observed if observed else 0.0,
        "cross_agent_share": 1.0 - separate / total if total else 0.0,
    }


def behavioural_diversity(
    actor: Actor, probe: Probe, most: int = MOST_OBSERVATIONS
) -> dict[str, float]:
    """System neural diversity: how differently agents act on the same observations.

    The mean over pairs of agents and shared observations of the Wasserstein distance between their
    action distributions (Bettini, Shankar, Prorok 2023). Agents explore by Gaussian noise of one
    covariance about a deterministic action, and between N(a, S) and N(b, S) the distance W2 is
    |a - b|, whatever S is (apart from clipping at the bounds). In unit actions:

    - ``diversity``: that mean;
    - ``diversity_relative``: over the root mean square of the actions' norms;
    - ``observation_spread``: the same distance between the actions of one agent on two of the
      observations, its mean over agents and pairs: the influence of the observation on the
      action, where diversity is that of the agent.

    Observations are those of :func:`shared_actions`.
    """
    distance = spread = size = number = 0.0
    for actions in shared_actions(actor, probe, most):
        count, n = actions.shape[:2]
        distance += float(torch.cdist(actions, actions).sum() / max(n * (n - 1), 1))
        by_agent = actions.transpose(0, 1)
        spread += float(torch.cdist(by_agent, by_agent).sum() / (n * max(count - 1, 1)))
        size += float(actions.square().sum(dim=2).mean(dim=1).sum())
        number += count
    root = (size / number) ** 0.5
    return {
        "diversity": distance / number,
        "diversity_relative": distance / number / root if root else 0.0,
        "observation_spread": spread / number,
    }


def policy_distances(actor: Actor, probe: Probe, most: int = MOST_OBSERVATIONS) -> Tensor:
    """(n, n) mean distances between agents' unit actions on :func:`shared_actions`."""
    distance = torch.cat([torch.cdist(a, a) for a in shared_actions(actor, probe, most)])
    return distance.mean(dim=0)


@torch.no_grad()
def shared_actions(actor: Actor, probe: Probe, most: int = MOST_OBSERVATIONS) -> Iterator[Tensor]:
    """Unit actions (K, n, m) of all agents on the same observations, for each episode.

    Observations are ``most`` of those that any agent made, evenly spread over agents, times and
    episodes; every agent sees each of them, at the mu of its episode.
    """
    count = max(1, most // len(probe.mu))
    n = probe.observations.shape[1]
    for episode in range(len(probe.mu)):
        seen = probe.observations[episode][:, probe.mask[episode] > 0].flatten(0, 1)
        sample = seen[_spread(len(seen), count)]
        same = sample.expand(1, n, *sample.shape)
        yield actor(same, probe.mu[episode : episode + 1])[0].transpose(0, 1)


def distances(actor: Actor, mu: Tensor) -> dict[str, float]:
    """Mean distance between agents over the root mean square of the norms.

    ``weight_distance`` of the parameters that they act by; ``code_distance`` of their codes (what
    the encoder gives), where the scheme has some.
    """
    with torch.no_grad():
        result = {"weight_distance": _spread_of(actor.network.generated(mu))}
        codes = actor.network.codes()
        if codes is not None:
            result["code_distance"] = _spread_of(codes.reshape(1, *codes.shape[-2:]))
    return result


def _spread_of(vectors: Tensor) -> float:
    """Vectors (E, n, p) -> their mean distance over agents, relative to their size."""
    n = vectors.shape[1]
    distance = torch.cdist(vectors, vectors).sum() / max(len(vectors) * n * (n - 1), 1)
    root = vectors.square().sum(dim=2).mean().sqrt()
    return float(distance / root) if root > 0 else 0.0


def _terms_of_steps(actor: Actor, probe: Probe, episode: int, weights: Tensor, most: int) -> Tensor:
    """(S, n, p) the terms z of some steps of an episode, at its parameters (1, n, p)."""
    steps = torch.nonzero(probe.mask[episode] > 0)[:, 0]
    steps = steps[_spread(len(steps), most)]

    def apart(values: Tensor) -> Tensor:  # (n, T, ...) -> (S, n, 1, ...): each step an episode
        return values[:, steps].transpose(0, 1)[:, :, None]

    one = Probe(
        apart(probe.observations[episode]),
        probe.mu[episode : episode + 1].expand(len(steps), -1),
        torch.ones_like(steps)[:, None],
        apart(_known(probe)[episode]),
    )
    return observation_terms(actor, one, weights.expand(len(steps), -1, -1))


def _pull_back(actor: Actor, weights: Tensor, terms: Tensor) -> Tensor:
    """(P,) the product sum_i J_i^T terms_i (E, n, p), through the graph of ``weights``."""
    parameters = list(actor.parameters())
    parts = torch.autograd.grad(
        weights, parameters, terms, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.flatten() for part in parts])


def _known(probe: Probe) -> Tensor:
    if probe.gradient is None:
        raise ValueError("these diagnostics need dJ/da in the probe, which has none")
    return probe.gradient


def _spread(count: int, most: int) -> Sequence[int]:
    """At most ``most`` indices below ``count``, evenly spread."""
    if count <= most:
        return range(count)
    return torch.linspace(0, count - 1, most).round().long().tolist()
