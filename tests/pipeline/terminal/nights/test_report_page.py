"""The page: every name from outside is text, nothing is fetched, every part is there; other kinds of scores; states."""

import datetime as dt
import html
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.files.manifests import BUNDLE, DATE, LABELS, days, manifest, write, write_nights
from support.runs.publishing import planned, row_counts

from pipeline.terminal.pages.nights.page import page
from pipeline.terminal.pages.nights.reading import Attempt, read_history
from pipeline.terminal.pages.nights.telling.facts import facts
from pipeline.terminal.pages.nights.telling.findings import findings
from transforms.outputs.summary.statistics import value_bins
from transforms.runs.verdicts import judge, write_verdict

NOW = dt.datetime(2026, 11, 22, 6, tzinfo=dt.UTC)
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\u202edetrever",
    "x" * 5_000,
    "",
    "{{ 7 * 7 }}{% raw %}\"'`</style></title>",
)
TAGS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "h1", "h2", "p", "div"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "ol", "ul", "li", "a", "b", "span", "figure", "figcaption"}
TAGS |= {"svg", "path", "rect", "details", "summary", "i", "code"}
ATTRIBUTES = {
    "lang",
    "charset",
    "name",
    "content",
    "http-equiv",
    "class",
    "scope",
    "style",
    "aria-hidden",
    "aria-label",
}
ATTRIBUTES |= {"id", "href", "role", "viewbox", "preserveaspectratio", "d", "x", "y", "width", "height"}


class Tags(HTMLParser):
    """Every tag and attribute of a page, its text, and what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def built(output: Path, **more: Any) -> str:
    return page(read_history(str(output), None, 30, NOW, **more), {}, NOW)


def parsed(written: str) -> Tags:
    tags = Tags()
    tags.feed(written)
    assert tags.open == []
    assert tags.names <= TAGS
    assert {name for name, _ in tags.attributes} <= ATTRIBUTES
    assert all(value and value.startswith("#") for name, value in tags.attributes if name == "href")
    return tags


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_from_outside_are_text(hostile: str, tmp_path: Path) -> None:
    names = (hostile, *LABELS[1:])
    contents = write_nights(tmp_path, 9, names=names, bundle=f"{hostile}@{BUNDLE}", kept_misfits={hostile: 3})
    table = {"table": "p.d.t", "fields": [], "staging": ""}
    codes = {hostile: 4, "not_json": 1}
    last = {**contents[-1], "bundle": f"{hostile}@ff", "dead_codes": codes, "table": table, "finished": False}
    last["summary"]["labels"][1]["label"] = hostile
    write(tmp_path, last)
    run = tmp_path / "_runs" / last["run_id"]
    run.mkdir(parents=True)
    (run / "verdict.json").write_text("{}")
    written = built(tmp_path)
    tags = parsed(written)
    assert all(hidden not in written for hidden in ("\u202e", "\x1b", "<img"))
    assert "{{ 7 * 7 }}" in tags.text or "{{" not in hostile
    assert "(empty label)" in tags.text if not hostile else True


def test_a_page_fetches_nothing_and_has_every_part(tmp_path: Path) -> None:
    write_nights(tmp_path, 31, mixed={DATE: 0.4})
    written = built(tmp_path)
    assert all(word not in written for word in ("http:", "https:", "url(", "@import", "<script", "<link", "src="))
    assert "default-src 'none'" in written
    assert "prefers-color-scheme: dark" in written
    assert "@media print" in written
    tags = parsed(written)
    parts = (
        "This date, and what is usual",
        "The last 30 dates, 23 Oct to 21 Nov",
        "Dead letters of this date",
        "Label shares",
    )
    parts += ("Scores and texts", "Drift from the last dates", "Speed", "Every date in numbers")
    assert all(part in tags.text for part in parts)
    # Every plot says in words what it shows, and every place links to one that is there.
    ids = {value for name, value in tags.attributes if name == "id"}
    assert {value.removeprefix("#") for name, value in tags.attributes if name == "href" and value} <= ids
    assert written.count("<svg ") == sum(
        bool(value) for name, value in tags.attributes if name == "aria-label" and value != "What stands out"
    )


def test_four_hundred_dates_are_a_page_of_two_megabytes(tmp_path: Path) -> None:
    write_nights(tmp_path, 20)
    content = manifest(DATE)
    for number, date in enumerate(days(400, DATE - dt.timedelta(20))):
        write(tmp_path, {**manifest(date, number), "counts": content["counts"]})
    written = page(read_history(str(tmp_path), None, 400, NOW), {}, NOW)
    assert len(written) < 2_000_000
    assert "The last 400 dates, " in written


def tally(counts: list[int], total: int) -> dict[str, Any]:
    return {"rows": sum(counts), "sum": total, "bins": counts}


def test_values_of_a_regression_are_drawn(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for number, date in enumerate(days(10)):
        values = generator.integers(0, 40, 12)
        statistics = {
            "value": {**tally(values.tolist(), 2_500_000 * int(values.sum())), "first": 640},
            "token_count": tally([0] * 4 + [9], 18),
        }
        rows = int(values.sum())
        summary = {"format": 2, "rows": rows, "statistics": statistics, "labels": [], "other_labels": None}
        write(tmp_path, manifest(date, number, summary=summary))
    tags = parsed(built(tmp_path))
    assert "Values, share of the rows" in tags.text
    assert "mean 2.5" in tags.text
    assert "Mean value" in tags.text
    assert "Label shares" not in tags.text


@pytest.mark.parametrize("value", [1e6 * 1.001, -1e6 * 1.001, 5e6, -7e6, 1e30])
def test_a_mean_of_values_that_the_sum_clips_is_none(value: float, tmp_path: Path) -> None:
    for number, date in enumerate(days(10)):
        # A million on either side is the most that a value counts in the sum.
        values = np.array([2.5, value if date == DATE else 2.5], np.float32)
        bins = np.bincount(value_bins(values)).tolist()
        total = int(np.clip(values, -1e6, 1e6).sum() * 1e6)
        statistics = {"value": tally(bins, total), "token_count": tally([0] * 4 + [2], 4)}
        summary = {"format": 2, "rows": 2, "statistics": statistics, "labels": [], "other_labels": None}
        write(tmp_path, manifest(date, number, summary=summary))
    history = read_history(str(tmp_path), None, 30, NOW)
    assert [night.figure("value") for night in history.nights] == [2.5] * 9 + [None]
    assert "Mean value" not in {one.name for one in facts(history)}
    tags = parsed(page(history, {}, NOW))
    assert "No mean: values beyond a million" in tags.text
    assert "mean 500" not in tags.text


def test_counts_of_a_run_that_ended_early_are_at_least_so_many(tmp_path: Path) -> None:
    write_nights(tmp_path, 12, last=DATE - dt.timedelta(1))
    run = planned(str(tmp_path), rows=2_000)
    read, kept, dead = row_counts(run, ("a", "b"), (2, 3, 4))
    verdict = judge(run, [], read=read, scored=kept, dead=dead, work=[], ended_early="too many, at least 3 of 5 rows")
    write_verdict(run, verdict)
    history = read_history(str(tmp_path), DATE, 30, NOW)
    assert history.chosen.at_least
    found = {one.title: one for one in findings(history) if one.level != "note"}
    # What was read before it ended is neither few rows nor a share of all.
    assert [*found] == [
        f"{DATE.isoformat()} failed: too many dead letters, so nothing is published",
        "Many dead letters",
    ]
    first, code = found["Many dead letters"].details
    assert first.startswith("At least 3: the run ended early, after at least 5 rows; usually 0.")
    assert code.startswith("at least 3 ")
    values = {one.name: one.value for one in facts(history)}
    counts = ("Rows with scores", "Rows read", "Dead letters")
    assert [values[name] for name in counts] == ["at least 2", "at least 5", "at least 3"]
    tags = parsed(page(history, {}, NOW))
    assert "60.0 %" not in tags.text
    # In the plot of the rows, the facts, the table of the codes and the one of all dates.
    assert tags.text.count("at least 2") >= 3
    assert tags.text.count("at least 3") >= 4


def test_labels_of_several_a_text_are_shares_of_the_texts(tmp_path: Path) -> None:
    for number, date in enumerate(days(10)):
        labels = [
            {"label": name, "number": at, "rows": 1_000 + 100 * at, "statistics": {}} for at, name in enumerate(LABELS)
        ]
        statistics = {"labels_given": tally([100, 300, 1_600], 6_000), "probability": tally([0] * 19 + [2_000], 1)}
        summary = {"format": 2, "rows": 2_000, "statistics": statistics, "labels": labels, "other_labels": None}
        write(tmp_path, manifest(date, number, summary=summary))
    tags = parsed(built(tmp_path))
    assert "a text may have several" in tags.text
    assert "50.0 %" in tags.text
    assert "70.0 %" in tags.text
    assert "Labels a text" in tags.text
    assert "3.000" in tags.text


def test_labels_beyond_the_first_are_folded_away(tmp_path: Path) -> None:
    labels = [{"label": f"l{at:02}", "number": at, "rows": 100 - at, "statistics": {}} for at in range(50)]
    others = {"from": 50, "rows": 1_234, "statistics": {}}
    summary = {"format": 2, "rows": 5_000, "statistics": {}, "labels": labels, "other_labels": others}
    write(tmp_path, manifest(DATE, summary=summary))
    tags = parsed(built(tmp_path))
    assert "30 more labels" in tags.text
    assert "1,234 rows have labels from number 50 of the bundle on" in tags.text


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": None},
        {"summary": {"format": 1, "odd": True}, "drift": {"format": 9}},
        {"summary": {"format": 2, "rows": 5, "statistics": {"value": tally([0, 0], 0)}, "labels": []}},
        {"summary": {"format": 2, "rows": 5, "statistics": {"token_count": tally([10**40], 10**400)}, "labels": []}},
        {"summary": {"format": 2, "rows": 10**400, "statistics": {}, "labels": []}},
        {"summary": {"format": 2, "rows": 1, "statistics": {"probability": tally([5, 7], 0) | {"rows": 3}}}},
        {"summary": {"format": 2, "rows": 9, "statistics": {"token_count": tally([0, 0, 9], 27)}, "labels": []}},
        {"counts": {"read": 0, "scored": 0, "dead": 0}, "work": {}},
        {"counts": {"read": 2**62, "scored": 2**62, "dead": 0}},
        {"work": {"scored": "many", "copied": 1.5}, "started": None, "published_at": None},
        {"started": "2026-11-22T02:00:00+00:00", "published_at": "2026-11-22T01:00:00+00:00"},
        {"settings": {"max_dead_fraction": "all"}, "bundle": "no fingerprint"},
    ],
)
def test_whatever_a_manifest_says_there_is_a_page(changes: dict[str, Any], tmp_path: Path) -> None:
    write_nights(tmp_path, 9)
    write(tmp_path, manifest(DATE, **changes))
    parsed(built(tmp_path))


def test_what_a_command_has_just_seen_is_told(tmp_path: Path) -> None:
    write_nights(tmp_path, 9)
    told = "input/<b>.jsonl: no file is there"
    next_day = DATE + dt.timedelta(1)
    tags = parsed(built(tmp_path, attempt=Attempt(next_day, told, NOW)))
    assert "Sun 2026-11-22: failed before it began" in tags.text
    assert told in tags.text
    again = parsed(built(tmp_path, attempt=Attempt(DATE, told, NOW)))
    assert "Sat 2026-11-21: published" in again.text
    assert "A newer run of this date was not published: failed before it began" in again.text
    assert html.escape(told) in built(tmp_path, attempt=Attempt(DATE, told, NOW))
