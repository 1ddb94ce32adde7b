"""What is worth an eye: nights with one thing wrong each, and nights with nothing."""

import datetime as dt
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.files.manifests import DATE, days, drawn_summary, loaded, manifest, write, write_nights

from pipeline.terminal.pages.nights.reading import History, read_history
from pipeline.terminal.pages.nights.telling.drifted import OTHER_TEXTS, SAME_MODEL, conclusion
from pipeline.terminal.pages.nights.telling.findings import findings
from pipeline.terminal.pages.nights.telling.meaning import headline, steps

NOW = dt.datetime.combine(DATE, dt.time(6), dt.UTC) + dt.timedelta(days=1)


def read(output: Path, last: int = 30, date: dt.date | None = None) -> History:
    return read_history(str(output), date, last, NOW)


def titles(history: History, *levels: str) -> list[str]:
    return [one.title for one in findings(history) if not levels or one.level in levels]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("usual")
    write_nights(output, 31)
    return output


@pytest.fixture
def output(usual: Path, tmp_path: Path) -> Path:
    """An output of good nights, of which the last one may be replaced."""
    for folder in usual.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    return tmp_path


def replaced(output: Path, date: dt.date = DATE, **changes: Any) -> History:
    content = {**loaded(output, date), **changes}
    (output / f"dt={date.isoformat()}").unlink()
    write(output, content)
    return read(output)


def test_a_usual_night_has_nothing(usual: Path) -> None:
    history = read(usual)
    assert titles(history) == []
    assert headline(history, []) == "Published, and nothing stands out."
    assert steps(history, []) == []
    assert conclusion(history.chosen, history.before) == ""


def test_twenty_usual_nights_have_nothing_to_look_at(usual: Path) -> None:
    dates = sorted(folder.name[3:] for folder in usual.iterdir())[-20:]
    told = [titles(read(usual, date=dt.date.fromisoformat(date)), "wrong", "look") for date in dates]
    assert sum(map(bool, told)) <= 1, told


def test_another_corpus_is_told_by_what_has_moved(tmp_path: Path) -> None:
    write_nights(tmp_path, 31, mixed={DATE: 0.4})
    history = read(tmp_path)
    found = findings(history)
    assert {one.level for one in found} == {"look"}
    assert [one.about for one in found] == [
        ("token_count", "unknown_tokens", "truncated"),
        ("probability", "margin", "entropy"),
    ]
    assert found[0].title.endswith("than usual, and more texts have unknown tokens")
    (figure, distance) = found[0].evidence[2]
    entry = history.chosen.drift["dates"]["truncated"]
    summaries = [loaded(tmp_path, date)["summary"]["statistics"]["truncated"] for date in days(15)]
    cut = [100 * tally["bins"][1] / tally["rows"] for tally in summaries]
    assert figure == f"Texts that were cut: {cut[-1]:.1f} %, usually {statistics.median(cut[:-1]):.1f} %."
    ratio = entry["distance"] / entry["bound"]
    assert distance == (
        f"Distance {entry['distance']:.3f} from the last 14 dates, "
        f"{ratio:.{1 if ratio < 2.95 else 0}f} times its bound of {entry['bound']:.3f}."
    )
    assert conclusion(history.chosen, history.before).startswith(SAME_MODEL)
    assert headline(history, found) == (
        "Published, but the texts of this date are not the usual ones: look before the scores are used."
    )


def test_a_night_of_a_new_model_is_no_change_of_the_texts(output: Path) -> None:
    bundle = "snips@" + "f" * 64
    drift = {**loaded(output)["drift"], "compared_dates": 0, "dates": {}, "baseline": {}}
    history = replaced(output, bundle=bundle, drift=drift)
    assert titles(history) == [
        "A new model: snips@ffffffffffff",
        "Drift was not judged: there is no earlier date that was scored alike, or there are too few rows",
    ]
    assert conclusion(history.chosen, history.before) == ""


@pytest.mark.parametrize(
    ("changes", "title", "detail"),
    [
        (
            {"counts": {"read": 902, "scored": 900, "skipped": 0, "dead": 2}},
            "Fewer rows than usual",
            "900 rows, usually",
        ),
        ({"counts": {"read": 5_005, "scored": 5_000, "skipped": 0, "dead": 5}}, "More rows than usual", "5,000 rows"),
        ({"counts": {"read": 0, "scored": 0, "skipped": 0, "dead": 0}}, "There are no rows", "Usually"),
        (
            {"counts": {"read": 2_000, "scored": 1_960, "skipped": 0, "dead": 40}, "dead_codes": {"not_json": 40}},
            "Many dead letters",
            "2.0 % of the rows, 40 of 2,000; usually 0.2 %. The job allows 1.0 %.",
        ),
        (
            {"work": {"scored": 400, "copied": 1_500, "remembered": 100}},
            "More duplicate texts than usual",
            "80.0 % of the rows have the tokens of another row, usually 25.0 %.",
        ),
        (
            {"published_at": "2026-11-22T03:00:00+00:00"},
            "The run was slower than usual",
            "0.6 rows a second, usually 10.",
        ),
        ({"kept_misfits": {"price": 3}}, "Kept columns have nulls because values did not fit", "price (3 rows)"),
    ],
)
def test_one_thing_is_told_by_itself(output: Path, changes: Mapping[str, Any], title: str, detail: str) -> None:
    (one,) = findings(replaced(output, **changes))
    assert (one.level, one.title) == ("look", title)
    assert one.details[0].startswith(detail)


def test_a_resumed_or_accepted_run_has_no_speed(output: Path) -> None:
    slow = "2026-11-22T23:00:00+00:00"
    assert titles(replaced(output, published_at=slow, splits_taken_over=3)) == [
        "3 splits were taken over from an attempt that died"
    ]
    history = read(output)
    assert history.chosen.rows_a_second is None
    accepted = {**loaded(output), "splits_taken_over": 0, "accepted": slow}
    write(output, accepted)
    assert titles(read(output)) == ["The gate held this run, and somebody accepted it"]


def test_without_a_summary_that_is_said(output: Path) -> None:
    content = loaded(output)
    history = replaced(output, summary=None, drift={})
    assert titles(history) == ["No statistics: the run has no summary, or it is of another version"]
    write(output, {**content, "summary": {"format": 99}, "drift": {"format": 99}})
    assert titles(read(output)) == ["No statistics: the run has no summary, or it is of another version"]


def test_where_the_run_compared_nothing_the_middle_of_the_last_dates_does(output: Path) -> None:
    generator = np.random.default_rng(1)
    summary = drawn_summary(generator, DATE, mixed=0.9)
    history = replaced(output, summary=summary, drift={})
    found = titles(history, "look")
    assert "Labels have other shares than usual" in found
    assert "More texts have unknown tokens than usual" in found
    assert all(not one.evidence for one in findings(history))


def test_few_dates_make_rules_of_thumb(tmp_path: Path) -> None:
    write_nights(tmp_path, 4)
    assert titles(read(tmp_path)) == ["Bounds are rules of thumb: 3 earlier dates, and it takes 7"]


def test_a_missing_night_is_told_and_so_is_one_that_is_due(output: Path) -> None:
    yesterday = DATE - dt.timedelta(1)
    (output / f"dt={yesterday.isoformat()}").unlink()
    history = read(output)
    assert titles(history) == ["Fri 2026-11-20 is missing"]
    assert [night.date for night in history.nights if night.state == "missing"] == [yesterday]
    later = read_history(str(output), None, 30, NOW + dt.timedelta(days=2))
    assert titles(later, "wrong") == ["Sun 2026-11-22 and 1 more since are missing"]
    assert titles(read_history(str(output), DATE - dt.timedelta(3), 30, NOW + dt.timedelta(days=2))) == []


def test_a_damaged_manifest_is_a_state(output: Path) -> None:
    folder = output / f"dt={DATE.isoformat()}"
    folder.unlink()
    folder.mkdir()
    (folder / "_manifest.json").write_text("{")
    history = read(output)
    assert history.chosen.state == "broken"
    assert titles(history) == ["2026-11-21: its manifest is damaged; nothing is published"]


@pytest.mark.parametrize(("scored", "found"), [(40, False), (400, True)])
def test_a_statistic_of_few_rows_is_not_judged_however_many_were_carried_over(
    scored: int, found: bool, output: Path
) -> None:
    # --only-new: a row with the scores of an earlier date has no unknown tokens that were counted.
    summary = drawn_summary(np.random.default_rng(1), DATE)
    unknown = scored // 2
    summary["statistics"]["unknown_tokens"] = {"rows": scored, "sum": unknown, "bins": [scored - unknown, unknown]}
    told = titles(replaced(output, summary=summary, drift={}), "look")
    assert ("More texts have unknown tokens than usual" in told) == found


@pytest.mark.parametrize("rows", [20, 60, 150])
def test_nights_of_few_rows_have_no_findings_by_chance(rows: int, output: Path) -> None:
    for seed in range(8):
        summary = drawn_summary(np.random.default_rng(seed), DATE, rows)
        content = {**loaded(output), "summary": summary, "drift": {}}
        history = replaced(output, **content) if seed == 0 else (write(output, content), read(output))[1]
        assert titles(history, "look") == []


def test_a_pending_table_is_wrong(output: Path) -> None:
    table = {"table": "p.d.scores", "fields": [], "staging": ""}
    assert titles(replaced(output, finished=False, table=table)) == [
        "p.d.scores may not have the rows of this date yet"
    ]


def test_dead_letters_near_the_budget_are_no_news_where_they_always_are(tmp_path: Path) -> None:
    for number, date in enumerate(days(12)):
        counts = {"read": 1_000, "scored": 993, "skipped": 0, "dead": 7}
        write(tmp_path, manifest(date, number, counts=counts))
    assert titles(read(tmp_path), "look") == []
    assert "Many dead letters" in titles(read(tmp_path, date=days(12)[3]), "look")


def test_a_weekend_with_fewer_rows_is_usual(tmp_path: Path) -> None:
    for number, back in enumerate(reversed(range(31))):
        date = DATE - dt.timedelta(back)
        rows = 500 if date.weekday() >= 5 else 2_000
        counts = {"read": rows, "scored": rows, "skipped": 0, "dead": 0}
        write(tmp_path, manifest(date, number, counts=counts, dead_codes={}))
    assert DATE.weekday() == 5
    assert titles(read(tmp_path), "look") == []


def test_foreign_letters_are_named_as_what_they_may_be(output: Path) -> None:
    content = loaded(output)
    many, drift = dict(content["summary"]), dict(content["drift"])
    rows = many["statistics"]["unknown_tokens"]["rows"]
    many["statistics"]["unknown_tokens"] = {"rows": rows, "sum": rows, "bins": [0, rows]}
    drift["dates"] = {name: {"distance": 0.5, "bound": 0.1, "dates": 14} for name in ("unknown_tokens", "token_count")}
    history = replaced(output, summary=many, drift=drift)
    assert conclusion(history.chosen, history.before) == f"{SAME_MODEL} {OTHER_TEXTS}"
    (one,) = findings(history)
    assert one.about == ("token_count", "unknown_tokens")
