"""What a training prints, and what Ctrl-C asks: without a network."""

import contextlib
import dataclasses
import io
import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from model.training.fine_tune import Progress, Step, TrainingResult
from model.training.schedule import PLATEAU
from pipeline.bundling.labelled_rows import Classes
from pipeline.bundling.telling import RowsFound
from pipeline.bundling.training_plot import drawing
from pipeline.terminal.console import PLAIN, Terminal
from pipeline.terminal.training.bar import Interrupts, TrainingBar
from pipeline.terminal.training.report import JsonTraining, TextTraining, end_told, measured_told, rows_told

DONE = Progress(2, 20, 0.5, {"accuracy": 0.9, "macro_f1": 0.85, "loss": 0.4}, 1e-4, 2)
AT = Step(3, 20, 7, 50, DONE)
FOUND = RowsFound(
    rows={"training": 1_800, "validation": 200, "test": 9},
    dropped={"train": {"blank_text": 3, "duplicate_id": 1_000}, "test": {}},
    classes=Classes(rows={"a": 1_900, "b": 50, **{f"r{i}": 9 - i for i in range(7)}}),
    learning_rate=1e-4,
)


def result(ended: str) -> TrainingResult:
    return TrainingResult(DONE.metrics, 2, ended, (DONE, DONE, DONE))


def test_rows_dropped_rows_and_classes_are_told() -> None:
    assert rows_told(FOUND) == [
        "rows     1,800 to train on, 200 held out for validation, 9 to test on",
        "dropped  of --input: 3 blank_text, 1,000 duplicate_id",
        "classes  9, from 1,900 rows (a) to 3 (r6): 633 to 1",
        "warning: fewer than 10 rows of r0, r1, r2, r3, r4 and 2 more",
    ]
    noted = dataclasses.replace(FOUND, notes=("activation: assumed",))
    assert rows_told(noted) == [*rows_told(FOUND), "note     activation: assumed"]


def test_an_epoch_is_a_line_in_a_pipe_too() -> None:
    written = io.StringIO()
    TextTraining(Terminal(file=written, **PLAIN)).epoch(DONE)
    line = written.getvalue()
    assert line.startswith(
        "epoch 2 of at most 20  training loss 0.5000  validation loss 0.4000  accuracy 0.9000  macro"
    )
    assert "learning rate 1.0e-04" in line
    assert line.rstrip().endswith("best")


def test_the_bar_names_the_epoch_and_the_time_that_is_left_of_it() -> None:
    written = io.StringIO()
    console = Terminal(file=written, force_terminal=True, width=140, **PLAIN)
    bar = TrainingBar(console)
    with bar.drawn():
        bar.show(AT)
    assert "epoch 3 of at most 20" in written.getvalue()
    assert "7/50 steps" in written.getvalue()
    assert "left of the epoch  best so far: epoch 2" in written.getvalue()


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ("plateau", "ended without further progress: epoch 2 of 3 is kept"),
        (
            "cap",
            "warning: still improving when the cap of 3 epochs ended it; give more with --epochs: epoch 2 of 3 is kept",
        ),
        ("asked", "ended as asked: epoch 2 of 3 is kept"),
    ],
)
def test_the_end_says_why(ended: str, words: str) -> None:
    assert end_told(result(ended)) == words


def test_machines_get_one_object_an_epoch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.terminal.training.report.PROGRESS_SECONDS", 0.0)
    teller = JsonTraining()
    teller.found(FOUND)
    assert teller.step(AT) is False
    teller.epoch(DONE)
    teller.ended(result("cap"))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["training", "training_progress", "epoch", "trained"]
    assert events[0]["dropped"]["train"] == {"blank_text": 3, "duplicate_id": 1_000}
    assert events[0]["rare_classes"] == [f"r{i}" for i in range(7)]
    assert (events[1]["epoch"], events[1]["step"], events[1]["steps"]) == (3, 7, 50)
    assert events[1]["seconds_left"] >= 0
    assert (events[2]["validation"], events[2]["learning_rate"]) == (DONE.metrics, 1e-4)
    assert events[3]["ended"] == "cap"


# === Ctrl-C ===


class EndedError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def _as_everywhere() -> Callable[[], None]:
    def end(*_: object) -> None:
        raise EndedError

    before = signal.signal(signal.SIGINT, end)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_everywhere")
def test_the_first_one_asks_and_yes_keeps_the_best_epoch() -> None:
    asked: list[str] = []
    interrupts = Interrupts(lambda question: asked.append(question) or "y")
    interrupts.begin()
    teller = TextTraining(Terminal(file=io.StringIO(), **PLAIN), None, interrupts)
    assert teller.step(AT) is False
    signal.raise_signal(signal.SIGINT)
    assert teller.step(AT) is True
    assert asked == ["stop now, and make the bundle of the best epoch (2)? [y/N] "]
    # Asked once: the next one ends.
    with pytest.raises(EndedError):
        signal.raise_signal(signal.SIGINT)


def test_the_question_is_seen_where_stdout_goes_to_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert Interrupts()._answer("stop now? ") == "y"
    out, err = capsys.readouterr()
    assert (out, err) == ("", "stop now? ")


@pytest.mark.usefixtures("_as_everywhere")
@pytest.mark.parametrize("answer", ["", "n", None])
def test_any_other_answer_ends(answer: str | None) -> None:
    def say(question: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    interrupts = Interrupts(say)
    interrupts.begin()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(EndedError):
        interrupts.ask(2)


@pytest.mark.usefixtures("_as_everywhere")
def test_without_an_epoch_there_is_nothing_to_ask() -> None:
    interrupts = Interrupts(lambda question: pytest.fail("asked"))
    interrupts.begin()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(EndedError):
        interrupts.ask(None)


@pytest.mark.usefixtures("_as_everywhere")
@pytest.mark.parametrize("answer", ["y", "n"])
def test_behind_the_last_step_it_is_asked_too(answer: str) -> None:
    interrupts = Interrupts(lambda question: answer)
    interrupts.begin()
    teller = TextTraining(Terminal(file=io.StringIO(), **PLAIN), None, interrupts)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(EndedError) if answer == "n" else contextlib.nullcontext():
        teller.ended(result(PLATEAU))


@pytest.mark.usefixtures("_as_everywhere")
def test_a_second_one_before_the_question_ends() -> None:
    with Interrupts(lambda question: "y") as interrupts:
        interrupts.begin()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(EndedError):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(EndedError):
        signal.raise_signal(signal.SIGINT)


# === The drawing ===

EPOCHS = [
    {"epoch": i, "loss": 2.0 / i, "learning_rate": 1e-4, "validation": {"loss": 1.0, "macro_f1": 0.5, "pearson": 0.1}}
    for i in (1, 2, 3)
]


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS[:1]])
def test_a_drawing_of_classes_has_a_cell_for_each_pair_that_occurred(epochs: list[object]) -> None:
    steps = [{"rows": 5, "probability": 0.95, "accuracy": 0.8}]
    history = {"epochs": epochs, "best_epoch": 1, "confusion": [[4, 1], [0, 0]], "reliability": steps}
    svg = ET.fromstring(drawing(history, ["<b>\x00", "y" * 40]))
    cells = [r for r in svg.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill-opacity")]
    assert [cell.get("fill-opacity") for cell in cells] == ["0.80", "0.20"]
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<b> ", "yyyyyyyy…", "4", "1"} <= set(texts)


def test_a_drawing_of_values_has_a_dot_for_each() -> None:
    history = {"epochs": EPOCHS, "best_epoch": 3, "values": [[1.0, 1.5], [2.0, 2.0]]}
    svg = ET.fromstring(drawing(history, []))
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 2


def test_how_far_probabilities_can_be_relied_on_is_told_of_rows_that_nothing_was_fitted_on() -> None:
    both = {"validation": 0.03, "test": 0.05}
    quality = {
        "calibration": {"temperature": 1.25, "rows": 300, "before": both, "after": {"validation": 0.01, "test": 0.02}},
        "decided": {"of": "test", "at": [{"probability": 0.9, "share": 0.5, "accuracy": 0.99}]},
    }
    assert measured_told(quality) == [
        "fitted   temperature 1.250: calibration error 0.0500 before, 0.0200 after, on the test rows",
        "decided  share of the test rows and their accuracy by --min-probability: 0.9: 50.0% at 99.00%",
    ]
    few = {"calibration": {"temperature": None, "rows": 30, "before": {"validation": 0.03}}}
    assert measured_told(few) == [
        "note     no temperature: 30 validation rows are fewer than 200; calibration error "
        "0.0300 on the validation rows"
    ]
    assert measured_told({"validation": {"rmse": 1.0}}) == []
