"""Numbers on the command line are refused by the parser, with their range, before anything runs."""

from __future__ import annotations

import pytest

from hypemarl.cli import make_parser

COUNTS = [
    ("train density-1d", "--jobs", 1),
    ("train density-1d", "--episodes", 1),
    ("train density-1d", "--ranks-per-env", 1),
    ("train density-1d", "--seed", 0),
    ("train density-1d", "--seeds", 0),
    ("evaluate run", "--episodes", 1),
    ("compare run", "--episodes", 1),
    ("diagnose run", "--episodes", 1),
    ("map run --parameters a b", "--size", 2),
    ("render run", "--index", 0),
    ("optimum density-1d", "--index", 0),
    ("optimum density-1d", "--held-out", 1),
    ("optimum density-1d", "--max-evaluations", 1),
    ("mesh", "--agents", 1),
    ("results density", "--jobs", 1),
    ("results density", "--seeds", 0),
    ("results density", "--episodes", 1),
    ("experiment ablation", "--jobs", 1),
    ("experiment ablation", "--seeds", 0),
    ("demo", "--jobs", 1),
    ("demo", "--seeds", 0),
    ("demo", "--episodes", 1),
]
NUMBERS = [
    ("mesh", "--element-size", " above 0", "0"),
    ("mesh", "--element-size", " above 0", "-1"),
    ("optimum density-1d", "--tolerance", " above 0", "0.0"),
    ("optimum density-1d", "--tolerance", " above 0", "inf"),
    ("optimum density-1d", "--mu", "", "nan"),
    ("mesh", "--amplitudes", "", "0.5x"),
]

PARSER = make_parser()


def value(command: str, option: str, text: str) -> object:
    parsed = PARSER.parse_args([*command.split(), option, text])
    found = getattr(parsed, option.removeprefix("--").replace("-", "_"))
    return found[0] if isinstance(found, list) else found


@pytest.mark.parametrize(("command", "option", "low"), COUNTS)
def test_counts_have_a_range(
    command: str, option: str, low: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert value(command, option, str(low)) == low
    for wrong in (str(low - 1), "-3", "1.5", "many"):
        with pytest.raises(SystemExit) as ended:
            value(command, option, wrong)
        assert ended.value.code == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: expected an integer of {low} or more, got '{wrong}'" in said


@pytest.mark.parametrize(("command", "option", "limit", "wrong"), NUMBERS)
def test_numbers_have_a_range(
    command: str, option: str, limit: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert value(command, option, "1e-3") == 1e-3
    with pytest.raises(SystemExit):
        value(command, option, wrong)
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: expected a finite number{limit}, got '{wrong}'" in said
