"""The numbers that are drawn, compared with a plain computation from the manifests."""

import datetime as dt
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from support.files.manifests import DATE, LABELS, days, loaded, write, write_nights

from pipeline.terminal.pages.nights.drawing import drifts, figures
from pipeline.terminal.pages.nights.drawing.histograms import histograms
from pipeline.terminal.pages.nights.drawing.plots import HEIGHT, STEP, Scale, scale_of
from pipeline.terminal.pages.nights.night import Histogram
from pipeline.terminal.pages.nights.page import label_rows
from pipeline.terminal.pages.nights.reading import History, read_history
from pipeline.terminal.pages.nights.telling.facts import facts

NOW = dt.datetime(2026, 11, 22, 6, tzinfo=dt.UTC)
COUNT = 20


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output")
    write_nights(output, COUNT, mixed={DATE: 0.4})
    return output


@pytest.fixture
def history(output: Path) -> History:
    return read_history(str(output), None, 30, NOW)


def manifests(output: Path) -> list[dict[str, Any]]:
    return [loaded(output, date) for date in days(COUNT)]


def heights(figure: figures.Figure, kind: str, scale: Scale) -> list[float]:
    """The values of a line, read from its path."""
    root = ElementTree.fromstring(str(figure.plot.svg))
    (path,) = (one.attrib["d"] for one in root.iter("path") if one.attrib["class"] == kind)
    points = [point.split(" ") for point in path.replace("M", "L").split("L")[1:]]
    assert [float(x) for x, _ in points] == [STEP * (at + 0.5) for at in range(COUNT - len(points), COUNT)]
    return [scale.low + (1 - float(y) / HEIGHT) * (scale.high - scale.low) for _, y in points]


def near(drawn: list[float], plain: list[float]) -> bool:
    scale = scale_of(plain, from_zero=True)
    return bool(np.allclose(drawn, plain, atol=(scale.high - scale.low) * 1e-4))


def test_rows_and_dead_letters_are_those_of_the_manifests(output: Path, history: History) -> None:
    rows, dead, duplicates = figures.rows_by_date(history)
    counts = [content["counts"] for content in manifests(output)]
    told = [title.split(": ")[1] for title in titles(rows)]
    assert told == [f"{one['scored']:,}" for one in counts]
    assert [title.split(": ")[1] for title in titles(dead)] == [
        f"{100 * one['dead'] / one['read']:.1f} %" for one in counts
    ]
    assert {title.split(": ")[1] for title in titles(duplicates)} == {"25.0 %"}
    assert rows.number == f"{counts[-1]['scored']:,}"


def titles(figure: figures.Figure) -> list[str]:
    root = ElementTree.fromstring(str(figure.plot.svg))
    return [str(rect.findtext("title")) for rect in root.iter("rect")]


def test_drift_has_distance_and_bound_of_every_date(output: Path, history: History) -> None:
    drawn_there = drifts.drift_by_date(history, "dates")
    found = drawn_there.figures
    by_title = {one.title: one for one in found}
    assert drawn_there.still == ""
    assert ("Lead over the second", "margin") in [one[:2] for one in drawn_there.meanings]
    # The first dates had fewer than seven before them.
    assert drawn_there.about.endswith(drifts.FEW)
    for name, title in (
        ("unknown_tokens", "Unknown tokens"),
        ("label", "Label shares"),
        ("probability", "Probability"),
    ):
        entries = [content["drift"]["dates"].get(name) for content in manifests(output)][1:]
        pairs = [(entry["distance"], entry["bound"]) for entry in entries]
        scale = scale_of([number for pair in pairs for number in pair], from_zero=True)
        for kind, at in (("line", 0), ("bound", 1)):
            drawn = heights(by_title[title], kind, scale)
            assert np.allclose(drawn, [pair[at] for pair in pairs], atol=scale.high * 1e-4)
        assert by_title[title].number == f"{pairs[-1][0]:.3f}, bound {pairs[-1][1]:.3f}"
        assert by_title[title].over == (pairs[-1][0] > pairs[-1][1])
    # What is beyond its bound comes first.
    assert [one.over for one in found] == sorted((one.over for one in found), reverse=True)


def test_figures_are_means_and_shares_of_rows(output: Path, history: History) -> None:
    found = {one.name: one for one in figures.figures_by_date(history)}
    assert [*found] == ["probability", "token_count", "truncated", "unknown_tokens"]
    tallies = [content["summary"]["statistics"] for content in manifests(output)]
    for name, scaled in (("probability", 1e6), ("token_count", 1)):
        plain = [one[name]["sum"] / one[name]["rows"] / scaled for one in tallies]
        assert np.allclose(heights(found[name], "line", scale_of(plain, from_zero=False)), plain, rtol=1e-3)
    unknown = [1 - one["unknown_tokens"]["bins"][0] / one["unknown_tokens"]["rows"] for one in tallies]
    assert [title.split(": ")[1] for title in titles(found["unknown_tokens"])] == [
        f"{100 * one:.1f} %" for one in unknown
    ]


def test_histograms_are_the_night_the_last_dates_and_the_baseline(output: Path, history: History) -> None:
    base = Histogram(10, 0, 19, (10,))
    (probability, lengths) = histograms(history, {"probability": base})
    tallies = [content["summary"]["statistics"]["probability"] for content in manifests(output)]
    usual = np.sum([one["bins"] for one in tallies[-15:-1]], axis=0)
    own = np.array(tallies[-1]["bins"])
    for at, title in enumerate(titles(probability)):
        parts = [f"{100 * share:.1f}" for share in (own[at] / own.sum(), usual[at] / usual.sum(), float(at == 19))]
        assert title.split("\n")[0].startswith(f"{at / 20:.2f} to {(at + 1) / 20:.2f}: ")
        if min(own[at], usual[at]) > 9:
            assert title == (
                f"{at / 20:.2f} to {(at + 1) / 20:.2f}: {parts[0]} %\nusually {parts[1]} %\nbaseline {parts[2]} %"
            )
    assert [name for _, name in probability.plot.keys] == [
        "this date",
        "the last 14 dates",
        "baseline: validation rows of the training",
    ]
    for edge, note in zip((10, 18), probability.notes, strict=True):
        below, usually = own[:edge].sum(), 100 * usual[:edge].sum() / usual.sum()
        share = f"{100 * below / own.sum():.1f} %, usually {usually:.1f} %"
        assert note == f"Below {edge / 20:g}: {below:,} of {own.sum():,} rows ({share})"
    assert [name for _, name in lengths.plot.keys] == ["this date", "the last 14 dates"]


def test_label_shares_are_rows_by_label(output: Path, history: History) -> None:
    found = {row.label.name: row for row in label_rows(history)}
    assert {*found} == {*LABELS}
    summaries = [content["summary"] for content in manifests(output)]
    for number, name in enumerate(LABELS):
        shares = [one["labels"][number]["rows"] / one["rows"] for one in summaries]
        row = found[name]
        assert row.share == f"{100 * shares[-1]:.1f} %"
        assert row.usual == f"{100 * float(np.median(shares[-15:-1])):.1f} %"
        assert row.span == f"{100 * min(shares[-15:-1]):.1f} % to {100 * max(shares[-15:-1]):.1f} %"


def test_facts_are_the_date_the_middle_and_the_weekday(output: Path, history: History) -> None:
    found = {fact.name: fact for fact in facts(history, frozenset(["dead"]))}
    counts = [content["counts"] for content in manifests(output)]
    rows, dead = [one["scored"] for one in counts], [one["dead"] for one in counts]
    assert found["Rows with scores"][1:5] == (
        f"{rows[-1]:,}",
        f"{round(np.median(rows[-15:-1])):,}",
        f"{round(np.median([rows[-8], rows[-15]])):,}",
        f"{min(rows[-15:-1]):,} to {max(rows[-15:-1]):,}",
    )
    assert found["Dead letters"].value == str(dead[-1])
    assert [fact.name for fact in found.values() if fact.far] == ["Dead letters"]


def test_another_model_begins_anew(tmp_path: Path) -> None:
    contents = write_nights(tmp_path, 12)
    for content in contents[6:9]:
        write(tmp_path, {**content, "bundle": "snips@" + "f" * 64})
    for content in contents[9:]:
        write(tmp_path, {**content, "bundle": "snips@" + "f" * 64, "precision": "bfloat16"})
    history = read_history(str(tmp_path), None, 30, NOW)
    assert [at for at, _ in figures.changes(history)] == [6, 9]
    assert figures.changes(history)[0][1].endswith("a new model, snips@ffffffffffff")
    assert figures.changes(history)[1][1].endswith("precision bfloat16, before float32")
    rows = {row.label.name: row for row in label_rows(history)}
    shares = [one["summary"]["labels"][0]["rows"] / one["summary"]["rows"] for one in contents[9:11]]
    assert rows[LABELS[0]].usual == f"{100 * float(np.median(shares)):.1f} %"
