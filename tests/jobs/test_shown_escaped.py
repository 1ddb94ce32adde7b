"""Ids, labels, names of columns and manifests that would act on a terminal, through whole commands."""

import io
import json
import unicodedata
from pathlib import Path

import pytest
from support.bundles import Built, build_bundle
from support.commands import invoke
from support.jobs import DATE

from model.training.fine_tune import Progress
from pipeline.bundling.labelled_rows import Classes
from pipeline.bundling.telling import RowsFound
from pipeline.terminal import console, report
from pipeline.terminal.training import report as training_report

ACTS = "\x1b[2J\x1b]0;owned\x07\u202egpj\u2067x\u2068\x9b31m"
FORGED = f"x{ACTS}\nerror: nothing is wrong\r"
COLUMN = f"{FORGED}y"


def is_safe(said: str) -> bool:
    """Whether a terminal only writes it, line by line; a table of ours may be in color."""
    return not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") and c != "\n" for c in said) and not any(
        unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF", "LRI", "RLI", "FSI", "PDI") for c in said
    )


def forges(said: str) -> bool:
    """Whether a line of it says what a hostile value wanted to be read as a line of ours."""
    return any(line.lstrip().startswith("error: nothing is wrong") for line in said.splitlines())


def say(*command: object) -> str:
    code, out, err = invoke(*command)
    assert code == 0, (command, out, err)
    assert is_safe(out + err), ascii(out + err)
    assert not forges(out + err), ascii(out + err)
    return out + err


def test_ids_labels_and_columns_of_a_night_move_no_cursor(
    vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = f"play{ACTS}"
    bundle = build_bundle(tmp_path / "bundle", vocabulary, labels=(label, "book", "rate")).path
    rows = [
        {"id": f"{FORGED}{i}", "text": "" if i == 2 else f"play {i}{FORGED}", COLUMN: i if i else "no number"}
        for i in range(8)
    ]
    rows.append({**rows[1], "text": "the same id once more"})
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    job = ("--bundle", bundle, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out", "--date", DATE)
    for more in ((), ("--keep", COLUMN), ("--keep", COLUMN, "--schema", f"{COLUMN}:int64")):
        say("check", *job, *more)
    for log_format in ("text", "json"):
        say("score", *job, "--max-dead-fraction", "1", "--keep", COLUMN, "--log-format", log_format)
    shown = say("inspect", bundle)
    assert r"play\x1b[2J" in shown or r"play\\x1b[2J" in shown
    say("inspect", tmp_path / "out" / f"dt={DATE}")
    for form in ("text", "json"):
        say("runs", "--output", tmp_path / "out", "--format", form)
    written = io.StringIO()
    monkeypatch.setattr(report, "out", console.Terminal(file=written, width=400, **console.PLAIN))
    report.show_rows(str(tmp_path / "out" / f"dt={DATE}"), 5, ["id", "label"])
    assert r"nothing is wrong\r" in written.getvalue()
    assert is_safe(written.getvalue())
    assert not forges(written.getvalue())


MANIFESTS = {
    "the name of a bundle": {"bundle": f"{FORGED}@{FORGED}"},
    "a code of dead letters": {"dead_codes": {FORGED: 1}},
    "a note": {"notes": {FORGED: 1}},
    "a kept column": {"kept_misfits": {FORGED: 1}},
    "an input": {"inputs": [{"path": FORGED}]},
    "a setting": {"settings": {FORGED: FORGED}},
    "an engine": {"engine": FORGED, "precision": FORGED},
    "a key that nobody knows": {FORGED: FORGED},
}
BROKEN = {
    "a run id": {"run_id": FORGED},
    "a date": {"logical_date": FORGED},
    "a time": {"published_at": FORGED},
    "a path": {"files": [{"path": FORGED, "rows": 1, "bytes": 1, "checksum": "crc32c:00000000"}]},
    "a count": {"counts": {"read": FORGED, "scored": 1, "dead": 0}},
    "a count of a code": {"dead_codes": {FORGED: FORGED}},
    "a table": {"table": {"table": FORGED, "fields": []}},
}


@pytest.fixture
def published(classes: Built, tmp_path: Path) -> Path:
    """A manifest of our own, for somebody to change."""
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "play some music"}\n')
    job = ("--bundle", classes.path, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out", "--date", DATE)
    say("score", *job)
    return tmp_path / "out" / f"dt={DATE}" / "_manifest.json"


def test_a_manifest_of_somebody_else_forges_no_line(published: Path) -> None:
    ours, output = json.loads(published.read_bytes()), published.parent.parent
    for name, changed in {**MANIFESTS, **BROKEN}.items():
        published.write_text(json.dumps({**ours, **changed}))
        for command in (
            ("runs", "--output", output),
            ("runs", "--output", output, "--format", "json"),
            ("inspect", published.parent),
            ("clean", "--output", output, "--dry-run"),
            ("publish", ours["run_id"], "--output", output),
        ):
            code, out, err = invoke(*command)
            assert code in (0, 1, 2, 4), (name, command, out, err)
            assert name in MANIFESTS or code == 2 or "broken" in out or str(published) in err, (name, command, out, err)
            assert is_safe(out + err), (name, command, ascii(out + err))
            assert not forges(out + err), (name, command, ascii(out + err))


@pytest.mark.parametrize("run_id", ["../../x", "..", "/etc", "20261122T020000Z-0123ab/../../../x", "", "*", "a\0b"])
def test_runs_of_a_manifest_that_leads_elsewhere_reads_and_changes_nothing_there(published: Path, run_id: str) -> None:
    ours, output = json.loads(published.read_bytes()), published.parent.parent
    elsewhere = output.parent / "x"
    (elsewhere / "staged").mkdir(parents=True)
    (elsewhere / "verdict.json").write_text("somebody's")
    (elsewhere / "staged" / "scores-000000-00000000000000000000000000000000.parquet").write_text("somebody's")
    published.write_text(json.dumps({**ours, "run_id": run_id, "finished": False}))

    def everything() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in output.parent.rglob("*")}

    before = everything()
    for form in ("text", "json"):
        code, out, err = invoke("runs", "--output", output, "--format", form)
        assert code == 0
        assert f"{published}: run_id: is no run id" in (err if form == "text" else out)
        assert everything() == before
    code, _, err = invoke("inspect", published.parent)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = invoke("clean", "--output", output, "--older-than-days", "0")
    assert "run_id: is no run id" in err
    assert everything() == before


def test_labels_of_a_training_move_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    told = training_report.TextTraining(console.Terminal(file=written, width=400, **console.PLAIN))
    told.found(
        RowsFound(
            rows={"training": 3, "validation": 1},
            dropped={"training": {}},
            classes=Classes(rows={FORGED: 3, f"b{ACTS}": 1}),
            learning_rate=1e-5,
        )
    )
    told.epoch(Progress(epoch=1, epochs=2, loss=1.0, metrics={"loss": 1.0}, learning_rate=1e-5, best_epoch=1))
    assert "nothing is wrong" in written.getvalue()
    assert is_safe(written.getvalue())
    assert not forges(written.getvalue())
