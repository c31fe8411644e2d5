"""Training: the collect and update loop, evaluation, checkpoints and records on disk."""

from hypemarl.startup import require_torch_order

require_torch_order()
