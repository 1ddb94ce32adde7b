"""benchmarks/drift: what a row adds is what a run counts of it, nights are drawn as they say, and limits count."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.commands import ROOT
from support.documents import page
from support.jobs import Score, write_parquet

from benchmarks.drift import report
from benchmarks.drift.measure import OUT_OF_SCOPE, Counted, count, shifts
from benchmarks.drift.nights import (
    AS_IT_IS,
    MONDAY,
    ROWS,
    UNSHIFTED,
    Pool,
    Shift,
    Week,
    drawn_again,
    drawn_once,
    night,
    split,
)
from benchmarks.drift.real_runs import Run
from benchmarks.drift.scored_rows import Contributions, Scoring
from benchmarks.paths import DEMO_BUNDLE, REPORTS
from transforms.outputs.drift.histograms import NAMES, aligned
from transforms.outputs.summary.statistics import STATISTICS
from transforms.stores.bundles import open_bundle

SATURDAY = MONDAY + dt.timedelta(5)


def test_rows_that_are_scored_once_add_up_to_the_summary_of_a_run(run_job: Score, tmp_path: Path) -> None:
    texts = pq.read_table(ROOT / "examples/snips/validation.parquet").column("text").to_pylist()[:150]
    texts += ["http://a.b 42 дом", "дом " * 200, "a"]
    rows = Scoring(open_bundle(str(DEMO_BUNDLE))).scored(texts, tmp_path / "pool.parquet")
    # A night may have a row several times.
    drawn = np.random.default_rng(1).integers(0, len(texts), 300)
    table = {"id": [str(place) for place in range(len(drawn))], "text": [texts[row] for row in drawn]}
    file = write_parquet(tmp_path / "in.parquet", table)
    told = run_job(file, bundle=str(DEMO_BUNDLE), precision="float32").manifest["summary"]
    ours = rows.take(drawn).summary()
    assert told["statistics"].keys() == ours["statistics"].keys()
    for name in NAMES:
        found, expected = aligned([ours, told], name)
        assert found.tolist() == expected.tolist(), name


def test_a_row_that_a_form_changes_is_replaced_and_no_other() -> None:
    bins = np.arange(3)[:, np.newaxis]
    found = Contributions(labels=np.array([1, 2, 3]), bins=bins).replaced(
        np.array([1]), Contributions(labels=np.array([9]), bins=np.array([[7]]))
    )
    assert (found.labels.tolist(), found.bins.tolist()) == ([1, 9, 3], [[0], [7], [2]])


@pytest.fixture(scope="module")
def pool() -> Pool:
    """10,000 rows of four labels with a length of their own, and another corpus whose rows are long."""
    generator = np.random.default_rng(3)
    labels = generator.choice(4, 10_000, p=[0.4, 0.3, 0.2, 0.1])
    lengths = generator.poisson(20 + 3 * labels)
    plain, cut = _rows(labels, lengths), _rows(labels, lengths // 2)
    others = _rows(generator.choice(4, 1_000), generator.poisson(35, 1_000))
    forms = {AS_IT_IS: plain, "cut": cut}
    return Pool(
        forms=forms, labels=labels, lengths=lengths, others={"long": others, OUT_OF_SCOPE: others}, baseline=None
    )


def _rows(labels: np.ndarray, lengths: np.ndarray) -> Contributions:
    """Rows that have a probability, unknown tokens (which say that they were scored) and a length alone."""
    starts = dict(
        zip((one.name for one in STATISTICS), np.cumsum([0, *(one.bins for one in STATISTICS)]), strict=False)
    )
    nowhere = sum(one.bins for one in STATISTICS)
    bins = np.full((len(labels), len(STATISTICS)), nowhere, np.int64)
    of = {one.name: place for place, one in enumerate(STATISTICS)}
    (length,) = (one for one in STATISTICS if one.name == "token_count")
    bins[:, of["token_count"]] = starts["token_count"] + length.bin_of(lengths)
    bins[:, of["unknown_tokens"]] = starts["unknown_tokens"]
    return Contributions(labels=labels.astype(np.int64), bins=bins)


def test_no_row_of_a_night_is_of_its_calibration_pool_or_comes_twice(pool: Pool) -> None:
    generator = np.random.default_rng(4)
    week = Week(generator, pool)
    calibration, test = split(generator, pool)
    assert sorted([*calibration, *test]) == list(range(len(pool)))
    drawn = night(generator, pool, week.of(MONDAY), test, Shift(share=0.1, mixed="long"))
    assert (len(drawn.own), len(drawn.changed), len(drawn.others)) == (1_800, 0, 200)
    assert len({*drawn.own}) == 1_800
    assert {*drawn.own.tolist()} <= {*test.tolist()}
    assert drawn.summary(pool)["rows"] == ROWS


def test_weekends_have_other_labels_and_longer_texts(pool: Pool) -> None:
    generator = np.random.default_rng(5)
    week = Week(generator, pool)
    every = np.arange(len(pool))
    for draw in (drawn_again, drawn_once):
        working, weekend = (draw(generator, week.of(date), every, 4_000) for date in (MONDAY, SATURDAY))
        assert pool.lengths[weekend].mean() > pool.lengths[working].mean() + 0.3
        shares = [np.bincount(pool.labels[rows], minlength=4) / 4_000 for rows in (working, weekend)]
        expected = [np.bincount(pool.labels, week.of(date)) for date in (MONDAY, SATURDAY)]
        for found, wanted in zip(shares, expected, strict=True):
            # Without the same row twice they are a little nearer to all rows.
            assert found == pytest.approx(wanted / wanted.sum(), abs=0.04)


@pytest.mark.parametrize(
    ("shift", "changed"), [(Shift(share=0.5, form="cut"), "cut"), (Shift(share=0.2, label=True), AS_IT_IS)]
)
def test_a_share_of_the_rows_is_changed(shift: Shift, changed: str, pool: Pool) -> None:
    generator = np.random.default_rng(6)
    _, test = split(generator, pool)
    drawn = night(generator, pool, Week(generator, pool).of(MONDAY), test, shift)
    assert (len(drawn.changed), drawn.form, len(drawn.own)) == (ROWS * shift.share, changed, ROWS * (1 - shift.share))
    if shift.label:
        assert len({*pool.labels[drawn.changed].tolist()}) == 1


def test_nights_are_judged_and_counted(pool: Pool) -> None:
    usual = count(pool, UNSHIFTED, 0, 30, 10)
    mixed = count(pool, Shift(share=0.2, mixed="long"), 1, 10, 5)
    assert (usual.alarms, usual.held) == (0, 0)
    assert (mixed.alarms, mixed.held, mixed.kept) == (10, 10, True)
    assert mixed.statistics[0] == ("token_count", 10)
    assert usual == count(pool, UNSHIFTED, 0, 30, 10), "a seed means the same nights"


def counted(shift: Shift, nights: int, alarms: int, held: int) -> Counted:
    return Counted(shift=shift, nights=nights, alarms=alarms, held=held, statistics=[])


@pytest.mark.parametrize(
    ("shift", "nights", "least", "kept"),
    [
        (UNSHIFTED, 1_000, 16, False),
        (UNSHIFTED, 1_000, 15, True),
        (Shift(share=0.2, mixed="long"), 200, 189, False),
        (Shift(share=0.2, mixed="long"), 200, 190, True),
        (Shift(share=0.1, mixed="long"), 200, 159, False),
        (Shift(share=0.1, mixed="long"), 200, 160, True),
        (Shift(share=0.2, mixed=OUT_OF_SCOPE), 200, 0, True),
        (Shift(share=1.0, form="cut"), 200, 0, True),
        (Shift(share=0.2, label=True), 200, 0, True),
    ],
)
def test_a_limit_is_kept_or_missed_by_one_night(shift: Shift, nights: int, least: int, kept: bool) -> None:
    found = counted(shift, nights, least, least)
    assert found.kept == kept
    of = report.Of(title="Some texts", train=1, baseline=1, pool=4, others=[("long", 3)], accuracy=0.5, counted=[found])
    assert report.missed([of], []) == ([] if kept else [f"Some texts: {report.said(shift)}"])
    assert ("NOT all kept" in report.text([of], [], "a minute")) != kept


def test_a_command_that_says_another_thing_than_its_rows_is_a_limit_missed() -> None:
    runs = [
        Run(date=MONDAY, shift=UNSHIFTED, command="published", resampled=resampled)
        for resampled in ("published", "entropy is 0.5 from earlier dates")
    ]
    (lost,) = report.missed([], runs)
    assert lost.startswith("2026-03-02: the command said another thing")
    assert "In 1 of 2 the command and the sum" in report.text([], runs, "a minute")


def test_every_kind_and_strength_of_the_issue_is_there() -> None:
    found = [report.said(shift) for shift in shifts(("news", "German"))]
    assert {"20% news", "10% news", "20% German", "10% German"} <= {*found}
    assert {"10% of one label", "100% cut", "100% lower-cased"} <= {*found}
    assert len(found) == len({*found})


def test_the_figures_of_the_page_on_drift_are_those_of_the_report() -> None:
    _, _, measured = page("use/drift.md").partition("## Measured")
    rows = [line for line in measured.partition("\n## ")[0].splitlines() if line.startswith("|")]
    printed = (REPORTS / "DRIFT.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 5
    assert [row for row in rows if row not in printed] == []
