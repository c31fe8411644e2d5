"""Names of a file under ours: several groups for a tag, one group for two tags, numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mesh_samples import lengths, msh22, square
from mpi4py import MPI

from hypemarl.config import ConfigError, MeshConfig, load
from hypemarl.meshing import MeshError, build, require_tags, write
from hypemarl.meshing.files import read
from hypemarl.meshing.raw import RawMesh
from hypemarl.meshing.shapes import generate

NAMES = '2 1 "Fluid"\n1 2 "Inlet"\n1 3 "Outlet"\n1 4 "Wall A"\n1 5 "Wall B"'


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The square with a user's names."""
    return msh22(tmp_path / "foreign.msh", square(), names=NAMES)


def test_names_and_numbers_become_ours(foreign: Path) -> None:
    names = ["domain=Fluid", "inflow = Inlet", "walls=Wall A", "walls=5"]
    found = lengths(read(foreign, names))
    assert found == pytest.approx({"domain": 4, "inflow": 2, "walls": 4, "Outlet": 2})


def test_names_may_be_exchanged(foreign: Path) -> None:
    plain, swapped = read(foreign), read(foreign, ["Inlet=Outlet", "Outlet=Inlet"])
    assert (plain.points[plain.members("Inlet")][..., 0] == -1.0).all()
    assert (swapped.points[swapped.members("Inlet")][..., 0] == 1.0).all()


def test_one_group_for_both_walls(foreign: Path, tmp_path: Path) -> None:
    names = ("domain=Fluid", "bottom=Wall A", "bottom=Wall B", "top=Wall A", "top=Wall B")
    tagged = build(MeshConfig(file=str(foreign), names=names), MPI.COMM_SELF)
    assert len(tagged.entities("bottom")) == len(tagged.entities("top")) == 8
    require_tags(tagged, {"domain": 2, "bottom": 1, "top": 1})
    for suffix in (".msh", ".vtu"):
        again = read(write(tagged, tmp_path / f"again{suffix}"))
        assert lengths(again)["bottom+top"] == pytest.approx(4.0)


def test_same_number_in_two_dimensions(tmp_path: Path) -> None:
    """``Physical Curve(1)`` beside ``Physical Surface(1)``, without names."""
    raw = square()
    raw.facet_values[:] = 1
    path = msh22(tmp_path / "ones.msh", raw)
    with pytest.raises(MeshError, match="the name '1' is used by two tags"):
        read(path)
    assert lengths(read(path, ["domain=1", "wall=1"])) == pytest.approx({"domain": 4, "wall": 8})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["inflow=Inlett"], "no group 'Inlett'; did you mean 'Inlet'"),
        (["domain=Inlet"], "no group 'Inlet' of cells; it has Fluid|no group 'Inlet' of cells"),
        (["bottom=Wall A", "bottom=Wall B", "top=Wall B"], "share all of their groups or none"),
        (["Inlet=Outlet"], "the name 'Inlet' is used by two tags"),
    ],
)
def test_names_that_fit_nothing_are_refused(foreign: Path, names: list, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        read(foreign, names)


def test_keys_reach_the_mesh_and_are_checked(foreign: Path) -> None:
    override = f"env.mesh.file={foreign}"
    config = load("flow-cylinder", [override, "env.mesh.names=[domain=Fluid, 'walls=Wall A']"])
    raw = gathered(config.env.mesh)
    assert lengths(raw)["walls"] == pytest.approx(2.0)
    with pytest.raises(ConfigError, match=r"env.mesh.names: expected entries ours=theirs.*'Wall'"):
        load("flow-cylinder", [override, "env.mesh.names=[Wall]"])
    with pytest.raises(ConfigError, match="env.mesh.merge_distance is for a mesh file"):
        load("flow-cylinder", ["env.mesh.merge_distance=1e-9"])


def gathered(config: MeshConfig) -> RawMesh:
    from hypemarl.meshing import gather

    raw = gather(build(config, MPI.COMM_SELF))
    assert raw is not None
    return raw


@pytest.mark.slow
def test_flow_between_walls_of_one_group_is_the_same(tmp_path: Path) -> None:
    from hypemarl import envs

    shape = MeshConfig(shape="channel-with-disc", element_size=0.15, disc_radius=0.05)
    path = msh22(tmp_path / "channel.msh", generate(shape))
    names = ["domain=1", "inflow=2", "outflow=3", "disc=6"]
    walls = ["bottom=4", "bottom=5", "top=4", "top=5"]
    costs = []
    for chosen in (["bottom=4", "top=5"], walls):
        settings = [f"env.mesh.file={path}", f"env.mesh.names=[{', '.join(names + chosen)}]"]
        settings += ["env.flow.develop_time=0.1", "env.flow.reynolds_low=20", "env.horizon=0.1"]
        settings += ["env.flow.reynolds_high=20", "env.flow.time_step=0.0025"]
        settings += ["env.control_steps=2", "agent.batch_steps=1"]
        env = envs.make(load("flow-cylinder", settings).env)
        env.reset_arrays(env.plant.parameter_low)
        costs.append(env.step_arrays(np.zeros((env.n_agents, 1))).rewards.sum())
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)
    assert costs[0] < 0.0
