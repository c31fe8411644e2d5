from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import numpy as np
import pytest
from flow_case import MESH, PARAMETERS, flow_config, flow_plant

from hypemarl import files
from hypemarl.solvers import navier_stokes
from hypemarl.solvers.navier_stokes import FlowState
from hypemarl.systems.flow import developed
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.systems.flow.state_cache import CacheError

WIDE = {"reynolds_low": 90.0, "reynolds_high": 110.0, "develop_time": 0.1}
OTHER = np.array([110.0, 0.0])


@pytest.fixture
def plant(tmp_path: Path) -> FlowPlant:
    return flow_plant(tmp_path, flow_config(**WIDE))


def equal(a: FlowState, b: FlowState) -> bool:
    return all(np.array_equal(vars(a)[name], vars(b)[name]) for name in vars(a))


def test_a_stored_state_is_the_computed_one(plant: FlowPlant, tmp_path: Path) -> None:
    computed = plant.states.get(OTHER)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2  # the base state and this one, no temporary files
    again = flow_plant(tmp_path, flow_config(**WIDE))
    before = again.solver.steps
    assert equal(again.states.get(OTHER), computed)
    assert again.solver.steps == before  # nothing was marched


def test_the_same_mu_gives_the_same_state_whatever_came_before(
    plant: FlowPlant, tmp_path: Path
) -> None:
    straight = plant.states.get(OTHER)
    other = flow_plant(tmp_path / "other", flow_config(**WIDE))
    other.reset(np.array([90.0, 0.0]))
    other.step(np.full((6, 1), 0.3) * np.array([1, -1] * 3)[:, None])
    assert equal(other.states.get(OTHER), straight)


def test_states_differ_with_mu_and_go_on_from_the_base(plant: FlowPlant) -> None:
    base, other = plant.states.get(np.array([100.0, 0.0])), plant.states.get(OTHER)
    assert base.steps == round(0.1 / 0.002)
    assert other.steps == base.steps + round(0.1 / 3 / 0.002)
    assert (base.viscosity, other.viscosity) == pytest.approx((1e-3, 0.1 / 110.0))
    assert not np.array_equal(base.velocity, other.velocity)
    # rotation broke the symmetry and ended: the disc is at rest, the flow is not symmetric
    disc = plant.layout.nodes
    assert np.abs(base.velocity[disc]).max() < 1e-12
    plant.reset(PARAMETERS)
    assert abs(plant.cost.wall().parts[1].sum()) > 1e-2


def test_reset_from_memory_is_quick(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        plant.reset(PARAMETERS)
        times.append(time.perf_counter() - start)
    assert min(times) < 5e-3


@pytest.mark.parametrize(
    "change",
    [
        {"time_step": 0.001},
        {"develop_time": 0.11},
        {"reynolds_high": 111.0},
        {"speed": 1.1},
    ],
)
def test_other_settings_have_other_files(plant: FlowPlant, tmp_path: Path, change: dict) -> None:
    other = flow_plant(tmp_path, flow_config(**(WIDE | change)))
    assert other.states.cache.path(OTHER) != plant.states.cache.path(OTHER)


def test_what_does_not_matter_shares_the_file(plant: FlowPlant, tmp_path: Path) -> None:
    config = flow_config(**WIDE, drag_weight=3.0, probe_distances=(0.2,))
    assert flow_plant(tmp_path, config).states.cache.path(OTHER) == plant.states.cache.path(OTHER)


def test_a_file_of_another_mesh_is_refused(plant: FlowPlant, tmp_path: Path) -> None:
    """Renamed to the wanted name, it is recognised by what it says and by its nodes."""
    finer = dataclasses.replace(MESH, element_size=0.08)
    other = flow_plant(tmp_path, flow_config(finer, **WIDE))
    other.states.get(PARAMETERS)
    path = plant.states.cache.path(PARAMETERS)
    other.states.cache.path(PARAMETERS).rename(path)
    with pytest.raises(CacheError, match=rf"{path.name}: .* belongs to another mesh; delete"):
        plant.states.get(PARAMETERS)
    plant.states.cache.facts = other.states.cache.facts  # as if only the nodes differed
    other.states.cache.path(PARAMETERS).parent.mkdir(exist_ok=True)
    path.rename(plant.states.cache.path(PARAMETERS))
    with pytest.raises(CacheError, match="its nodes are not those of this mesh"):
        plant.states.get(PARAMETERS)


def test_a_file_of_another_scheme_is_refused(plant: FlowPlant) -> None:
    plant.states.get(PARAMETERS)
    old = plant.states.cache.path(PARAMETERS)
    plant.states.cache.facts["scheme"] = "0"
    old.rename(plant.states.cache.path(PARAMETERS))
    plant.states._known.clear()
    with pytest.raises(CacheError, match="belongs to another scheme"):
        plant.states.get(PARAMETERS)


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "foreign"])
def test_a_damaged_file_is_reported_and_computed_again(
    plant: FlowPlant, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = plant.states.get(PARAMETERS)
    plant.states._known.clear()
    path = plant.states.cache.path(PARAMETERS)
    content = path.read_bytes()
    if damage == "changed":  # a value, with a valid archive around it
        with np.load(path) as file:
            arrays = dict(file.items())
        arrays["velocity"] = arrays["velocity"].copy()
        arrays["velocity"][5, 0] += 1e-3
        with path.open("wb") as out:
            np.savez(out, **arrays)
    else:
        cut = {"cut": content[: len(content) // 2], "empty": b"", "foreign": b"no archive"}
        path.write_bytes(cut[damage])
    again = plant.states.get(PARAMETERS)
    assert "the flow is computed again" in capsys.readouterr().err
    assert np.array_equal(again.velocity, first.velocity)
    plant.states._known.clear()
    stored = plant.states.cache.load(PARAMETERS)
    assert stored is not None
    assert np.array_equal(stored.velocity, first.velocity)


def test_an_unwritable_cache_is_refused_before_the_flow_is_computed(
    plant: FlowPlant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    plant.states.cache.folder = tmp_path / "file" / "cache"
    monkeypatch.setattr(plant.states.solver, "step", lambda: pytest.fail("was computed"))
    with pytest.raises(OSError, match="cannot be written .*set HYPEMARL_CACHE"):
        plant.states.get(PARAMETERS)


def test_files_are_named_by_what_the_flow_depends_on(tmp_path: Path) -> None:
    """Not by comments, by settings of actuation, or by code that no state depends on."""
    original = tmp_path / "one.py"
    original.write_text('"""A."""\n\n\ndef f(x):\n    return 2 * x  # twice\n')
    other = tmp_path / "two.py"
    other.write_text('def f(x):\n    """Double."""\n    return (2 * x)\n')
    assert files.code_digest([original]) == files.code_digest([other])
    other.write_text("def f(x):\n    return 3 * x\n")
    assert files.code_digest([original]) != files.code_digest([other])
    names = [
        flow_plant(tmp_path, flow_config(**options)).states.cache.path(PARAMETERS).name
        for options in ({}, {"ramp": 0.7, "drag_weight": 2.0}, {"speed": 1.5})
    ]
    assert names[0] == names[1] != names[2]


def test_the_named_modules_are_all_that_the_solver_imports() -> None:
    unrelated = {"errors", "kernels", "moving_kernels", "functionals", "flow_adjoint_kernels"}
    folder, found, open_ = Path(navier_stokes.__file__).parent, set(), {"navier_stokes"}
    while open_:
        name = open_.pop()
        found.add(name)
        text = (folder / f"{name}.py").read_text()
        named = re.findall(r"from hypemarl\.solvers\.(\w+) import", text)
        named += re.findall(r"from hypemarl\.solvers import (\w+)", text)
        open_ |= set(named) - found - unrelated
    assert found == set(developed.SOLVER)
