"""The tier trained in small, on digits: every check is asked and gives figures. Whether verdicts hold takes long."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nas.cost import cost
from nas.diagnosis import Estimation
from nas.plan import plan
from nas.verify import trained
from nas.verify.claims import Tier
from nas.verify.networks import pyramid
from nas.verify.running import verify
from nas.verify.systems import SYSTEMS
from nas.verify.trained import Effort, Lab, Trained, Training


@pytest.mark.slow
def test_every_check_of_trained_networks_gives_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "RESIDUAL", pyramid(3, 8, 16))
    monkeypatch.setattr(trained, "PLAIN", pyramid(3, 8, 16, shortcut="none"))
    said: list[str] = []
    lab = Lab("digits", 1, said.append, Effort(pair=(600, 6), many=(200, 1), grown=(200, 1)))
    results = {one.check.claim: one for one in verify(tuple(SYSTEMS), Tier.trained, lab)}
    assert len(results) == 9
    wrong = [str(one.finding.measured) for one in results.values() if "Error" in str(one.finding.measured)]
    assert wrong == []
    for claim, one in results.items():
        assert (one.verdict == "none") == claim.startswith("S: "), claim
    assert [line for line in said if "600 images" in line] == ["training 2 networks on 600 images, 6 epochs"]
    rise = next(one for claim, one in results.items() if "residual" in claim and "deleted" in claim)
    assert re.fullmatch(r"[+-][\d.]+: [\d.]+ % to [\d.]+ \([\d.]+ to [\d.]+\)", str(rise.finding.measured))


class Made(Lab):
    """A lab that trains nothing."""

    def __init__(self, *errors: float):
        super().__init__("nothing")
        self.errors = iter(errors)

    def trained(self, *trainings: Training) -> list[Trained]:
        return [Trained(b"", next(self.errors), 0.0) for _ in trainings]


def test_a_statistic_is_paired_by_seed_and_has_an_interval() -> None:
    """Differences 1, 2, 3, 2 points: mean 2, standard deviation sqrt(2/3), t of 3 degrees of freedom 3.182."""
    found = trained.squeeze(Made(.51, .50, .62, .60, .43, .40, .52, .50))
    assert found.measured == "+2.00, 95 % interval +0.70 to +3.30 (4 seeds, at 51.0 %)"
    assert found.passed is None


def test_cardinality_is_compared_at_equal_macs() -> None:
    asked: list[Training] = []

    class Asking(Made):
        def trained(self, *trainings: Training) -> list[Trained]:
            asked.extend(trainings)
            return super().trained(*trainings)

    trained.cardinality(Asking(*[0.5] * 8))
    one, other = (cost(plan(training.architecture, (3, 16, 16), 10)).macs for training in asked[:2])
    assert one == pytest.approx(other, rel=0.03)
    assert {training.architecture.stages[0].cardinality for training in asked} == {1, 8}


@pytest.mark.parametrize(("std", "residual", "plain"), [
    ((0.67, 0.5, 0.28), True, False), ((1.4, 1.5, 1.3), False, True), ((0.67, 0.7, 0.28), False, False),
    ((1.6, 1.5, 1.1), True, False)])
def test_what_counts_as_falling_and_as_flat(
    std: tuple[float, ...], residual: bool, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Estimation("stage1", ("a", "b", "c"), (0.0,) * 3, std)
    monkeypatch.setattr(trained, "_estimated", lambda lab, training: [stage, replace(stage, stage="stage2")])
    assert trained.estimation_of_residual(Made()).passed is residual
    assert trained.estimation_of_plain(Made()).passed is plain
