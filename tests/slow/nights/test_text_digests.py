"""Digests of texts: what a second text with the same `text_hash` cannot get past, and the files they are kept in."""

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built, build_bundle
from support.jobs import Outcome, Score, many_texts, write_parquet
from typer.testing import CliRunner

from pipeline.commands import app as cli
from pipeline.jobs.config import JobConfig
from transforms.batches.fingerprints import text_hash
from transforms.batches.schemas import Columns
from transforms.batches.text_digests import WIDTH, text_digests
from transforms.outputs.digest_files import HEADER, as_rows, published_beside, read_digests, staged_beside
from transforms.runs.plan import Plan, plan_digest

FORGED = {
    "play the song": "rG3XIW973tbvsw axclrWQV35k2ueyds",
    "book a restaurant for me": "t9w2.%S5gzytrb5qNXMB6W,`w y1v73o",
    "rate the movie": ";)[9S^#b63hp2055bs**3Io^0nf731t7",
}
"""Texts with the same FarmHash64. For 32 bytes it is two sums of four words, each a product with an odd number: two
words are drawn until the other two, which follow from the wanted sums, are printable (2 to 6 s, one core)."""
NIGHTS = ["2026-11-20", "2026-11-21", "2026-11-22"]
texts = st.text(max_size=12)


def night(run_job: Score, rows: dict[str, Any], date: str, tmp_path: Path, **settings: Any) -> Outcome:
    file = write_parquet(tmp_path / f"{date}-{len(list(tmp_path.iterdir()))}.parquet", rows)
    now = dt.datetime.fromisoformat(f"{date}T02:00:00+00:00") + dt.timedelta(days=1)
    outcome = run_job(file, date=date, now=now, **settings)
    return Outcome(verdict=outcome.verdict, output=outcome.output, date=date)


def scores(outcome: Outcome) -> dict[str, Any]:
    return {row["id"]: (row["label"], pytest.approx(row["probability"], abs=1e-6)) for row in outcome.rows()}


def counts(outcome: Outcome) -> tuple[int, int]:
    return outcome.manifest["counts"]["scored"], outcome.manifest["counts"]["skipped"]


def digests_of(outcome: Outcome) -> dict[str, bytes]:
    """What the files of digests say, by id."""
    found = {}
    for part in outcome.manifest["files"]:
        ids = pq.ParquetFile(outcome.output / part["path"]).read(["id"]).column("id").to_pylist()
        digests = read_digests(str(outcome.output / part["digests"]["path"])).to_pylist()
        found |= dict(zip(ids, digests, strict=True))
    return found


# === What a digest is ===


@given(st.lists(texts, max_size=5), st.integers(0, 3))
def test_a_digest_is_the_first_half_of_sha_256(values: list[str], start: int) -> None:
    column = text_digests(pa.array(values, pa.string()).slice(start))
    assert column.to_pylist() == [hashlib.sha256(value.encode()).digest()[:16] for value in values[start:]]
    assert as_rows(column).tobytes() == b"".join(column.to_pylist())
    assert as_rows(column.slice(1)).tobytes() == b"".join(column.to_pylist()[1:])


@given(texts, texts, texts, texts)
def test_no_pair_has_the_digest_of_another_or_of_a_single_text(a: str, b: str, c: str, d: str) -> None:
    left, right = (text_digests(pa.array([x]), pa.array([y]))[0] for x, y in ((a, b), (c, d)))
    assert (left == right) == ((a, b) == (c, d))
    assert left not in text_digests(pa.array([a + b, a, b, a + "\x1f" + b, a + "\ufffd" + b])).to_pylist()


@given(texts, texts, texts)
def test_what_moves_from_one_text_of_a_pair_to_the_other_changes_the_digest(a: str, b: str, c: str) -> None:
    first, second = (a + "\x1f" + b, c), (a, b + "\x1f" + c)
    (one,), (other,) = (text_hash(*(pa.array([text]) for text in pair)).to_pylist() for pair in (first, second))
    assert one == other  # Which is why it decides nothing.
    (one,), (other,) = (text_digests(*(pa.array([text]) for text in pair)).to_pylist() for pair in (first, second))
    assert one != other


def test_names_of_files_of_digests_are_none_that_readers_take() -> None:
    assert published_beside("out/dt=2026-11-21/part-R-00001.parquet") == "out/dt=2026-11-21/_digests-R-00001.sha128"
    assert published_beside("part-R-00001.parquet") == "_digests-R-00001.sha128"
    assert staged_beside("a/staged/scores-000001-ff.parquet") == "a/staged/scores-000001-ff.sha128"


@pytest.mark.parametrize("content", [b"", b"x" * WIDTH, HEADER + b"x" * 15, HEADER[:8]])
def test_another_file_is_not_taken_for_digests(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "d.sha128").write_bytes(content)
    with pytest.raises(ValueError, match="no file of text digests"):
        read_digests(str(tmp_path / "d.sha128"))
    with pytest.raises(FileNotFoundError):
        read_digests(str(tmp_path / "none.sha128"))


def job(**settings: Any) -> JobConfig:
    return JobConfig(bundle="b", input=("in.parquet",), output=("out",), **settings)


def test_a_run_that_an_earlier_version_staged_is_the_same_work() -> None:
    assert "keep_text_digests" not in job().compared_settings
    assert job(only_new=True).compared_settings == job(only_new=True, keep_text_digests=True).compared_settings
    assert job(keep_text_digests=True).compared_settings != job().compared_settings
    assert [job(**given).digests for given in ({}, {"only_new": True}, {"keep_text_digests": True})] == [0, 1, 1]
    plain, kept = (Plan(columns=Columns(text="text", digests=digests)) for digests in (False, True))
    # As it was before there were digests.
    wanted = "cefe36d92c70dd78fdac6ed1c1f7d6d08b797fcedb70e2861c008594fcc0ce5b"
    assert plan_digest(plain, {}) == plan_digest(kept, {}) == wanted


# === Nights ===


def test_a_text_made_to_have_yesterdays_hash_gets_a_score_of_its_own(run_job: Score, tmp_path: Path) -> None:
    assert text_hash(pa.array(list(FORGED))) == text_hash(pa.array(list(FORGED.values())))
    ids = [f"r{i}" for i in range(len(FORGED))]
    before = night(run_job, {"id": ids, "text": list(FORGED)}, NIGHTS[0], tmp_path, keep_text_digests=True)
    forged = {"id": ids, "text": list(FORGED.values())}
    full = night(run_job, forged, NIGHTS[1], tmp_path, output=tmp_path / "full")
    after = night(run_job, forged, NIGHTS[1], tmp_path, only_new=True)
    assert after.manifest["compared_with"]["date"] == NIGHTS[0]
    assert counts(after) == (3, 0)
    assert scores(after) == scores(full) != scores(before)
    assert {row["id"]: row["text_hash"] for row in after.rows()} == {r["id"]: r["text_hash"] for r in before.rows()}


def test_a_pair_whose_boundary_moved_gets_a_score_of_its_own(run_job: Score, vocabulary: Path, tmp_path: Path) -> None:
    bundle = build_bundle(tmp_path / "pairs", vocabulary, labels=("same", "other"), segments=2, truncator="waterfall")
    settings = {"bundle": str(bundle.path), "text_pair_column": "other", "only_new": True}
    first = {"id": ["a", "b"], "text": ["play\x1fsong", "me"], "other": ["my album", "you"]}
    night(run_job, first, NIGHTS[0], tmp_path, **settings)
    moved = {**first, "text": ["play", "me"], "other": ["song\x1fmy album", "you"]}
    after = night(run_job, moved, NIGHTS[1], tmp_path, **settings)
    assert counts(after) == (1, 1)
    full = night(run_job, moved, NIGHTS[1], tmp_path, **{**settings, "only_new": False}, output=tmp_path / "full")
    assert scores(after) == scores(full)


def test_a_night_hands_on_its_digests_scored_or_not(run_job: Score, tmp_path: Path) -> None:
    values = many_texts(30)
    rows = {"id": [f"r{i}" for i in range(30)], "text": values}
    first = night(run_job, rows, NIGHTS[0], tmp_path, only_new=True)
    rows["text"] = values[:20] + many_texts(10, 5)
    second = night(run_job, rows, NIGHTS[1], tmp_path, only_new=True)
    third = night(run_job, rows, NIGHTS[2], tmp_path, only_new=True)
    assert [counts(outcome) for outcome in (first, second, third)] == [(30, 0), (10, 20), (0, 30)]
    wanted = {key: hashlib.sha256(text.encode()).digest()[:16] for key, text in zip(*rows.values(), strict=True)}
    assert digests_of(second) == digests_of(third) == wanted
    for outcome in (first, second, third):
        folder = outcome.output / f"dt={outcome.date}"
        named = {part["digests"]["path"] for part in outcome.manifest["files"]}
        assert named == {f"{folder.name}/{path.name}" for path in folder.glob("_digests-*")}
        # A reader that globs sees rows alone.
        assert pq.read_table(folder).num_rows == 30


def test_digests_are_kept_only_where_they_were_asked_for(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    plain = night(run_job, rows, NIGHTS[0], tmp_path)
    kept = night(run_job, rows, NIGHTS[0], tmp_path, keep_text_digests=True, output=tmp_path / "kept")
    assert not list(plain.output.rglob("*.sha128"))
    assert "digests" not in plain.manifest["files"][0]
    columns = [pq.ParquetFile(o.output / o.manifest["files"][0]["path"]).schema_arrow.names for o in (plain, kept)]
    assert columns[0] == columns[1]
    # A date that is published again takes the digests of the old rows with it.
    old = kept.manifest["files"][0]["digests"]["path"]
    assert (kept.output / old).exists()
    again = night(run_job, rows, NIGHTS[0], tmp_path, keep_text_digests=True, output=tmp_path / "kept")
    assert not (kept.output / old).exists()
    assert list(kept.output.rglob("*.sha128")) == [again.output / again.manifest["files"][0]["digests"]["path"]]


def test_a_date_without_digests_is_scored_once_more_and_the_command_says_so(
    run_job: Score, tmp_path: Path, classes: Built
) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    first = night(run_job, rows, NIGHTS[0], tmp_path)
    file = write_parquet(tmp_path / "in.parquet", rows)
    job = ["--bundle", str(classes.path), "--input", str(file), "--output", str(tmp_path / "out"), "--only-new"]
    why = f"dt={NIGHTS[0]} has no digests of its texts (1 of 1 files); texts without one are scored once more"
    checked = CliRunner().invoke(cli.app, ["check", *job, "--date", NIGHTS[1]])
    assert f"compared with no date: {why}" in checked.output
    done = CliRunner().invoke(cli.app, ["score", *job, "--date", NIGHTS[1]])
    assert done.exit_code == 0
    assert done.output.count(why) == 2
    second = Outcome(verdict=first.verdict, output=first.output, date=NIGHTS[1])
    assert (counts(second), second.manifest["compared_with"]) == ((2, 0), None)
    wanted = {"date": NIGHTS[0], "run_id": first.verdict.run_id, "why": "no digests of its texts (1 of 1 files)"}
    assert second.manifest["not_compared_with"] == wanted
    third = night(run_job, rows, NIGHTS[2], tmp_path, only_new=True)
    assert (counts(third), third.manifest["not_compared_with"]) == ((0, 2), None)
    assert third.manifest["compared_with"]["date"] == NIGHTS[1]


ELSEWHERE = {
    "path": f"dt={NIGHTS[0]}/_digests-20261121T020003Z-abcdef-00000.sha128",
    "bytes": 48,
    "checksum": "crc32c:00000000",
}


@pytest.mark.parametrize("harm", ["gone", "damaged", "unnamed", "elsewhere"])
def test_digests_that_are_not_those_of_the_manifest_are_not_compared_with(
    harm: str, run_job: Score, tmp_path: Path
) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    old = night(run_job, rows, NIGHTS[0], tmp_path, keep_text_digests=True)
    new = night(run_job, rows, NIGHTS[1], tmp_path, keep_text_digests=True)
    beside = new.output / new.manifest["files"][0]["digests"]["path"]
    if harm == "gone":
        beside.unlink()
    elif harm == "damaged":
        beside.write_bytes(beside.read_bytes()[:-1] + b"?")
    else:
        manifest = new.manifest
        manifest["files"][0]["digests"] = None if harm == "unnamed" else ELSEWHERE
        (new.output / f"dt={NIGHTS[1]}" / "_manifest.json").write_text(json.dumps(manifest))
    after = night(run_job, rows, NIGHTS[2], tmp_path, only_new=True)
    # The date before it has the same rows, and digests.
    assert (counts(after), after.manifest["compared_with"]["date"]) == ((0, 2), NIGHTS[0])
    assert after.manifest["not_compared_with"]["date"] == NIGHTS[1]
    assert old.manifest["finished"]
