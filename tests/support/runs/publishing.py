"""Runs that are ready to be published, made without a model, and what readers then find."""

import datetime as dt
import io
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.dead_letters import position_columns, reject_positions
from transforms.batches.misfits import named
from transforms.batches.repeated import PRECISION_FIELD, repeated
from transforms.batches.schemas import Columns, with_positions
from transforms.batches.text_digests import text_digests
from transforms.publish.commit import STEPS, publish
from transforms.publish.step import judge_and_publish
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.plan import Piece, Plan, Split, write_plan
from transforms.runs.row_counts import Count, count_positions
from transforms.runs.run import Run, manifest_path, new_run_id, read_manifest
from transforms.runs.staged import StagedFile
from transforms.runs.verdicts import judge, read_verdict, write_verdict
from transforms.stores.choose import store_for
from transforms.stores.paths import join
from transforms.write import _Stage, _StageDeadLetters

DATE = dt.date(2026, 11, 21)
SOURCE = "in.parquet"
SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("run_id", pa.string(), nullable=False)])
ROWS = ("a", "b", "c", "d")
DIGESTS = False
"""Whether the runs keep digests of their texts."""
_numbers = itertools.count()

Row = tuple[str, str]
RowCounts = tuple[list[Count], list[StagedFile], list[StagedFile]]


def planned(
    output: str,
    *,
    date: dt.date = DATE,
    rows: int = len(ROWS) + 1,
    table: dict[str, Any] | None = None,
    started: dt.datetime = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC),
    **settings: Any,
) -> Run:
    """A run of the date as it is now: one split for each two rows, and its plan; `table` is a TableSink in JSON."""
    manifest, _ = read_manifest(manifest_path(output, date))
    started += dt.timedelta(seconds=next(_numbers))
    run = Run(
        run_id=new_run_id(started),
        output=output,
        date=date,
        started=started,
        sequence=manifest["sequence"] if manifest else 0,
        bundle="test@0123",
        **{"budget": ErrorBudget(fraction=1), **settings},
    )
    piece = {"file": SOURCE, "size": 1, "version": "1", "format": "parquet"}
    splits = tuple(
        Split(number=n, pieces=(Piece(number=n, first_row=2 * n, rows=min(2, rows - 2 * n), **piece),))
        for n in range((rows + 1) // 2)
    )
    about: dict[str, object] = {"run": run.to_json(), "settings": {"top_k": None}, "table": table, "inputs": []}
    write_plan(store_for(output), run.plan, Plan(columns=Columns(text="text"), splits=splits), about)
    return run


def scored(run: Run, ids: Sequence[str] = ROWS) -> list[StagedFile]:
    """A staged file for each two rows."""
    files = []
    for split in range((len(ids) + 1) // 2):
        part = ids[2 * split : 2 * split + 2]
        where = position_columns(SOURCE, split, pa.array(range(2 * split, 2 * split + len(part))).to_numpy())
        digests = [text_digests(pa.array(part))] if DIGESTS else []
        columns = [
            *where,
            named(len(part), {}),
            repeated("float32", PRECISION_FIELD, len(part)),
            *digests,
            pa.array(part, pa.string()),
            pa.array([run.run_id] * len(part)),
        ]
        schema = with_positions(SCHEMA, digests=DIGESTS)
        files += run_bundle(_Stage(run, schema, SCHEMA), pa.RecordBatch.from_arrays(columns, schema=schema))
    return files


def dead(run: Run, rows: Sequence[int]) -> list[StagedFile]:
    """One staged file of dead letters for the rows at these positions, or none."""
    stage = _StageDeadLetters(run)
    batches = []
    for row in rows:
        at = pa.array([row]).to_numpy()
        batches += reject_positions("Read", "not_json", "is not", source=SOURCE, split=row // 2, rows=at)
    return run_bundle(stage, *batches)


def run_bundle(stage: _Stage, *batches: pa.RecordBatch) -> list[StagedFile]:
    """What the runner does with one Beam bundle."""
    stage.start_bundle()
    files = [file for batch in batches for file in stage.process(batch)]
    return files + [windowed.value for windowed in stage.finish_bundle()]


def row_counts(run: Run, ids: Sequence[str] = ROWS, dead_rows: Sequence[int] = (len(ROWS),)) -> RowCounts:
    """What reaches PublishRun: rows with these ids, and dead letters of the rows at these positions."""
    positions = [*range(len(ids)), *dead_rows]
    read = [count_positions(row // 2, SOURCE, pa.array([row]).to_numpy()) for row in positions]
    return read, scored(run, ids), dead(run, dead_rows)


def ready(output: str, **settings: Any) -> Run:
    """A run of four rows and a dead letter that has its verdict."""
    run = planned(output, **settings)
    judged(run, row_counts(run))
    return run


def judged(run: Run, found: RowCounts) -> None:
    read, files, dead_files = found
    splits = Plan(columns=Columns(text="text")).splits
    write_verdict(run, judge(run, splits, read=read, scored=files, dead=dead_files, work=[]))


def judge_and_publish_counts(run: Run, found: RowCounts) -> Any:
    read, files, dead_files = found
    return judge_and_publish(run, read, files, dead_files, [])


def read_parts(output: str, date: dt.date = DATE, key: str = "files") -> list[Row]:
    """(id, run_id) of the published rows, as a reader of the manifest sees them."""
    manifest, _ = read_manifest(manifest_path(output, date))
    if manifest is None:
        return []
    found: list[Row] = []
    for part in manifest[key]:
        data = store_for(output).read(join(output, part["path"]))
        if data is None:
            raise FileNotFoundError(part["path"])
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        found += [(row["id"], row["run_id"]) for row in rows]
    return sorted(found, key=str)


def rows_of(run: Run, ids: Sequence[str] = ROWS) -> list[Row]:
    return [(id_, run.run_id) for id_ in ids]


def visible(output: str, date: dt.date = DATE) -> set[str]:
    """Parts and dead letters of the date that a reader that globs would see, as paths below the output."""
    store, name = store_for(output), f"dt={date.isoformat()}"
    found = [*store.list(join(output, name)), *store.list(join(output, "_dead_letters", name))]
    return {path.removeprefix(output + "/") for path in found if not path.endswith("_manifest.json")}


def assert_holds(output: str, run: Run) -> None:
    """The date is finished and holds the rows of `run`, once, and no file besides."""
    manifest, _ = read_manifest(manifest_path(output, run.date))
    assert manifest
    assert (manifest["run_id"], manifest["finished"]) == (run.run_id, True)
    assert read_parts(output, run.date) == rows_of(run)
    assert len(read_parts(output, run.date, "dead_letters")) == 1
    listed = [*manifest["files"], *manifest["dead_letters"]]
    listed += [part["digests"] for part in manifest["files"] if "digests" in part]
    assert visible(output, run.date) == {part["path"] for part in listed}
    store = store_for(output)
    for part in listed:
        assert store.checksum(join(output, part["path"])) == part["checksum"]
    assert store.list(run.staged) == []


COMMITTED = STEPS[STEPS.index("commit") + 1 :]


class Killed(BaseException):
    """A publisher ends here."""


def before(step: str, act: Callable[[], object]) -> Callable[[str], None]:
    """A hook that does something before one step."""

    def at(reached: str) -> None:
        assert reached in STEPS
        if reached == step:
            act()

    return at


def die() -> None:
    raise Killed


def status(run: Run) -> str:
    verdict = read_verdict(run.verdict)
    assert verdict
    return verdict.status


def in_lockstep(*runs: Run) -> list[str]:
    """Publishes in threads that wait for each other before every step; nobody waits once one has come to its end."""
    barrier = threading.Barrier(len(runs))
    ends: list[str] = []

    def wait(step: str) -> None:
        try:
            barrier.wait(5)
        except threading.BrokenBarrierError:
            return

    def work(run: Run) -> None:
        ends.append(publish(run, wait).status)
        barrier.abort()

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(ends)
