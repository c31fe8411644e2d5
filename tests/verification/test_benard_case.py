"""Onset of convection and heat transport against theory and published values."""

from __future__ import annotations

import pytest

from hypemarl.verification import CASES, benard
from hypemarl.verification.report import Report

ONSET = {"onset_cells": (8, 6), "waves": (3.117,), "rolls": (), "cavity": (), "developed": False}


def failed(report: Report) -> list[str]:
    return [row.name for row in report.rows if not row.ok]


def test_convection_sets_in_at_the_critical_rayleigh_number() -> None:
    report = benard.rayleigh_benard(**ONSET)
    assert failed(report) == []
    assert len(report.rows) == 1
    assert CASES["rayleigh-benard"] is benard.rayleigh_benard


def test_another_onset_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured number does not follow the expected one."""
    monkeypatch.setitem(benard.MARGINAL, 3.117, 1760.0)
    assert len(failed(benard.rayleigh_benard(**ONSET))) == 1
    assert benard.marginal(3.117, (8, 6)) == pytest.approx(1708.0, rel=0.01)


@pytest.mark.slow
def test_all_published_values_are_met() -> None:
    report = benard.rayleigh_benard()
    assert failed(report) == []
    assert len(report.rows) == 11
