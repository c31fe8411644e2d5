from __future__ import annotations

import os
import subprocess
import sys


def test_torch_multiplies_batches_after_petsc_is_loaded() -> None:
    """In a process of its own: it ends with a segmentation fault where PETSc's BLAS is global."""
    code = """
import hypemarl.envs, hypemarl.solvers.mixed_flow, sys
assert "torch" not in sys.modules and "dolfinx.fem.petsc" in sys.modules
import torch
print((torch.ones(16, 64, 64) @ torch.ones(16, 64, 10)).sum().item())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 16 * 64 * 10 * 64
