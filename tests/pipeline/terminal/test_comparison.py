"""What is shown of a comparison: the same sections on a terminal and on a page, nothing unescaped, nothing fetched."""

import io
import itertools
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.terminal import console
from pipeline.terminal.pages.comparison import text
from pipeline.terminal.pages.comparison.page import page
from pipeline.terminal.pages.comparison.sections import Compared, Section, sections
from pipeline.terminal.pages.comparison.tables import MOST_PAIRS, OTHERS, by_label, differences, matrix, pairs
from transforms.outputs.comparison.examples import Example
from transforms.outputs.comparison.found import (
    CHANGED,
    ONLY_A,
    ONLY_B,
    Differences,
    Ids,
    Labelled,
    Nearness,
    OfLabel,
    Right,
    Valued,
)

HOSTILE = '<script>alert("1")</script>\x1b[31m\u202e\n\'"><img src=x onerror=alert(2)>'
A, B = Compared(name="scored/dt=2026-11-21", bundle="old@12", rows=100), Compared(name="new", bundle="new@34", rows=90)


def labelled(label: str = "play", *, several: bool = False) -> Labelled:
    return Labelled(
        several=several,
        ids=Ids(both=90, only_a=10, only_b=0, repeated=3),
        changed=9,
        labels=(
            OfLabel(label=label, a=60, b=57, both=54, gold=50, right_a=45, right_b=48),
            OfLabel(label="book", a=30, b=33, both=27),
        ),
        pairs={} if several else {(label, "book"): 6, ("book", label): 3},
        differences=Differences(
            rows=90, mean=0.01, mean_absolute=0.02, largest=0.5, bins=(0, 0, 0, 0, 5, 80, 5, 0, 0, 0, 0)
        ),
        right=Right(rows=80, both=60, only_a=2, only_b=14),
        examples={
            CHANGED: (Example(id=label, a=f"{label} 0.9000", b="book 0.8000", gold=label),),
            ONLY_A: (),
            ONLY_B: (),
        },
    )


VALUED = Valued(
    ids=Ids(both=4, only_a=0, only_b=0, repeated=0),
    mean=-0.5,
    rms=0.75,
    quantiles=(-1, -1, -1, -0.75, -0.5, 0, 0.25, 0.25, 0.5),
    correlation=None,
    nearness=Nearness(rows=4, rms_a=1, rms_b=0.5, correlation_a=0.5, correlation_b=0.75, nearer_a=0, nearer_b=4),
    examples={CHANGED: (Example(id="x", a="1", b="2"),)},
)


def printed(told: list[Section], monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    terminal = console.Terminal(file=stream, width=80, **console.PLAIN)
    monkeypatch.setattr(text, "out", terminal)
    monkeypatch.setattr("pipeline.terminal.runs_table.out", terminal)
    text.show(told)
    return stream.getvalue()


def test_changed_labels_have_their_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(sections(labelled(), A, B), monkeypatch)
    assert "9 of 90 texts have another label in B: 10.00%, between 5.35% and 17.92% with 95 % confidence" in shown
    assert "ids: 90 in both, 10 only in A, 0 only in B" in shown
    assert "3 ids stand more than once in A or in B and are left out" in shown
    assert "A is right in 62 of 80 texts: 77.50%" in shown
    assert "McNemar's test: p = 0.00418; B is right more often, and that is hardly chance" in shown
    assert by_label(labelled()).rows[0] == [
        "play",
        "60",
        "57",
        "6",
        "10.00%",
        "4.66%",
        "20.15%",
        "50",
        "90.00%",
        "96.00%",
    ]
    assert pairs(labelled()).rows == [
        ["play", "book", "6", "10.00%", "4.66%", "20.15%"],
        ["book", "play", "3", "10.00%", "3.46%", "25.62%"],
    ]


def test_of_several_labels_a_text_those_count_that_one_alone_gives() -> None:
    (first, *_) = by_label(labelled(several=True)).rows
    assert first[:5] == ["play", "60", "57", "9", "10.00%"]
    assert "Matrix" not in [section.title for section in sections(labelled(several=True), A, B)]


def test_the_matrix_has_every_text_once() -> None:
    assert matrix(labelled()).rows == [["play", "54", "6"], ["book", "3", "27"]]
    names = [f"label {number}" for number in range(40)]
    many = Labelled(
        several=False,
        ids=Ids(both=78, only_a=0, only_b=0, repeated=0),
        changed=39,
        labels=tuple(OfLabel(label=name, a=2, b=2, both=1) for name in names),
        pairs=dict.fromkeys(itertools.pairwise(names), 1),
        differences=Differences(rows=78, mean=0, mean_absolute=0, largest=0, bins=(0,) * 11),
        right=None,
    )
    found = matrix(many)
    assert (len(found.columns), len(found.rows), found.rows[-1][0]) == (16, 15, OTHERS)
    assert sum(int(cell or 0) for row in found.rows for cell in row[1:]) == 40 + 39


def test_differences_are_named_by_their_steps() -> None:
    rows = differences(labelled().differences).rows
    assert [row[0] for row in rows[:3]] == ["-1 to -0.5", "-0.5 to -0.25", "-0.25 to -0.1"]
    assert rows[5] == ["-0.01 to +0.01", "80", "88.89%"]
    assert rows[-1][0] == "+0.5 to +1"


def test_values_have_quantiles_and_a_sign_test(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(sections(VALUED, A, B), monkeypatch)
    assert "mean -0.5, RMS 0.75" in shown
    assert "correlation of the values of A and B (Pearson): -" in shown
    assert "sign test: p = 0.125; that one is better than the other is not shown" in shown
    assert "smallest" in shown
    assert "+0.5" in shown


def test_without_a_common_id_there_is_nothing_more_to_say() -> None:
    nothing = Labelled(
        several=False,
        ids=Ids(both=0, only_a=1, only_b=2, repeated=0),
        changed=0,
        labels=(),
        pairs={},
        differences=Differences(rows=0, mean=0, mean_absolute=0, largest=0, bins=(0,) * 11),
        right=None,
    )
    (only,) = sections(nothing, A, B)
    assert only.lines[-1] == "ids: 0 in both, 1 only in A, 2 only in B"


TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "section", "h2", "p", "div"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "scope", "style", "aria-hidden"}


class Tags(HTMLParser):
    """Every tag and attribute of a page, and what is not closed."""

    VOID = ("meta", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("hostile", [HOSTILE, "</table></body>", "{{ 7 * 7 }}{% raw %}", "&lt;b&gt;"])
def test_names_from_outside_are_no_html(hostile: str) -> None:
    side = Compared(name=hostile, bundle=hostile, rows=1)
    written = page(sections(labelled(hostile), side, side), hostile)
    tags = Tags()
    tags.feed(written)
    assert tags.open == []
    assert set(tags.names) == TAGS
    assert {name for name, _ in tags.attributes} <= ATTRIBUTES
    assert all(hidden not in written for hidden in ("\x1b", "\u202e", "49"))


def test_a_page_fetches_nothing_and_has_every_section() -> None:
    for found in (labelled(), labelled(several=True), VALUED):
        told = sections(found, A, B)
        written = page(told, "Two models compared")
        assert all(word not in written for word in ("http:", "https:", "url(", "@import", "<script", "<link", "src="))
        assert all(f"<h2>{section.title}</h2>" in written for section in told)
        assert written.count("<table>") == sum(section.table is not None for section in told)
        assert "prefers-color-scheme: dark" in written
        assert "@media print" in written


def test_a_terminal_shows_the_beginning_of_a_long_table(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Labelled(
        several=False,
        ids=Ids(both=30, only_a=0, only_b=0, repeated=0),
        changed=0,
        labels=tuple(OfLabel(label=f"label {number}", a=1, b=1, both=1) for number in range(30)),
        pairs={},
        differences=Differences(rows=30, mean=0, mean_absolute=0, largest=0, bins=(0,) * 11),
        right=None,
    )
    shown = printed(sections(many, A, B), monkeypatch)
    assert "label 19" in shown
    assert "label 20" not in shown
    assert "and 10 more: --html has them all" in shown
    assert "label 29" in page(sections(many, A, B), "x")
    assert printed(sections(labelled(HOSTILE), A, B), monkeypatch).count("\x1b") == 0


def test_labels_that_one_side_alone_gives_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = labelled()
    labels = tuple(OfLabel(label=f"new {number}", a=0, b=9 - number, both=0) for number in range(7))
    shown = printed(sections(replace(found, labels=(*found.labels, *labels)), A, B), monkeypatch)
    assert "given in B alone: new 0 (9), new 1 (8), new 2 (7), new 3 (6), new 4 (5) and 2 more" in shown
    assert "given in A alone" not in shown


def test_ids_with_another_text_and_copies_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = labelled()
    with_copies = replace(found, ids=replace(found.ids, other_text=1_234, texts=80))
    shown = printed(sections(with_copies, A, B), monkeypatch)
    assert "1,234 ids have another text in B and are left out" in shown
    assert "80 different texts are in both; copies count like texts of their own" in shown
    assert "1,234 ids have another text in B" in page(sections(with_copies, A, B), "x")
    without = printed(sections(replace(found, ids=replace(found.ids, texts=90)), A, B), monkeypatch)
    assert "another text" not in without
    assert "copies" not in without


def test_bounds_are_called_bounds() -> None:
    assert [*by_label(labelled()).columns][4:7] == ["share of A", "at least", "at most"]
    assert [*pairs(labelled()).columns][3:] == ["share", "at least", "at most"]


def test_only_known_labels_have_a_lifted_cell() -> None:
    assert matrix(labelled()).strong == {(0, 1), (1, 2)}
    names = [f"label {number}" for number in range(40)]
    many = replace(
        labelled(),
        labels=tuple(OfLabel(label=name, a=2, b=2, both=1) for name in names),
        pairs=dict.fromkeys(itertools.pairwise(names), 1),
    )
    found = matrix(many)
    assert found.rows[-1][0] == OTHERS
    assert found.strong == {(number, number + 1) for number in range(14)}


def test_a_page_has_the_first_pairs_and_says_how_many_more_there_are() -> None:
    names = [f"label {number}" for number in range(MOST_PAIRS + 8)]
    many = replace(
        labelled(),
        labels=tuple(OfLabel(label=name, a=2, b=2, both=1) for name in names),
        pairs=dict.fromkeys(itertools.pairwise(names), 1),
    )
    (section,) = (one for one in sections(many, A, B) if one.title == "From label to label")
    assert section.table is not None
    assert len(section.table.rows) == MOST_PAIRS == 2_000
    assert section.lines[1] == "These are the first 2,000 pairs; 7 more have fewer texts."


def test_nobody_is_called_sure_of_several_labels() -> None:
    titles = [section.title for section in sections(labelled(several=True), A, B)]
    assert "Look at these first: other labels, the most probable ones" in titles
    assert not any("sure" in title for title in titles)


def test_a_probability_that_is_no_float_any_more_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(labelled(), right=Right(rows=90_000, both=0, only_a=0, only_b=90_000))
    shown = printed(sections(found, A, B), monkeypatch)
    assert "McNemar's test: p < 1e-300; B is right more often" in shown
