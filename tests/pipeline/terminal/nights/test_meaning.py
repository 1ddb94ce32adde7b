"""What a date is in one sentence, what to do next, and that box, table and strip mark the same."""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.files.manifests import BUNDLE, DATE, LABELS, days, loaded, manifest, write, write_nights

from pipeline.terminal.pages.nights.night import Night
from pipeline.terminal.pages.nights.page import label_rows, run_of, strip
from pipeline.terminal.pages.nights.reading import Attempt, History, read_history
from pipeline.terminal.pages.nights.telling.findings import findings
from pipeline.terminal.pages.nights.telling.meaning import headline, steps
from pipeline.terminal.pages.nights.telling.words import shown

NOW = dt.datetime.combine(DATE, dt.time(6), dt.UTC) + dt.timedelta(days=1)
COUNT = 20


@pytest.fixture
def output(tmp_path: Path) -> Path:
    write_nights(tmp_path, COUNT)
    return tmp_path


def read(output: Path, attempt: Attempt | None = None) -> History:
    return read_history(str(output), None, 30, NOW, attempt)


def changed(output: Path, **changes: Any) -> History:
    write(output, {**loaded(output), **changes})
    return read(output)


def drifting(output: Path, *names: str, dates: int = 14, rows: list[int] | None = None, **more: Any) -> History:
    """The last date with these statistics beyond their bounds, and with so many rows by label."""
    content = loaded(output)
    drift = content["drift"]
    for name in names:
        drift["dates"][name] = {"distance": 0.3, "bound": 0.1, "dates": dates}
    if rows is not None:
        content["summary"]["rows"] = sum(rows)
        for label, number in zip(content["summary"]["labels"], rows, strict=True):
            label["rows"] = number
    return changed(output, drift=drift, summary=content["summary"], **more)


def said(history: History) -> str:
    return headline(history, findings(history))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Published, and nothing stands out."),
        (
            {"counts": {"read": 902, "scored": 900, "skipped": 0, "dead": 2}},
            "Published, but there are fewer rows than usual.",
        ),
        (
            {
                "counts": {"read": 5_005, "scored": 5_000, "skipped": 0, "dead": 5},
                "work": {"scored": 400, "copied": 1_600},
                "kept_misfits": {"price": 3},
            },
            "Published, but there are more rows than usual. 2 more things stand out.",
        ),
        (
            {"finished": False, "table": {"table": "p.d.t", "fields": [], "staging": ""}},
            "Published, but p.d.t may not have the rows of this date yet.",
        ),
    ],
)
def test_a_date_is_one_sentence(output: Path, changes: dict[str, Any], told: str) -> None:
    assert said(changed(output, **changes)) == told


def test_one_statistic_is_said_as_it_is_and_several_as_their_cause(output: Path) -> None:
    history = drifting(output, "label", rows=[100, 100, 1_600, 100, 100])
    assert said(history) == "Published, but labels have other shares than usual: look before the scores are used."
    history = drifting(output, "token_count")
    assert said(history) == (
        "Published, but the texts of this date are not the usual ones: look before the scores are used."
    )
    history = changed(output, counts={"read": 902, "scored": 900, "skipped": 0, "dead": 2})
    assert said(history).endswith("look before the scores are used. One more thing stands out.")
    later = read_history(str(output), None, 30, NOW + dt.timedelta(days=2))
    assert said(later).startswith(
        "Published, but Sun 2026-11-22 and 1 more since are missing, and the texts of this date"
    )


def test_a_statistic_of_a_later_version_stands_by_its_name(output: Path) -> None:
    history = drifting(output, "odd_new_thing")
    (finding,) = findings(history)
    assert finding.title == "Odd new thing: unlike usual"
    assert finding.evidence[0].figure == "Odd new thing."
    assert said(history) == "Published, but odd new thing: unlike usual: look before the scores are used."


def test_the_next_step_names_the_rows_and_what_to_sort_them_by(output: Path) -> None:
    content = loaded(output)
    history = drifting(output, "token_count", "probability")
    rows, right, gate = steps(history, findings(history))
    assert f"{output}/dt={DATE}, files part-{content['run_id']}-*.parquet" in rows
    figures = [loaded(output, date)["summary"]["statistics"]["token_count"] for date in days(15)]
    means = [one["sum"] / one["rows"] for one in figures]
    order = "highest" if means[-1] >= sorted(means[:-1])[7] else "lowest"
    assert f"by `probability`, lowest first, or by `token_count`, {order} first" in rows
    assert "run the date again" in right
    assert "`--hold-if-drift`" in gate
    assert "`bert-batch publish RUN_ID --accept`" in gate


@pytest.mark.parametrize("more", [{"dates": 6}, {"settings": {"hold_if_drift": True}}])
def test_nobody_is_told_of_a_gate_that_would_not_have_held(output: Path, more: dict[str, Any]) -> None:
    history = drifting(output, "token_count", **more)
    assert not any("hold" in step for step in steps(history, findings(history)))


def test_a_run_that_has_not_begun_is_given_again(output: Path) -> None:
    history = read(output, Attempt(DATE + dt.timedelta(1), "in.jsonl: no file is there", NOW))
    assert said(history) == "Failed before it began."
    (step,) = steps(history, findings(history))
    assert step.endswith("Give the same command again, with `--date 2026-11-22`.")
    again = read(output, Attempt(DATE, "in.jsonl: no file is there", NOW))
    assert said(again) == "Published, but a newer run of this date was not published."
    assert steps(again, findings(again))[0].startswith("The rows of this date stay as they were.")


def named(history: History) -> list[str]:
    """Labels that the box names."""
    told = [one.figure for finding in findings(history) for one in finding.evidence if "label" in finding.about]
    return re.findall(r"(\w+) [0-9.]+ % of the rows", " ".join(told))


@pytest.mark.parametrize("lifted", [range(5), range(1), ()])
def test_box_and_table_mark_the_same_labels(lifted: Sequence[int], output: Path) -> None:
    summaries = [loaded(output, date)["summary"] for date in days(15)]
    shares = [[label["rows"] / one["rows"] for label in one["labels"]] for one in summaries]
    rows = [label["rows"] for label in summaries[-1]["labels"]]
    if len(lifted) == 5:
        rows = [100, 100, 1_600, 100, 100]
    elif lifted:
        # So little that no label is both outside and two points away.
        rows = [rows[0] + 12, rows[1] - 12, *rows[2:]]
    history = drifting(output, "label", rows=rows) if lifted else read(output)
    before = [sorted(one[at] for one in shares[:-1]) for at in range(len(LABELS))]
    moved = [abs(rows[at] / sum(rows) - (one[6] + one[7]) / 2) for at, one in enumerate(before)]
    plain = {
        name
        for name, share, one, change in zip(LABELS, rows, before, moved, strict=True)
        if not one[0] <= share / sum(rows) <= one[-1] and change >= 0.02
    }
    if lifted and not plain:
        plain = {LABELS[moved.index(max(moved))]}
    marked = {row.label.name for row in label_rows(history) if row.label.far}
    assert marked == (plain if lifted else set())
    assert {*named(history)} <= marked
    assert len(named(history)) == min(3, len(marked))


def test_the_overview_marks_dates_beyond_their_bounds(output: Path) -> None:
    drawn = str(strip(drifting(output, "token_count", "label")))
    assert drawn.count('<path class="drifted') == 1
    assert 'class="drifted now"' in drawn
    assert "beyond bounds: label shares, length in tokens" in drawn or (
        "beyond bounds: length in tokens, label shares" in drawn
    )
    assert drawn.count("<rect") == COUNT - 1


@pytest.mark.parametrize(
    ("run_id", "told"),
    [
        ("20261121T235900Z-0000aa", "run 20261121T235900Z-0000aa"),
        ("20261122T020000Z-0000aa", "run 20261122T020000Z-0000aa"),
        ("20261201T020000Z-0000aa", "run on 1 Dec 2026 for the date 21 Nov 2026 (20261201T020000Z-0000aa)"),
        ("no id", "run no id"),
        ("", ""),
    ],
)
def test_a_run_long_after_its_date_has_its_day(run_id: str, told: str) -> None:
    assert run_of(Night(date=DATE, state="published", run_id=run_id)) == told


def test_where_a_text_has_several_labels_its_margin_is_another_thing(tmp_path: Path) -> None:
    tally = {"rows": 200, "sum": 300, "bins": [0, 100, 100]}
    for number, date in enumerate(days(9)):
        summary = {"format": 2, "rows": 200, "statistics": {"labels_given": tally}, "labels": [], "other_labels": None}
        write(tmp_path, manifest(date, number, summary=summary, bundle=BUNDLE))
    drift = {
        "format": 1,
        "compared_dates": 8,
        "rows": {"number": 200, "median": 200, "dates": 8},
        "baseline": {},
        "dates": {"margin": {"distance": 0.3, "bound": 0.1, "dates": 8}},
    }
    (finding,) = (one for one in findings(changed(tmp_path, drift=drift)) if one.about == ("margin",))
    assert finding.title == "Distance from the threshold: unlike usual"
    (rows, *_) = steps(read(tmp_path), findings(read(tmp_path)))
    assert "Sort them" not in rows


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (17.4, "17 s"), (59.6, "1:00 min"), (90, "1:30 min"), (3_700, "1:01:40 h")]
)
def test_a_duration_names_its_unit(seconds: float, said: str) -> None:
    # "0:17 min" was read as 17 minutes.
    assert shown(seconds, "seconds") == said
