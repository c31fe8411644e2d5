"""A first torch optimiser before VTK is loaded: in the other order its libraries may crash."""

import torch

torch.optim.Adam([torch.zeros(1, requires_grad=True)])
