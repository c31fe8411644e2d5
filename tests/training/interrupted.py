"""A run that dies and goes on beside one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import assert_equal, stored, without_seconds

from hypemarl.config import Config
from hypemarl.envs import PDEEnv, make
from hypemarl.training import loop


def assert_resume_equals_whole(path: Path, config: Config, dies_at: int) -> None:
    """Train in ``path`` twice, once killed at the ``dies_at``-th reset and resumed."""

    class Killed(Exception):
        pass

    class Dying(PDEEnv):
        count = 0

        def reset_arrays(self, parameters: np.ndarray) -> Any:
            Dying.count += 1
            if Dying.count == dies_at:
                raise Killed
            return super().reset_arrays(parameters)

    def dying(config: Any, comm: Any) -> Any:
        return Dying(make(config, comm).plant, config)

    def train(folder: str, make_env: Any = make, **options: Any) -> None:
        loop.train(config, path / folder, make_env=make_env, progress=False, **options)

    train("whole")
    with pytest.raises(Killed):
        train("parts", dying)
    train("parts", resume=True)
    assert_equal(stored(path / "parts"), stored(path / "whole"))
    assert without_seconds(path / "parts") == without_seconds(path / "whole")
