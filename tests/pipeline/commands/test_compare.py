"""`bert-batch compare`: which dates it takes, what it prints and writes, and what it refuses."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support import commands
from support.files.plain_comparison import Row, published

from pipeline.commands.start import folder_until_the_end


def invoke(*arguments: object, code: int = 0) -> str:
    """What the command prints, or its error."""
    found, out, err = commands.invoke(*arguments)
    assert found == code, err
    return out if code == 0 else err


def rows(*labels: str, probability: float = 0.75) -> list[Row]:
    return [{"id": f"r{number}", "label": label, "probability": probability} for number, label in enumerate(labels)]


OLD, NEW = rows("play", "book", "rate"), rows("play", "rate", "rate", probability=0.5)


@pytest.fixture
def outputs(tmp_path: Path) -> tuple[Path, Path]:
    """Two outputs with one date in common: the second has a newer one, in which nothing has changed."""
    published(tmp_path / "old", "2026-11-20", OLD, bundle="old@0")
    published(tmp_path / "old", "2026-11-21", OLD, bundle="old@0")
    published(tmp_path / "new", "2026-11-21", NEW, bundle="new@1")
    published(tmp_path / "new", "2026-11-22", OLD, bundle="new@1")
    return tmp_path / "old", tmp_path / "new"


def test_the_newest_date_of_both_is_compared(outputs: tuple[Path, Path]) -> None:
    shown = invoke("compare", *outputs)
    assert f"A  {outputs[0]}/dt=2026-11-21\n     old@0, 3 rows" in shown
    assert f"B  {outputs[1]}/dt=2026-11-21\n     new@1, 3 rows" in shown
    assert "1 of 3 texts have another label in B: 33.33%, between 6.15% and 79.23%" in shown
    assert "r1  book 0.7500  rate 0.5000" in shown


def test_folders_of_dates_and_a_date_are_compared_as_they_are_named(outputs: tuple[Path, Path]) -> None:
    old, new = outputs
    assert "0 of 3 texts" in invoke("compare", old / "dt=2026-11-20", f"{new}/dt=2026-11-22/")
    assert "1 of 3 texts" in invoke("compare", old / "dt=2026-11-21", new)
    assert "0 of 3 texts" in invoke("compare", old / "dt=2026-11-20", new, "--date", "2026-11-22")
    assert "1 of 3 texts" in invoke("compare", old, new, "--date", "2026-11-21")


def test_right_labels_decide_which_one_is_better(tmp_path: Path) -> None:
    gold = [{**row, "gold": right} for row, right in zip(OLD, ["play", "rate", None], strict=True)]
    published(tmp_path / "old", "2026-11-21", gold, gold=pa.string())
    published(tmp_path / "new", "2026-11-21", NEW)
    shown = invoke("compare", tmp_path / "old", tmp_path / "new", "--label-column", "gold")
    assert "A is right in 1 of 2 texts" in shown
    assert "B is right in 2 of 2 texts" in shown
    assert "0 texts are right in A alone, 1 in B alone" in shown
    assert "right in B alone" in shown


def test_the_page_has_everything(outputs: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "made" / "compared.html"
    shown = invoke("compare", *outputs, "--html", page, "--examples", "0")
    assert f"written   {page}" in shown
    written = page.read_text(encoding="utf-8")
    assert written.startswith("<!doctype html>")
    assert "33.33%" in written
    assert "Look at these first" not in shown + written


def test_nothing_is_left_behind(outputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    before = sorted(path for output in outputs for path in output.rglob("*"))
    invoke("compare", *outputs)
    assert [*place.iterdir()] == []
    assert sorted(path for output in outputs for path in output.rglob("*")) == before


def test_what_is_not_published_is_refused_with_the_way_out(outputs: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = outputs
    published(tmp_path / "other", "2026-11-25", OLD)
    none, other = tmp_path / "none", tmp_path / "other"
    refusals = {
        (none, old): f"{none}: nothing is published there; give an output of `score`, or the folder dt=<date> in it",
        (old, new, "--date", "2026-11-20"): f"{new}: 2026-11-20 is not published there; name another date: 2026-11-21",
        (old / "dt=2026-11-22", new): f"{old}/dt=2026-11-22: 2026-11-22 is not published there; name another date",
        (old, other): f"no date is published in both: {old} has 2026-11-20, 2026-11-21, {other} has 2026-11-25; name",
        (old / "dt=2026-11-20", new / "dt=2026-11-21", "--date", "2026-11-20"): "both folders are of a date already",
        (old, new, "--date", "20261121"): "--date '20261121' is no date",
        (old, new, "--html", old / "page.txt"): "does not end in .html; give the name of a page",
        (old, new, "--label-column", "gold"): "--label-column 'gold': neither",
        (
            old,
            new,
            "--label-column",
            "label",
        ): "'label': is a column that `score` writes itself; name a kept",
        (old, new, "--examples", "-1"): "--examples",
    }
    for arguments, sentence in refusals.items():
        assert sentence in invoke("compare", *arguments, code=2)


def test_an_expired_date_and_a_damaged_manifest_are_refused(outputs: tuple[Path, Path]) -> None:
    old, new = outputs
    path = old / "dt=2026-11-20" / "_manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expired": True, "files": []}))
    shown = invoke("compare", old / "dt=2026-11-20", new, code=2)
    assert "the rows of 2026-11-20 were deleted for their age; name another date: 2026-11-21" in shown
    path.write_text("{")
    assert f"{path}: is not JSON" in invoke("compare", path.parent, new, code=2)
    assert "1 of 3 texts" in invoke("compare", old, new)


@pytest.mark.parametrize("below", ["", "dt=2026-11-21", "made"])
def test_no_page_is_written_into_an_output(
    outputs: tuple[Path, Path], tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before a row is read.
    monkeypatch.setattr("transforms.outputs.comparison.compare.read", lambda *_, **__: 1 / 0)
    (tmp_path / "link").symlink_to(outputs[1])
    for folder in (outputs[0], tmp_path / "link"):
        page = folder / below / "page.html"
        assert "holds scores only; name another file" in invoke("compare", *outputs, "--html", page, code=2)
        assert not page.exists()
    (tmp_path / "file").write_text("")
    assert "no file can be written there" in invoke("compare", *outputs, "--html", tmp_path / "file" / "x.html", code=2)


def test_an_output_whose_dates_are_all_expired_says_so(outputs: tuple[Path, Path]) -> None:
    old, new = outputs
    for path in old.glob("dt=*/_manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "expired": True, "files": []}))
    sentence = "the rows of all its dates were deleted for their age (2026-11-20, 2026-11-21); score one again"
    assert f"{old}: {sentence}" in invoke("compare", old, new, code=2)
    assert "the rows of 2026-11-20 were deleted" in invoke("compare", old / "dt=2026-11-20", new, code=2)


class EndedError(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """The tests may run below nohup, which has SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_no_ids_behind(
    outputs: tuple[Path, Path],
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    usual_signals: None,
) -> None:
    place, codes, seen = tmp_path / "temporary", list[int](), list[int]()
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))

    def ended(code: int) -> None:
        codes.append(code)
        seen.append(len([*place.rglob("*")]))
        raise EndedError

    def interrupted(*_: object) -> None:
        assert [path for path in place.rglob("*") if path.is_file()]
        signal.raise_signal(number)

    monkeypatch.setattr("os._exit", ended)
    monkeypatch.setattr("transforms.outputs.comparison.labels.OneLabel.add", interrupted)
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(EndedError):
        commands.invoke("compare", *outputs)
    assert (codes, seen) == ([128 + number], [0])
    assert {one: signal.getsignal(one) for one in before} == before


def test_an_interruption_says_that_nothing_was_written(
    outputs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def ended(code: int) -> None:
        raise EndedError

    monkeypatch.setattr("os._exit", ended)
    monkeypatch.setattr(
        "transforms.outputs.comparison.labels.OneLabel.add", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(EndedError):
        commands.invoke("compare", *outputs)
    assert "interrupted; nothing was written" in capfd.readouterr().err


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with folder_until_the_end():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
