"""`runs --format openmetrics`: each line is one that the format has, and the numbers are those of the dates."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.commands import invoke
from support.runs.publishing import DATE, judged, planned, ready, row_counts

from pipeline.terminal.openmetrics import DATES, openmetrics
from transforms.publish.commit import publish
from transforms.runs.run import read_manifest

NAME = r"[a-z_:][a-z0-9_:]*"
VALUE = r'"((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})\{{({NAME}={VALUE}(?:,{NAME}={VALUE})*)\}} (-?\d+)")
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], int]


def parsed(text: str) -> Samples:
    """The samples of a text; fails at whatever OpenMetrics 1.0, or the text format before it, does not have."""
    assert text.endswith("# EOF\n")
    found: Samples = {}
    described: dict[str, set[str]] = {}
    for line in text.split("\n")[:-2]:
        if line.startswith("# "):
            kind, name, rest = line[2:].split(" ", 2)
            assert kind in ("TYPE", "UNIT", "HELP")
            assert kind not in described.get(name, ()), "said twice"
            assert kind != "TYPE" or (rest == "gauge" and name not in described)
            assert kind != "UNIT" or name.endswith("_" + rest)
            assert name in described or kind == "TYPE"
            assert name in described or not found or list(found)[-1][0] != name
            described.setdefault(name, set()).add(kind)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert list(described)[-1] == match[1], "samples stand below their own metric"
        labels = tuple(
            (name, re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], value))
            for name, value in re.findall(rf"({NAME})={VALUE}", match[2])
        )
        assert (match[1], labels) not in found, "a series stands twice"
        assert len({name for name, _ in labels}) == len(labels)
        found[match[1], labels] = int(match[4])
    return found


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
    names = {name for name, _ in found}
    assert {dict(labels)["output"] for _, labels in found} == {output}

    def at(name: str, **labels: str) -> int | None:
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
    assert 0 <= (at("last_published_age_seconds") or 0) < 600
    assert "bert_batch_last_published_timestamp_seconds" in names


def test_an_output_without_anything_is_empty(tmp_path: Path) -> None:
    code, out, _ = invoke("runs", "--output", tmp_path, "--format", "openmetrics")
    assert (code, out) == (0, "# EOF\n")


def entry(date: dt.date, **more: Any) -> dict[str, Any]:
    usual = {
        "rows": 7,
        "dead": 0,
        "skipped": 0,
        "seconds": 60,
        "pending": None,
        "published_at": f"{date}T02:00:00+00:00",
    }
    return {"date": date.isoformat(), **usual, **more}


def test_only_the_last_dates_have_series_and_unknown_numbers_have_none() -> None:
    days = [dt.date(2026, 9, 1) + dt.timedelta(day) for day in range(60)]
    dates = [entry(day, seconds=None) for day in days]
    found = parsed(openmetrics("out", {"dates": dates, "broken": {}, "runs": []}, NOW))
    assert sum(name == "bert_batch_rows" for name, _ in found) == DATES
    assert min(dict(labels)["date"] for name, labels in found if name == "bert_batch_rows") == days[-DATES].isoformat()
    assert not any(name == "bert_batch_duration_seconds" for name, _ in found)
    age = NOW - dt.datetime.combine(days[-1], dt.time(2), dt.UTC)
    assert found["bert_batch_last_published_age_seconds", (("output", "out"),)] == age.total_seconds()


@given(st.text(st.characters(codec=None), max_size=20))
def test_any_name_of_an_output_is_one_label(output: str) -> None:
    document = {"dates": [entry(DATE)], "broken": {}, "runs": []}
    text = openmetrics(output, document, NOW)
    text.encode()
    assert len({labels[0] for _, labels in parsed(text)}) == 1
    if output.isprintable():
        assert {dict(labels)["output"] for _, labels in parsed(text)} == {output}
