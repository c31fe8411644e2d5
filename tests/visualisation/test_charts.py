"""Curves, policy maps and tables: the right numbers reach the picture, bad input is refused."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure

from hypemarl.visualisation import draw_curves, draw_policy_map, format_table, style
from hypemarl.visualisation.charts import Panel, draw_dots, draw_sizes
from hypemarl.visualisation.policy_map import cosine_similarity


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved."""
    figures: list[Figure] = []
    save = style.save

    def keep(figure: Figure, path: str | Path, legend: int = 0) -> Path:
        figures.append(figure)
        return save(figure, path, legend)

    monkeypatch.setattr(style, "save", keep)
    return figures


def write_run(folder: Path, costs: dict[int, float | None], uncontrolled: float = 1.0) -> Path:
    """A run folder with validations at the given episodes."""
    folder.mkdir()
    lines = [{"kind": "episode", "episode": 1, "step": 8, "seconds": 0.1, "cost": 9.0}]
    for episode, cost in costs.items():
        head = {"kind": "validation", "episode": episode, "step": 8 * episode, "seconds": 1.0}
        lines.append(head | {"cost": cost, "uncontrolled": uncontrolled})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_curves_show_median_range_and_reference(drawn: list[Figure], tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", {25: 0.9, 50: 0.5, 75: 0.4}, 1.0),
        write_run(tmp_path / "b", {25: 0.7, 50: 0.1}, 1.2),
        write_run(tmp_path / "c", {25: 0.8, 50: 0.2}, 1.1),
        write_run(tmp_path / "d", {25: 0.9, 50: 0.8}, 1.1),
    ]
    path = draw_curves(runs, ["hypemarl"] * 3 + ["marl"], tmp_path / "new" / "curves.png")
    assert imageio.imread(path).shape[0] > 500
    (axes,) = drawn[0].axes
    ours, other, reference = axes.get_lines()
    np.testing.assert_allclose(ours.get_xydata(), [[25, 0.8], [50, 0.2]])
    assert ours.get_label() == "HypeMARL, 3 seeds"
    assert other.get_label() == "MARL"
    assert reference.get_ydata()[0] == pytest.approx(1.1)
    (band,) = axes.collections
    at_end = band.get_paths()[0].vertices
    assert sorted(set(at_end[at_end[:, 0] == 50][:, 1])) == pytest.approx([0.1, 0.5])
    assert axes.get_ylim()[0] == 0.0


def test_an_axis_of_near_costs_does_not_hide_them(drawn: list[Figure], tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {25: 176.0, 50: 174.0}, 178.0)
    draw_curves([run], ["x"], tmp_path / "curves.png")
    assert drawn[0].axes[0].get_ylim()[0] > 170.0


def test_a_wide_range_is_drawn_on_a_logarithmic_axis(drawn: list[Figure], tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {25: 90.0, 50: 0.2})
    draw_curves([run], ["x"], tmp_path / "curves.png")
    assert drawn[0].axes[0].get_yscale() == "log"


def test_runs_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {25: 0.9})
    later = write_run(tmp_path / "b", {50: 0.9})
    failed = write_run(tmp_path / "c", {25: None})
    picture = tmp_path / "curves.png"
    with pytest.raises(ValueError, match="2 labels for 1 runs"):
        draw_curves([run], ["x", "y"], picture)
    with pytest.raises(ValueError, match="share no episode"):
        draw_curves([run, later], ["x", "x"], picture)
    with pytest.raises(ValueError, match="no validation costs to draw"):
        draw_curves([write_run(tmp_path / "d", {})], ["x"], picture)
    assert draw_curves([failed], ["x"], picture) is None
    assert not picture.exists()


def test_curves_without_finite_costs_are_left_out_with_a_note(
    drawn: list[Figure], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs: list[dict[int, float | None]] = [{25: 0.9, 50: 0.5}, {25: None}, {25: None}]
    runs = [write_run(tmp_path / str(k), curve) for k, curve in enumerate(costs)]
    assert draw_curves(runs, ["hypemarl", "hypemarl", "marl"], tmp_path / "c.png") is not None
    ours, _ = drawn[0].axes[0].get_lines()  # and the uncontrolled cost
    np.testing.assert_allclose(ours.get_xydata(), [[25, 0.9], [50, 0.5]])
    notes = capsys.readouterr().err
    assert "hypemarl: 1 of 2 runs have no validation with a finite cost" in notes
    assert "marl: 1 of 1 runs" in notes


def test_cosine_similarity() -> None:
    rows = np.array([[1.0, 0.0], [2.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])
    half = np.sqrt(0.5)
    expected = [[1, half, -1, 0], [half, 1, -half, 0], [-1, -half, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(cosine_similarity(rows), expected, atol=1e-15)


@pytest.mark.parametrize("gdim", [1, 2])
def test_policy_map_shows_what_the_agents_do(
    gdim: int, drawn: list[Figure], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    positions, encodings = rng.normal(size=(9, gdim)), rng.normal(size=(9, 32))
    weights, actions = rng.normal(size=(9, 50)), rng.normal(size=(9, 6))
    path = draw_policy_map(positions, encodings, weights, actions, tmp_path / "map.png")
    assert imageio.imread(path).shape[0] > 1000
    first, second, third, fourth = drawn[0].axes[:4]
    np.testing.assert_array_equal(first.images[0].get_array(), encodings)
    np.testing.assert_allclose(second.images[0].get_array(), cosine_similarity(encodings))
    np.testing.assert_allclose(third.images[0].get_array(), cosine_similarity(weights))
    if gdim == 1:
        np.testing.assert_array_equal([line.get_ydata() for line in fourth.lines], actions)
    else:
        np.testing.assert_array_equal(fourth.images[0].get_array(), actions)


def test_the_label_says_what_the_numbers_are(drawn: list[Figure], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(9, size)) for size in (2, 4, 5, 6)]
    label = "control $u_1$ (first of 2 components)"
    draw_policy_map(*arrays, tmp_path / "map.png", action_label=label)
    assert drawn[0].axes[-1].get_ylabel() == label  # of the colour bar beside the responses


def test_policies_on_a_body_are_drawn_over_the_angle(drawn: list[Figure], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    angles = np.linspace(0.5, 2.0 * np.pi - 0.5, 9)
    positions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    arrays = [rng.normal(size=(9, size)) for size in (4, 5, 6)]
    draw_policy_map(positions, *arrays, tmp_path / "map.png", angles=angles)
    lines = drawn[0].axes[3].get_lines()
    np.testing.assert_allclose([line.get_xdata() for line in lines], [np.degrees(angles)] * 6)
    np.testing.assert_array_equal([line.get_ydata() for line in lines], arrays[2].T)
    with pytest.raises(ValueError, match="one angle for each of 9 agents"):
        draw_policy_map(positions, *arrays, tmp_path / "map.png", angles=angles[:4])


def test_equal_policies_are_seen_as_equal(drawn: list[Figure], tmp_path: Path) -> None:
    """MARL: one policy for all."""
    same = np.ones((5, 3))
    draw_policy_map(np.arange(5.0)[:, None], same, same, same, tmp_path / "map.png")
    assert "between agents: 1.000 to 1.000" in drawn[0].axes[2].get_title()
    assert "vary by 0 between agents" in drawn[0].get_suptitle()


def test_policy_map_refuses_other_numbers_of_agents(tmp_path: Path) -> None:
    ones = np.ones((4, 2))
    with pytest.raises(ValueError, match=r"one row per agent.*'weights': \(3, 2\)"):
        draw_policy_map(ones, ones, np.ones((3, 2)), ones, tmp_path / "map.png")


ROWS = [
    {"scheme": "uncontrolled", "cost": 1.08, "seeds": None},
    {"scheme": "HypeMARL", "cost": 0.251234, "seeds": 4},
]


def test_table_as_text() -> None:
    assert format_table(ROWS, ["scheme", "cost", "seeds"]).splitlines() == [
        "scheme          cost  seeds",
        "------------  ------  -----",
        "uncontrolled   1.080      -",
        "HypeMARL      0.2512      4",
    ]


def test_table_as_markdown() -> None:
    headings = {"scheme": "Scheme", "cost": "J"}
    assert format_table(ROWS, headings, markdown=True, digits=2).splitlines() == [
        "| Scheme       |    J |",
        "| ------------ | ---: |",
        "| uncontrolled |  1.1 |",
        "| HypeMARL     | 0.25 |",
    ]


def test_misspelt_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['costs'\] are in no row; the rows have \['cost'"):
        format_table(ROWS, ["scheme", "costs"])
    with pytest.raises(ValueError, match="are in no row"):
        format_table(ROWS, [])


def test_a_scheme_keeps_its_colour_in_every_picture() -> None:
    assert style.places(["hypemarl", "marl"]) == style.places(["marl", "hypemarl"])[::-1]
    several = style.places(["hypemarl (local)", "hypemarl (cooperative)", "marl", "other"])
    assert len(set(several)) == 4
    assert several[0] == style.places(["hypemarl"])[0]
    assert several[2] == style.places(["marl"])[0]


def test_sizes_share_an_axis_that_holds_every_seed(drawn: list[Figure], tmp_path: Path) -> None:
    rows = [
        {"name": name, "costs": costs, "cost_mean": float(np.mean(costs)), "optimum": 0.2}
        for name, costs in (("marl", [0.8]), ("scenario", [0.25, 0.3]), ("width-2", [1.5, 0.9]))
    ]
    kinds = {"depth": {1: "scenario", 2: "depth-2"}, "width": {2: "width-2", 64: "scenario"}}
    draw_sizes(rows, kinds, "marl", tmp_path / "sizes.png")
    depth, width = drawn[0].axes
    assert depth.get_ylim()[0] == 0.0
    assert depth.get_ylim()[1] > 1.5  # the costs of the other panel, too
    assert [text.get_text() for text in width.get_xticklabels()] == ["2", "64"]
    assert len(depth.get_xticks()) == 1  # a size without a row is left out


def test_dots_show_every_finite_seed_and_their_mean(drawn: list[Figure], tmp_path: Path) -> None:
    panels = [Panel("cost", [[1.0, 3.0], [2.0, np.nan]], levels={"optimum": 0.5})]
    draw_dots(["fups", "hyper-mlp"], panels, tmp_path / "dots.png")
    (axes,) = drawn[0].axes
    points = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert points[:4] == [[1.0, 3.0], [2.0], [2.0], [2.0]]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["FuPS", "MLP hypernetwork"]
    with pytest.raises(ValueError, match="2 rows for 1 names"):
        draw_dots(["fups"], panels, tmp_path / "dots.png")
