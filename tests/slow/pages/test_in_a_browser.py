"""Pages in Chromium: quick, without a complaint or a request, as wide as the screen, for paper, whatever names say."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.commands import invoke
from support.files.manifests import DATE, LABELS, days, write, write_nights

from docs.tools.browser import MISSING, Browser, program

HOSTILE = ("</script><img src=x onerror=alert(1)>", "\u202edetrever", "w" * 3_000, "", "{{ 7 * 7 }}\"'</style></svg>")
FILE = "gs://b/\"quoted\" 'name' <img src=x onerror=alert(2)>.jsonl#7"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def reported(folder: Path, last: int, names: Sequence[str] = LABELS) -> Path:
    """The page of nights of which one is unlike the others, one is missing, and one was held."""
    output, page = folder / "out", folder / "report.html"
    contents = write_nights(output, last, names=names, mixed={DATE: 0.4})
    folder_of_missing = output / f"dt={days(last)[-4].isoformat()}"
    (folder_of_missing / "_manifest.json").unlink()
    # Two models ago.
    for content in contents[: last // 3]:
        write(output, {**content, "bundle": "<b>old</b>@" + "a" * 64})
    codes = {"blank_text": 3, names[0]: 5}
    write(output, {**contents[-1], "dead_codes": codes, "kept_misfits": {names[1]: 2}})
    code, out, err = invoke("report", "--output", output, "--date", DATE, "--last", last, "--html", page)
    assert (code, err) == (0, ""), out
    return page


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("years"), 400)


def test_a_browser_that_does_not_answer_is_no_endless_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "chromium"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    begin = time.monotonic()
    with Browser(seconds=0.3) as running:
        for wait in (running.call, running.until):
            with pytest.raises(TimeoutError, match=r"not answered Page\.enable in 0\.3 seconds"):
                wait("Page.enable")
    assert time.monotonic() - begin < 20


def test_make_installs_a_browser_whenever_none_is_there(tmp_path: Path) -> None:
    root, tools, calls = Path(__file__).parents[3], tmp_path / "bin", tmp_path / "calls"
    tools.mkdir()
    for name in ("make", "sed"):
        (tools / name).symlink_to(str(shutil.which(name)))
    apt = tools / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    apt.chmod(0o755)
    make, environment = ["make", "--silent", "--file", root / "Makefile", "chromium"], {"PATH": str(tools)}
    # Nothing that is kept says that it is there: it may have been removed since.
    for _ in range(2):
        subprocess.run(make, cwd=root, env=environment, check=True)
    assert calls.read_text().splitlines() == ["update", "install --yes --no-install-recommends chromium"] * 2
    calls.unlink()
    (tools / "google-chrome").symlink_to(apt)
    subprocess.run(make, cwd=root, env=environment, check=True)
    assert not calls.exists()


def test_four_hundred_dates_are_there_within_two_seconds(browser: Browser, years: Path) -> None:
    # By the clock, of a machine that may have other work: the best of three.
    loaded = [browser.open(years) for _ in range(3)]
    assert min(page.seconds for page in loaded) <= 2
    assert loaded[-1].value("document.querySelectorAll('figure').length") > 15
    assert years.stat().st_size < 3_000_000


@pytest.mark.parametrize("width", [360, 768, 1_600])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_is_as_wide_as_the_screen(width: int, dark: bool, browser: Browser, years: Path, tmp_path: Path) -> None:
    for file in (years, reported(tmp_path / "hostile", 12, HOSTILE)):
        page = browser.open(file, width, dark=dark)
        assert page.complaints == []
        assert page.requests == [file.resolve().as_uri()]
        assert page.value("document.documentElement.scrollWidth") == width
        # Letters can be told from the paper they are on.
        ink, paper = (page.value(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
        assert (ink, paper) == (
            ("rgb(230, 232, 235)", "rgb(22, 24, 28)") if dark else ("rgb(28, 30, 33)", "rgb(255, 255, 255)")
        )


@pytest.mark.parametrize(("width", "media"), [(360, ""), (600, ""), (900, ""), (1_200, ""), (650, "print")])
def test_no_two_ticks_overlap(width: int, media: str, browser: Browser, tmp_path: Path) -> None:
    page = browser.open(reported(tmp_path, 30), width, media=media)
    overlapping = """
    [...document.querySelectorAll('.along')].flatMap(axis => {
        const boxes = [...axis.children].map(one => one.getBoundingClientRect()).filter(box => box.width)
        return boxes.slice(1).filter((box, at) => box.left < boxes[at].right + 2)
    }).length"""
    assert page.value("document.querySelectorAll('.along span').length") > 30
    assert page.value(overlapping) == 0


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    file = reported(tmp_path, 12, HOSTILE)
    page = browser.open(file)
    assert page.value("[...document.querySelectorAll('img, script, b')].map(e => e.outerHTML)") == []
    cells = page.value("[...document.querySelectorAll('.labels td:first-child')].map(e => e.textContent)")
    assert {*cells} == {HOSTILE[0], "\\u202edetrever", HOSTILE[2], "(empty label)", HOSTILE[4]}
    assert page.complaints == []


def test_a_page_without_its_policy_would_be_heard(browser: Browser, years: Path, tmp_path: Path) -> None:
    # What these tests listen to is there to be heard.
    bad = tmp_path / "bad.html"
    written = years.read_text(encoding="utf-8")
    bad.write_text(written.replace("</body>", "<img src='https://example.org/x.png'><script>alert(1)</script></body>"))
    page = browser.open(bad)
    assert len(page.complaints) >= 2
    policy = written.index("<meta http-equiv")
    bad.write_text(
        written[:policy]
        + written[written.index(">", policy) + 1 :].replace("</body>", "<img src='https://example.org/x.png'></body>")
    )
    assert browser.open(bad).requests[1:] == ["https://example.org/x.png"]


def test_plots_have_words_for_the_pointer_and_for_ears(browser: Browser, years: Path) -> None:
    page = browser.open(years)
    assert page.value("[...document.querySelectorAll('svg')].every(e => e.getAttribute('aria-label').length > 10)")
    assert page.value("[...document.querySelectorAll('figure .hit')].every(e => e.querySelector('title').textContent)")
    links = page.value("[...document.querySelectorAll('.verdict a')].map(e => document.querySelector(e.hash) !== null)")
    assert len(links) > 2
    assert all(links)


def test_a_page_is_printed_with_everything_in_light_colours(browser: Browser, years: Path, tmp_path: Path) -> None:
    page = browser.open(years, dark=True, media="print")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    # What is folded away is unfolded on paper.
    assert page.value("[...document.querySelectorAll('details')].every(e => !e.open)")
    assert page.value("[...document.querySelectorAll('details td')].every(e => e.checkVisibility())")
    paper = tmp_path / "report.pdf"
    page.print(paper)
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000


def test_a_machine_without_a_browser_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError) as raised:
        program()
    assert str(raised.value) == MISSING
    assert "apt-get install chromium" in MISSING
