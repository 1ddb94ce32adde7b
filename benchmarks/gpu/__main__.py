"""The exported network on a GPU: speed, share of the matrix peak and memory, by shape and precision.

`make gpu-bench` does all on one machine. A machine with a GPU but without TensorFlow needs a copy of benchmarks/, the
small folder that `export` wrote elsewhere, and numpy beside JAX or PyTorch. From the folder that holds benchmarks/:

    python -m benchmarks.gpu export FOLDER          # TensorFlow, no GPU
    python -m benchmarks.gpu measure FOLDER         # there: TensorFlow with CUDA, else JAX
    python -m benchmarks.gpu competitor FOLDER      # there: PyTorch, through transformers if installed
    python -m benchmarks.gpu report FOLDER          # benchmarks/reports/GPU.md from the JSON in FOLDER

`--limit 500` ends a step in time; the same command then goes on where it ended. `export --sizes tiny` is for a CPU.
"""

import argparse
import importlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.measure import Runtime, left, measure, wrong
from benchmarks.gpu.report import GPU_REPORT, line, write_report
from benchmarks.gpu.workload import Workload

INSTALL = {
    "tensorflow": "it is in requirements/dev.txt",
    "jax": "`pip install 'jax[cuda13]'`, or `jax` for a CPU; --runtime tensorflow does without",
    "torch": "`pip install torch`",
    "transformers": "`pip install transformers`; --model plain does without",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one step; exits 1 if a program fails or differs from TensorFlow, and with the reason if it cannot start."""
    given = _parser().parse_args(arguments)
    try:
        given.step(given)
    except ValueError as error:
        sys.exit(f"benchmarks.gpu {given.name}: {error}")


def export(given: argparse.Namespace) -> None:
    workload = _need("export").export(given.folder, given.sizes, given.seed)
    size = sum(file.stat().st_size for file in given.folder.iterdir())
    print(f"exported {len(workload.programs)} programs to {given.folder}, {size / 2**20:.1f} MiB")


def measure_exported(given: argparse.Namespace) -> None:
    workload = Workload.load(given.folder)
    name = given.runtime
    if name == "auto":
        name = "tensorflow" if _tensorflow_sees_gpu() else "jax"
    if name == "tensorflow":
        runtime = _need("tensorflow_runtime").TensorFlow(workload)
    else:
        runtime = _need("jax_runtime").StableHlo(workload, given.folder)
    _measure(runtime, workload, given, f"measured-{name}.json")


def measure_competitor(given: argparse.Namespace) -> None:
    workload = Workload.load(given.folder)
    torch_runtime = _need("torch_runtime")
    name = given.model
    if name == "auto":
        name = "transformers" if torch_runtime.has_transformers() else "plain"
    elif name == "transformers" and not torch_runtime.has_transformers():
        raise ValueError(_missing("transformers"))
    runtime = torch_runtime.PyTorch(workload, transformers=name == "transformers", compiled=not given.eager)
    _measure(runtime, workload, given, f"measured-{name}{'-eager' if given.eager else ''}.json")


def report(given: argparse.Namespace) -> None:
    files = [file for path in given.results for file in (sorted(path.glob("measured-*.json")) or [path])]
    write_report(files, given.output)


def _measure(runtime: Runtime, workload: Workload, given: argparse.Namespace, file: str) -> None:
    about = runtime.about
    print(f"{about.runtime} on {about.device} ({', '.join(f'{k} {v}' for k, v in about.versions.items())})", flush=True)
    failed = []
    results = given.results or given.folder / file
    precisions = given.precision or given.precisions
    for figures in measure(runtime, workload, given.folder, results, precisions=precisions, limit=given.limit):
        print(line(figures), flush=True)
        failed += [figures.name] if wrong(figures) else []
    if later := [program.name for program in left(workload, results, precisions) if program.name not in failed]:
        print(f"{len(later)} programs are left; the same command goes on with {later[0]}")
    if failed:
        sys.exit(f"failed, or differs from TensorFlow: {', '.join(failed)}")


def _need(module: str) -> Any:
    """A module of benchmarks/gpu, whose package may be missing on this machine."""
    try:
        return importlib.import_module(f"benchmarks.gpu.{module}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in INSTALL:
            raise
        raise ValueError(_missing(package)) from None


def _missing(package: str) -> str:
    return f"the package {package} is not installed in {sys.executable}; install it: {INSTALL[package]}"


def _tensorflow_sees_gpu() -> bool:
    try:
        return bool(_need("tensorflow_runtime").sees_gpu())
    except (ValueError, ModuleNotFoundError):
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="name", required=True)

    def step(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        added = steps.add_parser(name, help=about, description=about)
        added.set_defaults(step=run)
        return added

    exporting = step("export", export, "write StableHLO programs, what they are, and reference results to a folder")
    exporting.add_argument("folder", type=Path)
    exporting.add_argument("--sizes", choices=("base", "tiny"), default="base")
    exporting.add_argument("--seed", type=int, default=1, help="of the random weights and rows")
    measuring = step("measure", measure_exported, "measure what was exported")
    measuring.add_argument("--runtime", choices=("auto", "tensorflow", "jax"), default="auto")
    competing = step("competitor", measure_competitor, "measure PyTorch on the same weights and rows")
    competing.add_argument("--model", choices=("auto", "transformers", "plain"), default="auto")
    competing.add_argument("--eager", action="store_true", help="without torch.compile")
    for added, precisions in ((measuring, ("float16", "bfloat16", "float32")), (competing, ("float16", "bfloat16"))):
        added.add_argument("folder", type=Path)
        added.add_argument("--precision", action="append", choices=precisions, help="only this one; may be repeated")
        added.add_argument("--limit", type=float, default=math.inf, help="start nothing new after so many seconds")
        added.add_argument("--results", type=Path, help="JSON to continue; FOLDER/measured-<runtime>.json by default")
        added.set_defaults(precisions=precisions)
    reporting = step("report", report, "Markdown of what was measured")
    reporting.add_argument("results", type=Path, nargs="+", help="JSON files, or the folder that holds them")
    where = f"by default {GPU_REPORT.name} in benchmarks/reports for BERT-base on a GPU, else the terminal"
    reporting.add_argument("--output", type=Path, help=where)
    return parser


if __name__ == "__main__":
    main()
