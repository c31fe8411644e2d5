"""Named generators: stable across processes, independent of each other, resumable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hypemarl import seeding

RECORDED_DRAWS = [478766, 147937, 722351, 47045]
RECORDED_SEED = 5644145433195886019


def test_streams_do_not_change_between_versions():
    """Recorded once: a change here would change every published run."""
    draws = seeding.numpy_generator(7, "exploration").integers(0, 10**6, 4)
    assert draws.tolist() == RECORDED_DRAWS
    assert seeding.derived_seed(7, "exploration") == RECORDED_SEED


@pytest.mark.parametrize(
    ("other_seed", "other_name"), [(7, "validation"), (8, "exploration"), (7, "exploratioN")]
)
def test_other_seeds_and_names_give_other_streams(other_seed, other_name):
    one = seeding.numpy_generator(7, "exploration").normal(size=1000)
    other = seeding.numpy_generator(other_seed, other_name).normal(size=1000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
    torch_one = torch.rand(8, generator=seeding.torch_generator(7, "exploration"))
    torch_other = torch.rand(8, generator=seeding.torch_generator(other_seed, other_name))
    assert not torch.equal(torch_one, torch_other)


def test_global_generators_are_left_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    seeding.numpy_generator(0, "a").normal()
    torch.rand(1, generator=seeding.torch_generator(0, "a"))
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_states_survive_a_file_loaded_without_executing_code(tmp_path):
    numpy_one, torch_one = seeding.numpy_generator(3, "a"), seeding.torch_generator(3, "a")
    numpy_one.normal(size=5), torch.rand(5, generator=torch_one)
    numpy_one.integers(0, 2**31, dtype=np.uint32)  # leaves half a word in the buffer
    state = {
        "numpy": seeding.generator_state(numpy_one),
        "torch": seeding.generator_state(torch_one),
    }
    torch.save(state, tmp_path / "state.pt")
    expected = numpy_one.normal(size=9), torch.rand(9, generator=torch_one)

    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    numpy_two, torch_two = seeding.numpy_generator(0, "b"), seeding.torch_generator(0, "b")
    seeding.set_generator_state(numpy_two, loaded["numpy"])
    seeding.set_generator_state(torch_two, loaded["torch"])
    assert np.array_equal(numpy_two.normal(size=9), expected[0])
    assert torch.equal(torch.rand(9, generator=torch_two), expected[1])


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="non-negative.*-1"):
        seeding.numpy_generator(-1, "a")


def test_states_of_another_kind_are_refused():
    numpy_one, torch_one = seeding.numpy_generator(0, "a"), seeding.torch_generator(0, "a")
    with pytest.raises(ValueError, match="PCG64.*Tensor"):
        seeding.set_generator_state(numpy_one, seeding.generator_state(torch_one))
    with pytest.raises(ValueError, match="torch"):
        seeding.set_generator_state(torch_one, seeding.generator_state(numpy_one))
