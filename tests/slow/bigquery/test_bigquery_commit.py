"""The transaction that replaces a date, under snapshot isolation: of two publishers at once, one set of rows wins."""

import datetime as dt
import json
import subprocess
from typing import Any

import pytest
from support.cloud.emulators import BIN
from support.commands import ROOT

from transforms.publish.table_commit import reservation, transaction
from transforms.publish.table_load import Publication
from transforms.publish.table_sink import TableSink

DATE = dt.date(2026, 11, 21)
ORDERS = 50
FIELDS = [{"name": name, "type": "STRING"} for name in ("id", "run_id")] + [{"name": "logical_date", "type": "DATE"}]
FINAL = (
    'SELECT (SELECT LIST(id || run_id ORDER BY id) FROM "p.d.t"), '
    '(SELECT LIST(id || run_id) FROM "p.d.t__dead_letters"), (SELECT LIST(sequence || run_id) FROM "p.d.t__published")'
)


def publication(run_id: str, sequence: int, bundle: str = "b@0") -> Publication:
    """Two rows and a dead letter."""
    sink = TableSink(table="p.d.t", fields=FIELDS, dead_letters=True)
    part = {"path": "p", "staged": "s", "checksum": "c"}
    manifest = {
        "run_id": run_id,
        "sequence": sequence,
        "logical_date": DATE.isoformat(),
        "bundle": bundle,
        "counts": {"scored": 1, "skipped": 1},
        "files": [{**part, "rows": 2}],
        "dead_letters": [{**part, "rows": 1}],
    }
    return Publication(home="gs://b/o", sink=sink, manifest=manifest)


def in_duckdb(sql: str) -> str:
    return sql.replace("`", '"').replace("@date", f"DATE '{DATE}'").replace("CURRENT_TIMESTAMP()", "now()").rstrip(";")


def table(name: str, fields: list[dict[str, Any]]) -> str:
    types = {"INTEGER": "BIGINT", "STRING": "VARCHAR"}
    columns = ", ".join(f'"{field["name"]}" {types.get(field["type"], field["type"])}' for field in fields)
    return f'CREATE TABLE "{name}" ({columns})'


def outcomes(
    before: Publication | None, publications: list[Publication], *, reserve: bool = True, loaded: bool = True
) -> list[str]:
    """What the tables hold after two publishers ran at once, in many orders."""
    *targets, record = publications[0].sink.resources
    fields = [target.fields for target in publications[0].sink.targets]
    setup = [table(f"p.d.{r['tableReference']['tableId']}", f) for r, f in zip(targets, fields, strict=True)]
    setup.append(table("p.d.t__published", record["schema"]["fields"]))
    for one in {p.run_id: p for p in [*filter(None, [before]), *publications]}.values():
        for staged in one.staging_tables:
            setup.append(table(staged.name, staged.target.fields))
            names = ", ".join(field["name"] for field in staged.target.fields)
            values = {"id": "'x' || i", "run_id": f"'{one.run_id}'", "logical_date": f"DATE '{DATE}'"}
            chosen = ", ".join(values.get(field["name"], "NULL") for field in staged.target.fields)
            if loaded:
                setup.append(f'INSERT INTO "{staged.name}" ({names}) SELECT {chosen} FROM range({staged.rows}) t(i)')
    if before:
        setup += statements(before, 0, reserve=True)
    publishers = [statements(one, number + 1, reserve=reserve) for number, one in enumerate(publications)]
    given = {"setup": setup, "publishers": publishers, "final": FINAL, "orders": ORDERS}
    done = subprocess.run(
        [BIN / "python", ROOT / "tests/support/cloud/duckdb_transactions.py"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(done.stdout))


def statements(one: Publication, second: int, *, reserve: bool) -> list[str]:
    now = dt.datetime(2026, 11, 22, 2, 0, second, 123456, tzinfo=dt.UTC)
    script = transaction(one, now).split(";\n")
    return [in_duckdb(sql) for sql in [*([reservation(one)] if reserve else []), *script]]


def holding(run_id: str, sequence: int) -> str:
    return f"[(['x0{run_id}', 'x1{run_id}'], ['x0{run_id}'], ['{sequence}{run_id}'])]"


@pytest.mark.parametrize("before", [None, publication("R0", 3)], ids=["first", "again"])
def test_two_publishers_of_one_run_put_its_rows_there_once(before: Publication | None) -> None:
    assert outcomes(before, [publication("R1", 4)] * 2) == [holding("R1", 4)]


@pytest.mark.parametrize("before", [None, publication("R0", 3)], ids=["first", "again"])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_runs_the_later_one_has_the_date(before: Publication | None, turned: bool) -> None:
    runs = [publication("R1", 4), publication("R2", 5)]
    assert outcomes(before, runs[::-1] if turned else runs) == [holding("R2", 5)]


def test_without_a_reserved_row_both_would_succeed_the_first_time() -> None:
    found = outcomes(None, [publication("R1", 4)] * 2, reserve=False)
    assert any(outcome.count("x0R1") > 2 for outcome in found)


def test_a_publisher_whose_staging_tables_are_not_complete_changes_nothing() -> None:
    assert outcomes(None, [publication("R1", 4)] * 2, loaded=False) == ["[(None, None, ['0'])]"]
    rows = publication("R0", 4)
    assert outcomes(rows, [rows, publication("R1", 4)]) == [holding("R0", 4)]


def test_the_record_counts_the_rows_of_all_files() -> None:
    script = transaction(publication("R1", 1), dt.datetime(2026, 11, 22, tzinfo=dt.UTC))
    (record,) = (line for line in script.split(";\n") if "INSERT INTO `p.d.t__published`" in line)
    assert "'R1', 'b@0', 2, TIMESTAMP" in record


def test_the_name_of_a_bundle_stays_inside_its_quotes() -> None:
    name = "a'b\\c\"d\ne\rf`g;--é@0"
    script = transaction(publication("R1", 1, name), dt.datetime(2026, 11, 22, tzinfo=dt.UTC))
    assert "'a\\'b\\\\c\"d\\ne\\rf`g;--é@0'" in script
    assert "\ne" not in script
