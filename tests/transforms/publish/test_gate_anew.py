"""A run that the gate has held, or may hold, is judged anew; and what `clean` does with it."""

import datetime as dt

import pytest
from support.commands import invoke
from support.runs.cleaning import NOW, clean, folder_of
from support.runs.drifting import FEWER, held, weeks
from support.runs.history import not_published
from support.runs.publishing import (
    Killed,
    before,
    die,
    judged,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    status,
    visible,
)

from pipeline.publishing import publish_again
from transforms.errors import PublishError
from transforms.publish import step, table_load
from transforms.publish.commit import publish
from transforms.publish.gate import Gate, publish_judged
from transforms.publish.step import judge_and_publish
from transforms.runs.run import read_manifest
from transforms.runs.verdicts import accept, claim, read_verdict


def test_judged_anew_it_is_held_again_or_published(output: str) -> None:
    weeks(output)
    run = held(output)
    with pytest.raises(PublishError, match=r"is held: .*--min-rows-ratio is 0.6"):
        publish_judged(run, Gate(min_rows_ratio=0.6), None)
    assert status(run) == "held"
    assert "--min-rows-ratio is 0.6" in not_published(output)[0].reason
    assert publish_judged(run, Gate(), None).status == "published"
    assert read_parts(output) == rows_of(run, ("a", "b"))
    assert "accepted" not in (read_manifest(run.manifest)[0] or {})


def test_a_run_that_passed_without_a_gate_is_judged_when_its_job_has_one(output: str) -> None:
    weeks(output)
    run = planned(output, rows=3)
    judged(run, row_counts(run, ("a", "b"), [2]))
    assert status(run) == "passed"
    with pytest.raises(PublishError, match="is held: 2 rows"):
        publish_judged(run, FEWER, None)
    verdict = read_verdict(run.verdict)
    assert verdict is not None
    assert (verdict.status, verdict.gate) == ("held", {"min_rows_ratio": 0.9})
    assert publish_judged(run, Gate(drift=True, min_rows_ratio=0.5), None).status == "published"
    manifest, _ = read_manifest(run.manifest)
    assert manifest is not None
    assert manifest["gate"] == {"hold_if_drift": True, "min_rows_ratio": 0.5}


def test_a_run_that_passed_its_gate_keeps_its_verdict_where_the_job_has_none(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks(output)
    run = planned(output, rows=3)
    with monkeypatch.context() as patch:
        patch.setattr(step, "publish", lambda _: die())
        with pytest.raises(Killed):
            judge_and_publish(run, *row_counts(run, ("a", "b"), [2]), [], gate=Gate(min_rows_ratio=0.5))
    assert status(run) == "passed"
    assert publish_judged(run, Gate(), None).status == "published"
    assert (read_manifest(run.manifest)[0] or {})["gate"] == {"min_rows_ratio": 0.5}


def test_a_run_that_a_publisher_has_claimed_is_not_judged_anew(output: str) -> None:
    weeks(output)
    run = planned(output, rows=3)
    judged(run, row_counts(run, ("a", "b"), [2]))
    claim(run.verdict)
    assert publish_judged(run, FEWER, None).status == "published"
    assert "gate" not in (read_manifest(run.manifest)[0] or {})


def test_a_publisher_that_is_slower_than_a_gate_publishes_nothing(output: str) -> None:
    weeks(output)
    run = planned(output, rows=3)
    judged(run, row_counts(run, ("a", "b"), [2]))

    def hold() -> None:
        with pytest.raises(PublishError, match="is held"):
            publish_judged(run, FEWER, None)

    with pytest.raises(PublishError, match="is held: 2 rows"):
        publish(run, before("commit", hold))
    assert (status(run), read_manifest(run.manifest)) == ("held", (None, None))


def test_accepted_meanwhile_it_is_not_judged_anew(output: str) -> None:
    weeks(output)
    run = held(output)
    accept(run.verdict)
    assert publish_judged(run, FEWER, None).status == "published"


# === Cleaned ===


@pytest.mark.parametrize("anew", [False, True], ids=["accepted", "judged anew"])
def test_a_run_that_was_let_pass_and_could_not_be_loaded_is_not_cleaned(
    output: str, anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks(output)
    run = held(output, started=NOW - dt.timedelta(3))

    def fails(*_: object) -> None:
        raise PublishError("BigQuery is away")

    with monkeypatch.context() as patch:
        patch.setattr(table_load, "publication_of", fails)
        with pytest.raises(PublishError, match="BigQuery is away"):
            publish_judged(run, Gate(), None) if anew else publish_again(output, run.run_id, accepted=True)
    assert status(run) == "passed"
    (found,) = clean(output)
    assert (found.what, found.kept) == (f"run {run.run_id}", True)
    assert ("is accepted, and kept until" in found.why) != anew
    later = clean(output, now=NOW + dt.timedelta(10))
    assert [one.kept for one in later] == ([False] if anew else [True])
    if not anew:
        assert publish_again(output, run.run_id).status == "published"
        assert read_parts(output) == rows_of(run, ("a", "b"))


@pytest.mark.parametrize(("days", "stays"), [(13, True), (15, False)])
def test_it_is_kept_for_fourteen_days(output: str, days: int, stays: bool) -> None:
    weeks(output)
    run = held(output, started=NOW - dt.timedelta(days))
    for dry_run in (True, False):
        (found,) = clean(output, days=0, dry_run=dry_run)
        assert (found.kept, found.what) == (stays, f"run {run.run_id}")
        assert ("is held, and kept until" in found.why) == stays
    assert (len(folder_of(run)) > 1) == stays
    code = invoke("publish", run.run_id, "--output", output, "--accept")[0]
    assert code == (0 if stays else 2)


def test_one_that_can_no_longer_be_published_is_cleaned_as_others_are(output: str) -> None:
    weeks(output)
    run = held(output, started=NOW - dt.timedelta(5))
    publish(ready(output))
    assert [(found.what, found.kept) for found in clean(output)] == [(f"run {run.run_id}", False)]


def test_a_run_that_is_cleaned_away_cannot_be_accepted_meanwhile(output: str) -> None:
    from transforms.runs.verdicts import abandon

    weeks(output)
    run = held(output)
    assert abandon(run.verdict, run.run_id, NOW).status == "abandoned"
    assert publish_again(output, run.run_id, accepted=True).status == "abandoned"
    assert visible(output) == set()
