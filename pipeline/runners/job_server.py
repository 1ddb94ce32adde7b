"""Beam's Python job server with as many worker processes as a job asks for.

Started by `python -m pipeline.runners.job_server`.
"""

import argparse
import time

from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer

from pipeline.runners.loopback import loopback_only


class ParallelJob(BeamJob):
    """A job in `--direct_num_workers` worker processes; Beam's own server uses one, without a word."""

    def _invoke_runner(self):  # type: ignore[no-untyped-def]
        options = self.pipeline_options()
        runner = FnApiRunner(provision_info=self._provision_info)
        # FnApiRunner reads the option only in `run_pipeline`, which a job server does not call. Options that were sent
        # over the network are text.
        runner._num_workers = max(1, int(options.view_as(DirectOptions).direct_num_workers))
        self.set_state(beam_job_api_pb2.JobState.RUNNING)
        return runner.run_via_runner_api(self._pipeline_proto, options)


def serve(port: int) -> None:
    """Takes jobs at localhost:`port` until the process ends."""
    with loopback_only():
        server = LocalJobServicer(beam_job_type=ParallelJob)
        server.start_grpc_server(port)
        try:
            while True:
                time.sleep(3600)
        finally:
            server.stop()


def main() -> None:
    """Entry point of `python -m pipeline.runners.job_server`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8099)
    serve(parser.parse_args().port)


if __name__ == "__main__":
    main()
