"""A run is compared with the dates before it that were scored alike, and its manifest says how far it is from them."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import invoke
from support.runs.drifting import days_before, night_published
from support.runs.history import shown
from support.runs.nights import Histograms, World, summary_of
from support.runs.publishing import DATE, ready

from pipeline.terminal.summary import drifted
from transforms.outputs.drift.record import beyond
from transforms.publish import gate
from transforms.publish.commit import publish
from transforms.publish.gate import Gate
from transforms.runs.history import dates_before, find_run
from transforms.runs.run import Run, manifest_path, read_manifest
from transforms.runs.verdict_record import Verdict

SEED = 11


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def drawn() -> Callable[..., Histograms]:
    """Histograms of a date; `mixed`: with another corpus."""
    generator = np.random.default_rng(SEED)
    world = World.drawn(generator)
    return lambda date, **more: world.night(generator, date, **more)


def published(output: str, date: dt.date, histograms: Histograms, baseline: Any = None, **settings: Any) -> Verdict:
    return night_published(output, date, histograms, baseline=baseline, **settings)[1]


def drift_at(output: str, date: dt.date = DATE) -> dict[str, Any]:
    manifest, _ = read_manifest(manifest_path(output, date))
    assert manifest is not None
    found: dict[str, Any] = manifest["drift"]
    return found


def run_of(output: str, verdict: Verdict) -> Run:
    run = find_run(output, verdict.run_id)
    assert run is not None
    return run


def change(output: str, date: dt.date, **keys: Any) -> None:
    path = Path(manifest_path(output, date))
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_a_night_like_those_before_it_is_within_its_bounds(output: str, drawn: Callable[..., Histograms]) -> None:
    for date in days_before(14):
        published(output, date, drawn(date))
    verdict = published(output, DATE, drawn(DATE), baseline=summary_of(drawn(DATE)))
    found = drift_at(output)
    assert found == verdict.drift
    assert (found["compared_dates"], found["rows"]) == (14, {"number": 4, "median": 4.0, "dates": 14})
    names = {"label", "probability", "margin", "entropy", "token_count", "truncated", "unknown_tokens"}
    assert found["dates"].keys() == found["baseline"].keys() == names
    assert (beyond(found), drifted(verdict)) == ([], None)


def test_another_corpus_is_told_by_every_command(output: str, drawn: Callable[..., Histograms]) -> None:
    for date in days_before(14):
        published(output, date, drawn(date))
    verdict = published(output, DATE, drawn(DATE, mixed=0.3))
    names = [one.statistic for one in beyond(drift_at(output))]
    assert set(names) <= set(drift_at(output)["dates"])
    line = drifted(verdict) or ""
    assert line.startswith(f"drift: {names[0]} is 0.")
    assert "from the last 14 dates (bound 0." in line
    assert shown(output)["dates"][-1]["drift"] == names
    assert shown(output)["dates"][0]["drift"] is None
    code, text, _ = invoke("runs", "--output", output)
    assert (code, f"{names[0]} and {len(names) - 1} more" in text) == (0, True)
    _, text, _ = invoke("runs", "--output", output, "--format", "openmetrics")
    assert f'drifted_statistics{{output="{output}",date="{DATE}"}} {len(names)}' in text
    _, _, text = invoke("publish", verdict.run_id, "--output", output)
    assert f"warning: {line}" in text
    _, text, _ = invoke("publish", verdict.run_id, "--output", output, "--log-format", "json")
    assert json.loads(text.splitlines()[0])["message"] == line


def test_only_dates_that_were_scored_alike_are_compared_with(output: str, drawn: Callable[..., Histograms]) -> None:
    days = days_before(12)
    for date in days:
        published(output, date, drawn(date))
    other_bundle, other_precision, other_threshold, no_summary, older, broken = days[:6]
    change(output, other_bundle, bundle="test@4567")
    change(output, other_precision, precision="bfloat16")
    change(output, other_threshold, settings={"threshold": 0.3})
    change(output, no_summary, summary=None)
    summary = json.loads(Path(manifest_path(output, older)).read_text())["summary"]
    change(output, older, summary={**summary, "not_summarised": 5})
    Path(manifest_path(output, broken)).write_text("{")
    published(output, DATE + dt.timedelta(1), drawn(DATE))
    verdict = published(output, DATE, drawn(DATE))
    assert (verdict.drift["compared_dates"], verdict.drift["rows"]["dates"]) == (6, 11)


@pytest.mark.parametrize(("precision", "alike"), [("float32", True), ("bfloat16", False)])
def test_the_engine_matters_below_float32_alone(
    precision: str, alike: bool, output: str, drawn: Callable[..., Histograms]
) -> None:
    (day,) = days_before(1)
    published(output, day, drawn(day))
    change(output, day, engine="openvino", precision=precision)
    # The run itself is computed by TensorFlow.
    verdict = published(output, DATE, drawn(DATE))
    found = gate.drift_against(run_of(output, verdict), replace(verdict, precision=precision), None)
    assert found["compared_dates"] == alike


def test_no_more_dates_are_looked_at_than_are_needed(
    output: str, drawn: Callable[..., Histograms], monkeypatch: pytest.MonkeyPatch
) -> None:
    for date in days_before(17):
        published(output, date, drawn(date))
    looked_at = []

    def counted(*given: Any) -> Iterator[Any]:
        for date, manifest in dates_before(*given):
            looked_at.append(date)
            yield date, manifest

    monkeypatch.setattr(gate, "dates_before", counted)
    # Its rows count, and it is compared with no other bundle's.
    change(output, days_before(1)[0], bundle="other@4567")
    found = published(output, DATE, drawn(DATE)).drift
    assert (found["compared_dates"], found["rows"]["dates"], len(looked_at)) == (14, 14, 16)
    # There may be years of dates of other bundles.
    monkeypatch.setattr(gate, "LOOKED_AT", 5)
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 4


def test_a_date_that_was_odd_by_a_rule_of_thumb_is_compared_with(output: str, drawn: Callable[..., Histograms]) -> None:
    shifted = {name: bins[::-1].copy() for name, bins in drawn(DATE).items()}
    first, second = days_before(2)
    published(output, first, drawn(first))
    assert beyond(published(output, second, shifted).drift) != []
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 2


def test_the_name_of_a_bundle_does_not_matter(output: str, drawn: Callable[..., Histograms]) -> None:
    (day,) = days_before(1)
    published(output, day, drawn(day))
    change(output, day, bundle="renamed@0123")
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 1


def test_with_few_dates_it_warns_and_says_that_it_holds_nothing(output: str, drawn: Callable[..., Histograms]) -> None:
    for date in days_before(6):
        published(output, date, drawn(date))
    shifted = {name: bins[::-1].copy() for name, bins in drawn(DATE).items()}
    verdict = published(output, DATE, shifted)
    assert not any(one.can_hold for one in beyond(verdict.drift))
    assert (drifted(verdict) or "").endswith("; bounds of fewer than 7 dates hold nothing")


def test_without_dates_the_baseline_is_compared_with(output: str, drawn: Callable[..., Histograms]) -> None:
    shifted = {name: bins[::-1].copy() for name, bins in drawn(DATE).items()}
    verdict = published(output, DATE, shifted, baseline=summary_of(drawn(DATE)))
    assert verdict.drift["dates"] == {}
    assert "from the baseline (bound" in (drifted(verdict) or "")


def test_a_run_without_a_summary_and_dates_of_earlier_versions_have_no_drift(output: str) -> None:
    verdict = publish(ready(output))
    assert verdict.drift == {}
    assert shown(output)["dates"][0]["drift"] is None
    assert drifted(verdict) is None


def test_a_bad_night_that_was_published_does_not_hide_the_same_again(
    output: str, drawn: Callable[..., Histograms]
) -> None:
    for date in days_before(15)[:14]:
        published(output, date, drawn(date))
    (yesterday,) = days_before(1)
    first = published(output, yesterday, drawn(yesterday, mixed=0.3))
    again = published(output, DATE, drawn(DATE, mixed=0.3))
    assert {one.statistic for one in beyond(first.drift)} <= {one.statistic for one in beyond(again.drift)} != set()
    assert beyond(published(output, DATE, drawn(DATE)).drift) == []


def test_a_bad_night_that_somebody_accepted_is_compared_with(output: str, drawn: Callable[..., Histograms]) -> None:
    *days, yesterday = days_before(9)
    for date in days:
        published(output, date, drawn(date))
    assert beyond(published(output, yesterday, drawn(yesterday, mixed=0.5)).drift) != []
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 8
    change(output, yesterday, accepted="2026-11-21T08:00:00+00:00")
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 9


def test_what_most_of_the_last_dates_are_is_usual_in_the_end(output: str, drawn: Callable[..., Histograms]) -> None:
    alarms = []
    for date in days_before(34):
        mixed = 0.3 if len(alarms) >= 14 else 0.0
        alarms.append(bool(beyond(published(output, date, drawn(date, mixed=mixed)).drift)))
    assert alarms[:14] == [False] * 14
    assert alarms[14:20] == [True] * 6
    assert alarms[-8:] == [False] * 8


def test_what_only_new_rows_have_is_compared_with_no_full_night(output: str, drawn: Callable[..., Histograms]) -> None:
    def of_new_rows(date: dt.date) -> Histograms:
        """Of the rows that are new, a tenth, and unlike the others."""
        found = drawn(date)
        return {**found, "margin": found["margin"][::-1] // 10, "unknown_tokens": found["unknown_tokens"][::-1] // 10}

    for date in days_before(14):
        published(output, date, drawn(date))
    verdict = published(output, DATE, of_new_rows(DATE), baseline=summary_of(drawn(DATE)))
    assert beyond(verdict.drift) == []
    compared = {"label", "probability", "token_count", "truncated"}
    assert verdict.drift["dates"].keys() == verdict.drift["baseline"].keys() == compared
    tomorrow = DATE + dt.timedelta(1)
    full = published(output, tomorrow, drawn(tomorrow)).drift["dates"]
    assert (full["probability"]["dates"], full["margin"]["dates"]) == (14, 13)
    assert beyond(verdict.drift) == []


def test_a_drift_of_a_later_form_is_left_as_it_is(output: str, drawn: Callable[..., Histograms]) -> None:
    for date in days_before(2):
        published(output, date, drawn(date))
    (_, yesterday) = days_before(2)
    assert drift_at(output, yesterday)["format"] == 1
    later = {"format": 2, "dates": ["of another form"], "rows": 3}
    change(output, yesterday, drift=later)
    assert drift_at(output, yesterday) == later
    assert shown(output)["dates"][-1]["drift"] is None
    assert invoke("runs", "--output", output)[0] == 0
    assert published(output, DATE, drawn(DATE)).drift["compared_dates"] == 2


def test_an_error_of_drift_keeps_no_run_from_its_verdict(
    output: str, drawn: Callable[..., Histograms], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("a text")

    monkeypatch.setattr(gate, "drift_of", breaks)
    verdict = published(output, DATE, drawn(DATE))
    assert (verdict.status, verdict.drift) == ("published", {})
    assert "its drift is not known: ZeroDivisionError" in caplog.text
    assert "a text" not in caplog.text
    with pytest.raises(ZeroDivisionError):
        night_published(output, DATE, drawn(DATE), Gate(drift=True))
