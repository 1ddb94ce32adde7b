"""PublishRun: the last step of the pipeline. What it does is in commit.py, which knows no Beam."""

from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from transforms.batches import coder as coder
from transforms.publish.commit import publish
from transforms.publish.gate import Gate, gated, publish_judged
from transforms.runs.error_budget import ended_early
from transforms.runs.heartbeats import publishing
from transforms.runs.plan import planned_splits
from transforms.runs.progress import PUBLISH, advance
from transforms.runs.resume import read_taken
from transforms.runs.row_counts import Count, Work
from transforms.runs.run import Run
from transforms.runs.staged import StagedFile
from transforms.runs.verdict_record import PASSED, Verdict
from transforms.runs.verdicts import judge, read_verdict, write_verdict


class PublishRun(beam.PTransform):
    """PBegin -> PCollection[Verdict]: judges the run by its row counts and publishes it.

    `taken` is the file of what it took over from an attempt that died; `heartbeats` the folder for the heartbeat of the
    process, if any; `progress` the file in which a local process reports that it publishes. `baseline` is the summary
    of the validation rows of the bundle, if it has one; `gate` may hold the run.
    """

    def __init__(
        self,
        run: Run,
        *,
        read: beam.PCollection[Count],
        scores: beam.PCollection[StagedFile],
        dead: beam.PCollection[StagedFile],
        work: beam.PCollection[Work],
        unchanged: beam.PCollection[StagedFile],
        taken: str | None = None,
        heartbeats: str | None = None,
        progress: str | None = None,
        baseline: Mapping[str, Any] | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__()
        self._run, self._results, self._taken = run, (read, scores, dead, work, unchanged), taken
        self._heartbeats, self._progress = heartbeats, progress
        self._baseline, self._gate = baseline, gate

    def expand(self, pipeline):  # type: ignore[no-untyped-def]
        # Create and side inputs: a GroupByKey never fires on a date without rows.
        results = [beam.pvalue.AsList(result) for result in self._results]
        run = pipeline | "Run" >> beam.Create([self._run])
        more = (self._taken, self._heartbeats, self._progress, self._baseline, self._gate)
        return run | "JudgeAndPublish" >> beam.Map(judge_and_publish, *results, *more)


def judge_and_publish(
    run: Run,
    read: Sequence[Count],
    scores: Sequence[StagedFile],
    dead: Sequence[StagedFile],
    work: Sequence[Work],
    unchanged: Sequence[StagedFile] = (),
    taken_file: str | None = None,
    heartbeats: str | None = None,
    progress: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    gate: Gate | None = None,
) -> Verdict:
    """Writes the verdict of the run down, unless it has one, and publishes it.

    Raises PublishError as `publish` does, also for a run that the gate holds: who only follows the state of the job
    must see that nothing was published.
    """
    with publishing(heartbeats):
        advance(progress, 1, PUBLISH)
        if read_verdict(run.verdict) is None:
            taken = read_taken(taken_file)
            verdict = judge(
                run,
                planned_splits(run.plan),
                read=[*read, *taken.read],
                scored=[*scores, *taken.files["scores"]],
                dead=[*dead, *taken.files["dead"]],
                work=work,
                unchanged=[*unchanged, *taken.files["unchanged"]],
                taken_over=len(taken.read),
                taken_summary=taken.summary,
                ended_early=ended_early(run.staged),
            )
            if verdict.status == PASSED:
                verdict = gated(run, verdict, gate or Gate(), baseline)
            write_verdict(run, verdict)
            return publish(run)
        return publish_judged(run, gate or Gate(), baseline)
