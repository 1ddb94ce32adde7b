"""Columns that stand in the paths of files, through the whole pipeline; pyarrow's own reading of them is the truth."""

import csv
import datetime as dt
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from support.jobs import DATE, Outcome, Score, write_parquet

from pipeline.errors import RunFailedError
from transforms.errors import NoInputError, PlanError
from transforms.score import macro_batch

NULL = "__HIVE_DEFAULT_PARTITION__"


def column(outcome: Outcome, name: str) -> dict[str, Any]:
    """id -> value of a kept column; every row is scored."""
    assert outcome.verdict.status == "published", outcome.verdict.problems
    assert outcome.manifest["counts"]["dead"] == 0
    return {row["id"]: row[name] for row in outcome.rows()}


def file(path: Path, *ids: str, **columns: list[Any]) -> Path:
    """A Parquet file of texts with these ids."""
    return write_parquet(path, {"id": list(ids), "text": [f"play {id}" for id in ids], **columns})


def test_folders_whose_keys_begin_with_an_underscore_are_read_and_other_such_names_are_not(
    run_job: Score, tmp_path: Path
) -> None:
    """As Spark does."""
    file(tmp_path / "in/_lang=de/x.parquet", "a")
    file(tmp_path / "in/_lang=en/_day=3/y.parquet", "b")
    for hidden in ("_temporary/z.parquet", "_lang=de/_SUCCESS.parquet", ".x=1/z.parquet", "_lang=de/.part.parquet"):
        file(tmp_path / "in" / hidden, "c")
    for source in (tmp_path / "in", tmp_path / "in/**/*.parquet"):
        outcome = run_job(source, keep="_lang")
        assert column(outcome, "_lang") == {"a": "de", "b": "en"}


def test_folders_of_numbers_are_found_by_parts_without_leading_zeros(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / "in/year=2026/month=3/day=5/x.parquet", "a")
    pattern = f"{tmp_path}/in/year={{date:%Y}}/month={{date:%-m}}/day={{date:%-d}}"
    outcome = run_job(pattern, date="2026-03-05")
    assert outcome.verdict.counts["read"] == 1
    with pytest.raises(NoInputError, match=r"--allow-missing\); for folders without leading zeros write \{date:%-d\}"):
        run_job(pattern.replace("%-", "%"), date="2026-03-05")


VALUES = ["de", "New York", "ü", "a=b", "50%", "a/b", "a%2Fb", "x+y", "'\"#:?*[]{}", "tab\there", "🙂", "1e5", None]


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_that_pyarrow_wrote_has_the_columns_that_pyarrow_reads(run_job: Score, tmp_path: Path) -> None:
    ids = [f"r{i}" for i in range(2 * len(VALUES))]
    rows = pa.table({"id": ids, "text": ["play a song"] * len(ids), "key": VALUES * 2, "n": [1, 2] * len(VALUES)})
    kinds = ds.partitioning(pa.schema([("key", pa.string()), ("n", pa.int64())]), flavor="hive")
    ds.write_dataset(rows, tmp_path / "in", format="parquet", partitioning=kinds)
    outcome = run_job(tmp_path / "in")
    read = ds.dataset(tmp_path / "in", partitioning=kinds).to_table().to_pylist()
    assert column(outcome, "key") == {row["id"]: row["key"] for row in read} == dict(zip(ids, VALUES * 2, strict=True))
    assert column(outcome, "n") == {row["id"]: str(row["n"]) for row in read}, "text unless --schema types it"
    # Spark writes other characters in per cent codes than pyarrow, and both are read.
    assert (tmp_path / "in/key=New%20York").is_dir()


def test_a_folder_as_spark_and_people_write_it(run_job: Score, tmp_path: Path) -> None:
    names = {"a": "New York", "b": "a%3Db%25", "c": "a=b", "d": "ü", "e": NULL, "f": "", "g": "100%", "h": "%zz%ff"}
    for id, name in names.items():
        file(tmp_path / f"in/a%20key={name}/part-0.parquet", id)
    found = column(run_job(tmp_path / "in"), "a key")
    assert found == {
        "a": "New York", "b": "a=b%", "c": "a=b", "d": "ü", "e": None, "f": "", "g": "100%", "h": "%zz%ff"
    }  # fmt: skip


def rows_as(name: str, rows: list[dict[str, Any]]) -> bytes:
    """Rows in the format that the name of a file says, written by the standard library."""
    kind = name.lower()
    if "csv" in kind or "tsv" in kind:
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0], delimiter="\t" if "tsv" in kind else ",")
        writer.writeheader()
        writer.writerows(rows)
        data = out.getvalue().encode()
    elif kind.startswith("array"):
        data = ("[" + ",\r\n".join(json.dumps(row) for row in rows) + "]\r\n").encode()
    elif "json" in kind:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        data = "".join(row["text"] + "\n" for row in rows).encode()
    return gzip.compress(data, mtime=0) if kind.endswith(".gz") else data


NAMES = ["x.csv", "X.CSV.GZ", "x.Tsv", "x.jsonl", "x.JSON.gz", "x.json", "array.json", "array.JSON.GZ", "x.TXT"]


@pytest.mark.parametrize("name", NAMES)
def test_folders_are_columns_of_every_format_in_names_of_any_case(name: str, run_job: Score, tmp_path: Path) -> None:
    langs = {"de": "de", "fr%20": "fr ", NULL: None}
    expected: dict[str, Any] = {}
    for folder, value in langs.items():
        place = tmp_path / f"in/lang={folder}/day=2026-02-2{len(expected)}"
        place.mkdir(parents=True)
        rows = [{"id": f"{value}{i}", "text": f"play {value} {i}"} for i in range(2)]
        (place / name).write_bytes(rows_as(name, rows))
        for i in range(2):
            id = f"{place / name}#{i}" if "txt" in name.lower() else f"{value}{i}"
            expected[id] = (value, dt.date.fromisoformat(place.name.removeprefix("day=")))
    outcome = run_job(tmp_path / "in", schema={"day": "date"})
    days = column(outcome, "day")
    assert {id: (lang, days[id]) for id, lang in column(outcome, "lang").items()} == expected


def test_schema_types_a_folder_and_a_value_that_does_not_fit_is_null_and_counted(
    run_job: Score, tmp_path: Path
) -> None:
    for id, value in {"a": "5", "b": "05", "c": "five", "d": NULL, "e": ""}.items():
        file(tmp_path / f"in/n={value}/x.parquet", id)
    outcome = run_job(tmp_path / "in", schema={"n": "int64"})
    assert column(outcome, "n") == {"a": 5, "b": 5, "c": None, "d": None, "e": None}
    assert outcome.manifest["kept_misfits"] == {"n": 1}


def test_a_folder_may_be_the_id_or_the_text(run_job: Score, tmp_path: Path) -> None:
    for key in ("a b", NULL, "c"):
        write_parquet(tmp_path / f"in/key={key}/x.parquet", {"id": [f"of {key}"], "text": ["play a song"]})
    by_id = run_job(tmp_path / "in", id_column="key", rename={"id": "own"}, output=tmp_path / "id")
    assert {row["id"]: row["own"] for row in by_id.rows()} == {"a b": "of a b", "c": "of c"}
    assert [row["code"] for row in by_id.dead()] == ["missing_id"]
    by_text = run_job(tmp_path / "in", text_column="key", keep="text,key", output=tmp_path / "text")
    assert {row["id"]: (row["key"], row["text"]) for row in by_text.rows()} == {
        "of a b": ("a b", "play a song"),
        "of c": ("c", "play a song"),
    }
    assert [row["code"] for row in by_text.dead()] == ["missing_text"]


def test_keep_and_rename_know_folders_and_what_is_not_kept_is_not_asked_for(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / "in/lang=de/year=2026/x.parquet", "a", n=[1])
    file(tmp_path / "in/lang=fr/x.parquet", "b", n=[2])
    outcome = run_job(tmp_path / "in", keep="lang", rename={"lang": "split"})
    assert {row["id"]: row["split"] for row in outcome.rows()} == {"a": "de", "b": "fr"}
    assert not {"n", "year", "lang"} & outcome.rows()[0].keys()


def test_a_file_without_a_folder_that_others_have_is_named(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / "in/Lang=de/a.parquet", "a")
    file(tmp_path / "in/lang=de/b.parquet", "b")
    with pytest.raises(PlanError, match=r"Lang=de/a\.parquet: has neither a folder lang=… in its .*b\.parquet"):
        run_job(tmp_path / "in")
    (tmp_path / "in/Lang=de/a.parquet").rename(tmp_path / "in/a.parquet")
    with pytest.raises(PlanError, match=r"in/a\.parquet: has neither a folder lang=… .*nor a column 'lang'.*--keep"):
        run_job(tmp_path / "in")
    assert run_job(tmp_path / "in", keep="none").verdict.counts["scored"] == 2


def test_a_key_that_stands_twice_in_a_path_is_an_error_if_it_is_wanted(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / "in/v=1/v=2/x.parquet", "a")
    with pytest.raises(PlanError, match=r"x\.parquet: two folders of its path have the key 'v'"):
        run_job(tmp_path / "in")
    assert run_job(tmp_path / "in", keep="none").verdict.counts["scored"] == 1


# === A folder and a column of one name ===


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "array.json"])
def test_a_column_that_says_the_same_as_its_folder_is_that_column(name: str, run_job: Score, tmp_path: Path) -> None:
    """As polars writes data sets: the keys are in the files too, in their own types."""
    for month in (9, 10):
        rows = [{"id": f"{month} {i}", "text": "play a song", "month": month} for i in range(2)]
        place = tmp_path / f"in/month={month}"
        place.mkdir(parents=True)
        if name == "x.parquet":
            write_parquet(place / name, pa.Table.from_pylist(rows))
        else:
            (place / name).write_bytes(rows_as(name, rows))
    found = column(run_job(tmp_path / "in"), "month")
    kind = str if name == "x.csv" else int
    assert found == {f"{month} {i}": kind(month) for month in (9, 10) for i in range(2)}


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "array.json", "x.txt"])
def test_a_column_that_says_otherwise_than_its_folder_is_refused_if_it_is_wanted(
    name: str, run_job: Score, tmp_path: Path
) -> None:
    key = "text" if name == "x.txt" else "date"
    place = tmp_path / f"in/{key}=2026-11-21"
    place.mkdir(parents=True)
    rows = [{"id": "a", "text": "play a song", "date": "1999-01-01"}]
    if name == "x.parquet":
        write_parquet(place / name, pa.Table.from_pylist(rows))
    else:
        (place / name).write_bytes(rows_as(name, rows))
    with pytest.raises(PlanError, match=rf"{name}: its column '{key}' has other values than the folder {key}=… in its"):
        run_job(tmp_path / "in")
    if key == "date":
        assert run_job(tmp_path / "in", keep="none").verdict.counts["scored"] == 1


def test_later_rows_that_say_otherwise_are_dead_letters_and_those_without_a_value_have_the_folders(
    run_job: Score, tmp_path: Path
) -> None:
    place = tmp_path / "in/lang=de"
    place.mkdir(parents=True)
    rows: list[dict[str, Any]] = [{"id": f"r{i}", "text": f"play {i}"} for i in range(1_100)]
    rows[3]["lang"], rows[1_050]["lang"] = "de", "fr"
    # The first block is what planning looks at.
    (place / "a.jsonl").write_bytes(rows_as("a.jsonl", rows) + b" " * (9 << 20) + b"\n")
    lang = pa.array(["de"] * 9_000 + [None, "fr"])
    write_parquet(tmp_path / "other/lang=de/b.parquet", {"id": [f"p{i}" for i in range(9_002)], "lang": lang,
                  "text": ["play"] * 9_002})  # fmt: skip
    with pytest.raises(PlanError):
        run_job(tmp_path / "in")
    outcome = run_job(tmp_path / "other", trust_ids=True)
    assert {row["lang"] for row in outcome.rows()} == {"de"}
    assert [(row["row"], row["code"]) for row in outcome.dead()] == [(9_001, "wrong_folder")]
    assert outcome.manifest["counts"] == {"read": 9_002, "scored": 9_001, "skipped": 0, "dead": 1}


# === Dates ===


def test_parts_of_the_date_in_the_input_are_columns(run_job: Score, tmp_path: Path) -> None:
    for day in (20, 21):
        file(tmp_path / f"in/year=2026/month=11/day={day}/hour=03/x.parquet", f"r{day}")
    pattern = tmp_path / "in/year={date:%Y}/month={date:%m}/day={date:%d}/*/*.parquet"
    (row,) = run_job(pattern, schema={"year": "int64", "month": "int64"}).rows()
    assert [row[name] for name in ("id", "year", "month", "day", "hour")] == ["r21", 2026, 11, "21", "03"]


def test_the_path_of_one_file_whose_keys_come_from_the_date_alone(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / f"in/day={DATE}/x.parquet", "a")
    (row,) = run_job(tmp_path / "in/day={date}/x.parquet", schema={"day": "date"}).rows()
    assert row["day"] == dt.date.fromisoformat(DATE)


def test_a_folder_dt_is_not_kept_beside_that_of_the_output_unless_it_is_renamed(run_job: Score, tmp_path: Path) -> None:
    """So that inputs by date, and what another output has published, are read as they were."""
    file(tmp_path / "in/dt=2026-11-20/x.parquet", "a")
    (row,) = run_job(tmp_path / "in").rows()
    assert "dt" not in row
    (row,) = run_job(tmp_path / "in", rename={"dt": "day"}).rows()
    assert row["day"] == "2026-11-20"
    with pytest.raises(PlanError, match=r"column 'dt' has the name of an output column.*--rename dt=input_dt"):
        run_job(tmp_path / "in", keep="dt")


def test_only_what_the_job_names_of_a_path_counts(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody works in `lr=0.1/`, and has data beside it."""
    (tmp_path / "lr=0.1").mkdir()
    monkeypatch.chdir(tmp_path / "lr=0.1")
    file(tmp_path / "lr=0.1/data/lang=de/x.parquet", "a")
    file(tmp_path / "lang=fr/x.parquet", "b")
    (row,) = run_job("data").rows()
    assert ("lr" in row, row["lang"]) == (False, "de")
    (row,) = run_job("../lang=fr/x.parquet").rows()
    assert ("lr" in row, row["lang"]) == (False, "fr")
    (row,) = run_job(tmp_path / "lr=0.1/data").rows()
    assert (row["lr"], row["lang"]) == ("0.1", "de")


# === Nights ===


def test_unchanged_texts_get_the_values_of_todays_folders(run_job: Score, tmp_path: Path) -> None:
    file(tmp_path / "in/lang=de/x.parquet", "a", "b")
    first = run_job(tmp_path / "in", keep_text_digests=True)
    assert column(first, "lang") == {"a": "de", "b": "de"}
    (tmp_path / "in/lang=de").rename(tmp_path / "in/lang=fr")
    second = run_job(tmp_path / "in", only_new=True)
    assert second.manifest["counts"] == {"read": 2, "scored": 0, "skipped": 2, "dead": 0}
    assert {row["id"]: row["lang"] for row in second.rows()} == {"a": "fr", "b": "fr"}


def test_a_run_that_died_is_gone_on_with_and_another_folder_is_another_work(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 1)
    for value in "abc":
        file(tmp_path / f"in/key={value}/x.parquet", value)
    score_all: Callable[..., Any] = macro_batch._score_all
    calls: list[int] = []

    def fails(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the machine is gone")
        return score_all(*given)

    monkeypatch.setattr(macro_batch, "_score_all", fails)
    with pytest.raises(RunFailedError):
        run_job(tmp_path / "in")
    outcome = run_job(tmp_path / "in")
    assert outcome.manifest["splits_taken_over"] == 1
    assert column(outcome, "key") == {"a": "a", "b": "b", "c": "c"}
