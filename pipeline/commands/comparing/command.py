"""The command: two published dates in, what differs out."""

from typing import Any

from pipeline.commands.comparing.job import CompareJob
from pipeline.commands.flags import flags_of
from pipeline.commands.start import folder_until_the_end, run, when_interrupted
from pipeline.errors import ConfigError
from pipeline.jobs.config import described
from pipeline.runners.silence import quiet_stderr


@flags_of(CompareJob)
def compare(**flags: Any) -> None:
    """Compare the scores of two published dates, text by text."""
    when_interrupted("nothing was written")
    run(lambda: _compare(described(CompareJob, flags)), "text")


def _compare(job: CompareJob) -> int:
    with quiet_stderr():
        from pipeline.commands.comparing.dates import find_dates
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.pages.comparison.sections import Compared, sections
        from pipeline.terminal.pages.comparison.text import show
        from transforms.outputs.comparison.compare import compare as compare_rows
        from transforms.outputs.comparison.names import SideError

    quiet_libraries()
    a, b = find_dates(job)
    if job.html is not None:
        from pipeline.terminal.pages.writing import check_page

        # Not after minutes of reading.
        check_page("--html", job.html, (a.output, b.output))
    asked: dict[str, Any] = {"gold": job.label_column, "separator": job.label_separator, "examples": job.examples}
    try:
        with folder_until_the_end() as below:
            found = compare_rows(a.side, b.side, max(a.rows, b.rows), below=below, **asked)
    except SideError as error:
        raise ConfigError(str(error)) from error
    about = [Compared(name=one.side.name, bundle=one.manifest["bundle"], rows=one.rows) for one in (a, b)]
    told = sections(found, *about)
    show(told)
    if job.html is not None:
        from pipeline.terminal.pages.comparison.page import page
        from pipeline.terminal.pages.writing import write_page

        write_page(job.html, page(told))
        out.print(f"written   {job.html}")
    return 0
