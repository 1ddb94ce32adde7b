"""What a verdict lets pass and what it stops, and work that was done twice: on a disk and on gs://."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs.publishing import (
    Killed,
    assert_holds,
    before,
    die,
    judge_and_publish_counts,
    judged,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    scored,
    status,
    visible,
)

from transforms.errors import PublishError
from transforms.publish.commit import publish
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.row_counts import Work
from transforms.runs.verdict_record import Part, Verdict
from transforms.runs.verdicts import read_verdict, settle, write_verdict
from transforms.stores.choose import store_for

# === What must not be published ===


@pytest.mark.parametrize("change", ["delete", "change"])
def test_a_staged_file_that_is_gone_or_changed_stops_the_run(change: str, output: str) -> None:
    old = ready(output)
    publish(old)
    run, store = ready(output), store_for(output)
    file = store.list(run.staged)[1]
    if change == "delete":
        store.delete(file)
    else:
        store.write(file, b"other")
    with pytest.raises(PublishError, match=Path(file).name):
        publish(run)
    assert read_parts(output) == rows_of(old)
    assert status(run) == "passed"
    # What was copied before the fault goes with the next run.
    fresh = ready(output)
    publish(fresh)
    assert_holds(output, fresh)


def test_an_exceeded_budget_keeps_its_dead_letters_and_the_published_date(output: str) -> None:
    old = ready(output)
    publish(old)
    run = planned(output, budget=ErrorBudget(fraction=0.1))
    for _ in range(2):
        with pytest.raises(PublishError, match="1 of 5 rows are dead letters"):
            judge_and_publish_counts(run, row_counts(run))
    verdict = read_verdict(run.verdict)
    assert verdict
    assert verdict.status == "over_budget"
    assert verdict.dead_codes == {"not_json": [1, "in.parquet#4"]}
    assert all(store_for(output).stat(part.staged) for part in verdict.dead_letters)
    assert_holds(output, old)


def test_books_that_do_not_balance_publish_nothing(output: str) -> None:
    old = ready(output)
    publish(old)
    run = planned(output)
    read, files, dead = row_counts(run)
    with pytest.raises(PublishError, match="split 0"):
        judge_and_publish_counts(run, (read, files[1:], dead))
    assert status(run) == "unbalanced"
    assert_holds(output, old)


def test_a_file_with_other_rows_than_it_was_given_does_not_balance(output: str) -> None:
    run = planned(output)
    read, files, dead = row_counts(run)
    with pytest.raises(PublishError, match="2 rows were given to the file, 1 are in it"):
        judge_and_publish_counts(run, (read, [replace(files[0], rows=1), *files[1:]], dead))


@pytest.mark.parametrize(
    ("budget", "dead", "read", "exceeded"),
    [
        (ErrorBudget(), 0, 0, False),
        (ErrorBudget(fraction=0), 0, 0, False),
        (ErrorBudget(fraction=0, rows=0), 0, 10, False),
        (ErrorBudget(fraction=0), 1, 1_000_000_000, True),
        (ErrorBudget(fraction=1), 10, 10, False),
        (ErrorBudget(fraction=0.01), 10, 1000, False),
        (ErrorBudget(fraction=0.01), 11, 1000, True),
        (ErrorBudget(fraction=0.29), 29, 100, False),
        (ErrorBudget(fraction=1, rows=5), 5, 10, False),
        (ErrorBudget(fraction=1, rows=5), 6, 10, True),
        (ErrorBudget(fraction=1, rows=0), 1, 10, True),
    ],
)
def test_the_error_budget_is_exact_at_its_edges(budget: ErrorBudget, dead: int, read: int, exceeded: bool) -> None:
    assert bool(budget.exceeded(dead, read)) == exceeded


def test_every_whole_percentage_allows_exactly_that_many_rows() -> None:
    for percent in range(101):
        budget = ErrorBudget(fraction=percent / 100)
        assert not budget.exceeded(percent, 100)
        assert percent == 100 or budget.exceeded(percent + 1, 100)


@pytest.mark.parametrize("wrong", [{"fraction": -0.1}, {"fraction": 1.1}, {"fraction": float("nan")}, {"rows": -1}])
def test_an_impossible_budget_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--max-dead"):
        ErrorBudget(**wrong)


# === Verdicts, and work done twice ===


def test_a_verdict_is_read_as_it_was_written_and_the_first_one_stands(output: str) -> None:
    run = planned(output)
    part = Part(staged="s", path="p", rows=1, bytes=2, checksum="crc32c:00000000")
    verdict = Verdict(
        status="passed",
        run_id=run.run_id,
        folder=run.folder,
        problems=("é", "b"),
        counts={"read": 3, "scored": 3, "dead": 0},
        dead_codes={"not_json": [1, "f#1"]},
        work=Work(scored=1, tokens=3, padded=4, precision="float32")._asdict(),
        files=(part,),
        dead_letters=(replace(part, rows=7),),
    )
    assert read_verdict(run.verdict) is None
    assert settle(run.verdict, "published") is None
    write_verdict(run, verdict)
    assert read_verdict(run.verdict) == verdict
    assert verdict.padding_factor == 1.3333
    write_verdict(run, replace(verdict, status="unbalanced"))
    assert status(run) == "passed"
    assert settle(run.verdict, "published") == read_verdict(run.verdict) == replace(verdict, status="published")
    settle(run.verdict, "superseded")
    assert status(run) == "published"


def test_judging_and_publishing_again_with_other_files_keeps_to_the_first(output: str) -> None:
    run = planned(output)
    first, second = row_counts(run), row_counts(run)
    verdict = judge_and_publish_counts(run, first)
    read, files, dead = second
    assert judge_and_publish_counts(run, (read[::-1], files[::-1], dead[::-1])) == verdict
    assert_holds(output, run)


def test_a_try_that_died_after_its_verdict_and_the_next_publish_the_same_files(output: str) -> None:
    run = planned(output)
    judged(run, row_counts(run))
    with pytest.raises(Killed):
        publish(run, before("commit", die))
    prepared = visible(output)
    assert judge_and_publish_counts(run, row_counts(run)).status == "published"
    assert visible(output) == prepared
    assert_holds(output, run)


def test_a_bundle_that_was_written_twice_is_published_once(output: str) -> None:
    run = planned(output)
    thrown_away = scored(run)
    found = row_counts(run)
    assert not {file.path for file in thrown_away} & {file.path for file in found[1]}
    assert judge_and_publish_counts(run, found).status == "published"
    assert_holds(output, run)
