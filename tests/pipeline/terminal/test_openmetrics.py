"""`runs --format openmetrics`: each line is one that the format has, and the numbers are those of the dates."""

import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser as older_parser
from prometheus_client.openmetrics import parser
from support.commands import invoke
from support.runs.publishing import DATE, judged, planned, ready, row_counts

from pipeline.terminal.openmetrics import DATES, openmetrics
from transforms.publish.commit import publish
from transforms.runs.run import read_manifest

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
OF_RUNS = {"not_ended", "unreadable", "passed", "superseded", "unbalanced", "over_budget", "abandoned", "held"}


def parsed(text: str) -> Samples:
    """The samples of a text, as Prometheus' own parsers read it: as OpenMetrics, and as the older format."""
    families = list(parser.text_string_to_metric_families(text))
    assert {family.type for family in families} <= {"gauge"}
    found, older = (
        [(sample.name, tuple(sample.labels.items()), sample.value) for family in some for sample in family.samples]
        for some in (families, older_parser.text_string_to_metric_families(text))
    )
    assert found == older
    samples = {(name, labels): value for name, labels, value in found}
    assert len(samples) == len(found), "a series stands twice"
    return samples


def test_an_output_with_published_pending_broken_and_unpublished_dates(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    published, pending, broken = (ready(output, date=DATE + dt.timedelta(day)) for day in range(3))
    for run in (published, pending, broken):
        publish(run)
    manifest, _ = read_manifest(pending.manifest)
    Path(pending.manifest).write_text(json.dumps({**(manifest or {}), "finished": False}))
    Path(broken.manifest).write_text("{")
    planned(output)
    waiting = planned(output)
    judged(waiting, row_counts(waiting))
    code, out, err = invoke("runs", "--output", output, "--format", "openmetrics")
    assert (code, err) == (0, "")
    found = parsed(out)
    assert {dict(labels)["output"] for _, labels in found} == {output}

    def at(name: str, **labels: str) -> float | None:
        return found.get((f"bert_batch_{name}", (("output", output), *labels.items())))

    first, second, third = ((DATE + dt.timedelta(day)).isoformat() for day in range(3))
    assert [at("rows", date=first), at("dead_letters", date=first), at("skipped_rows", date=first)] == [4, 1, 0]
    assert [at("rows", date=second), at("rows", date=third)] == [4, None]
    status = {
        date: [at("status", date=date, status=s) for s in ("published", "pending", "broken")]
        for date in (first, second, third)
    }
    assert status == {first: [1, 0, 0], second: [0, 1, 0], third: [0, 0, 1]}
    midnight = dt.datetime.combine(DATE + dt.timedelta(1), dt.time(), dt.UTC)
    assert at("last_date_timestamp_seconds") == midnight.timestamp()
    assert at("unpublished_runs", state="not_ended") == at("unpublished_runs", state="passed") == 1
    assert abs((at("last_published_timestamp_seconds") or 0) - time.time()) < 600


def test_every_state_of_a_run_has_a_series_also_where_no_run_has_it(tmp_path: Path) -> None:
    code, out, _ = invoke("runs", "--output", tmp_path, "--format", "openmetrics")
    series = {(("output", str(tmp_path)), ("state", state)) for state in OF_RUNS}
    assert (code, parsed(out)) == (0, {("bert_batch_unpublished_runs", labels): 0 for labels in series})


def entry(date: dt.date, **more: Any) -> dict[str, Any]:
    usual = {
        "rows": 7,
        "dead": 0,
        "skipped": 0,
        "seconds": 60,
        "pending": None,
        "drift": ["entropy"],
        "published_at": f"{date}T02:00:00+00:00",
    }
    return {"date": date.isoformat(), **usual, **more}


def test_only_the_last_dates_have_series_and_unknown_numbers_have_none() -> None:
    days = [dt.date(2026, 9, 1) + dt.timedelta(day) for day in range(60)]
    dates = [entry(day, seconds=None) for day in days]
    found = parsed(openmetrics("out", {"dates": dates, "broken": {}, "runs": []}))
    assert sum(name == "bert_batch_rows" for name, _ in found) == DATES
    assert min(dict(labels)["date"] for name, labels in found if name == "bert_batch_rows") == days[-DATES].isoformat()
    assert not any(name == "bert_batch_duration_seconds" for name, _ in found)
    last = dt.datetime.combine(days[-1], dt.time(2), dt.UTC)
    assert found["bert_batch_last_published_timestamp_seconds", (("output", "out"),)] == last.timestamp()


@given(st.text(st.characters(codec=None), max_size=20))
def test_any_name_of_an_output_is_one_label(output: str) -> None:
    document = {"dates": [entry(DATE)], "broken": {}, "runs": []}
    text = openmetrics(output, document)
    text.encode()
    assert len({labels[0] for _, labels in parsed(text)}) == 1
    if output.isprintable():
        assert {dict(labels)["output"] for _, labels in parsed(text)} == {output}
