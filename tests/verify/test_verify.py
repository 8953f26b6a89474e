"""`nas verify`: every verdict of the tiers exact and init passes; the command, its exit codes, its page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from nas.__main__ import run
from nas.errors import NasError
from nas.verify import claims, systems
from nas.verify.claims import Check, Finding, Tier
from nas.verify.running import Result, chosen_systems, verify
from nas.verify.showing import write_page
from nas.verify.systems import SYSTEMS

SPACES = {path.stem for path in (Path(__file__).parents[2] / "search_spaces").glob("*.yaml")}


def failures(tier: Tier) -> list[dict[str, object]]:
    return [one.to_dict() for one in verify(tuple(SYSTEMS), tier) if one.verdict != "pass"]


@pytest.mark.slow
def test_all_that_is_exact_holds() -> None:
    assert failures(Tier.exact) == []


@pytest.mark.slow
def test_all_that_is_said_of_networks_as_they_start_holds() -> None:
    assert failures(Tier.init) == []


def test_every_system_of_the_family_has_checks() -> None:
    unions = {"residual_family", "residual_init"}       # of several systems
    assert SPACES - unions <= set(SYSTEMS)
    for name, checks in SYSTEMS.items():
        assert any(check.tier in (Tier.exact, Tier.init) for check in checks), name
        assert len({check.claim for check in checks}) == len(checks), name
    assert {name for name, checks in SYSTEMS.items() if any(check.tier == Tier.trained for check in checks)} >= {
        "lesion", "loss_surface", "highway", "multilevel"}


# --- comparing --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("finding", "passed"), [
    (claims.exactly((1, 2), (1, 2)), True), (claims.exactly((1, 2), (1, 3)), False),
    (claims.near(1.0, 1.1, 0.2), True), (claims.near(1.0, 1.3, 0.2), False),
    (claims.near([1.0, 10.0], [1.0, 10.4], 0.05, relative=True), True),
    (claims.near([1.0, 10.0], [1.06, 10.0], 0.05, relative=True), False),
    (claims.near([1.0], [1.0, 1.0], 0.1), False), (claims.near(0.0, math.nan, 1.0), False),
    (claims.between(0, 1, math.nan), False),
    (claims.between(-math.inf, 10, 9.9), True), (claims.between(30, math.inf, 29.9), False),
    (claims.monotone([3, 2, 1], rising=False), True), (claims.monotone([3, 2, 2], rising=False), False),
    (claims.monotone([1, 2, 1.5], rising=True), False),
])
def test_verdicts(finding: Finding, passed: bool) -> None:
    assert finding.passed is passed


# --- the command ------------------------------------------------------------------------------------------------------

def test_an_unknown_system_is_refused_with_the_closest_names() -> None:
    with pytest.raises(NasError, match=r"resnex: is no system of the family; did you mean resnext"):
        chosen_systems(["resnet", "resnex"])
    with pytest.raises(NasError, match="there are resnet, preact_resnet"):
        chosen_systems(["zzzzzzzzz"])


def test_command_prints_a_row_a_check_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["verify", "highway", "regnet", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    checks = [check for name in ("highway", "regnet") for check in SYSTEMS[name] if check.tier == Tier.exact]
    assert out.count("pass ") == len(checks)
    assert f"{len(checks)} checks of 2 systems, {len(checks)} pass, 0 fail" in out
    assert "highway\n" in out
    assert (tmp_path / "verify-exact-highway-regnet.html").stat().st_size > 1_000_000


def test_json_is_one_object_with_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "regnet", "--json", "--output", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tier"] == "exact"
    assert found["page"] == str(tmp_path / "verify-exact-regnet.html")
    first = found["checks"][0]
    assert first["measurement"] == [1, 1, 4, 7, 24, 56, 152, 368] == first["prediction"]
    assert (first["system"], first["verdict"], first["source"]) == ("regnet", "pass", "Radosavovic et al. 2020")


def test_the_page_of_some_systems_is_not_that_of_all(tmp_path: Path) -> None:
    def page(names: list[str]) -> str:
        results = [Result(name, Check(Tier.exact, "a claim", "nobody", int), Finding("1", 1, "none", True), 0.1)
                   for name in names]
        return write_page(results, Tier.exact, [], tmp_path).name

    every = [name for name, checks in SYSTEMS.items() if any(check.tier == Tier.exact for check in checks)]
    assert page(every) == "verify-exact.html"
    assert page(["highway", "highway", "regnet"]) == "verify-exact-highway-regnet.html"
    assert page(every[:-1]) == f"verify-exact-{'-'.join(every[:6])}-and-{len(every) - 7}.html"


def test_a_system_without_a_check_in_the_tier_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(systems.SYSTEMS, "highway", (Check(Tier.init, "another", "nobody", int),))
    check = Check(Tier.exact, "a claim", "nobody", lambda: claims.exactly(1, 1))
    monkeypatch.setitem(systems.SYSTEMS, "regnet", (check,))
    assert run(["verify", "highway", "regnet", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("nothing is claimed in the tier exact of highway\n")
    assert run(["verify", "highway", "regnet", "--json", "--output", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["without_checks"] == ["highway"]


def broken_claim(_: object = None) -> Finding:
    raise RuntimeError("nothing\nto measure")


@pytest.mark.parametrize(("measure", "code", "word"), [
    (lambda: claims.exactly(1, 2), 1, "FAIL"), (broken_claim, 1, "FAIL"),
    (lambda: Finding("0.3", 0.1, "none", None), 0, "none")])
def test_exit_code_says_whether_a_verdict_failed(
    measure: object, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(measure)
    monkeypatch.setitem(systems.SYSTEMS, "regnet", (Check(Tier.exact, "a claim", "nobody", measure),))
    assert run(["verify", "regnet", "--output", str(tmp_path)]) == code
    assert f"{word} a claim" in capsys.readouterr().out


def test_an_unknown_system_or_tier_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "hihgway"]) == 2
    assert capsys.readouterr().err == "nas: hihgway: is no system of the family; did you mean highway?\n"
    assert run(["verify", "--tier", "all"]) == 2
