"""What others build on keeps its name: flags, keys, codes, columns, events, variables, files.

tests/data/public_names.json has the names. A change of them is deliberate: run this file as a program from the root
(`python tests/pipeline/commands/test_public_names.py` with PYTHONPATH=.:tests), and read the difference.
"""

import ast
import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
from support.commands import run_forked

ROOT = Path(__file__).resolve().parents[3]
NAMES = ROOT / "tests/data/public_names.json"
DATE = "2026-11-21"
ROOMS = ("pipeline", "transforms", "model")
RUN = "20261121T020304Z-0a1b2c"
HEX = "0123456789abcdef" * 2
FILES = (
    f"dt={DATE}/part-{RUN}-00000.parquet",
    f"dt={DATE}/_digests-{RUN}-00000.sha128",
    f"_dead_letters/dt={DATE}/part-{RUN}-00000.parquet",
    f"_runs/{RUN}/over-budget.txt",
    *(f"_runs/{RUN}/{name}" for name in ("plan.parquet", "verdict.json", "job.json", "session.json")),
    f"_runs/{RUN}/taken-20261121T020304Z-0a1b2c.json",
    f"_runs/{RUN}/beats-20261121T020304Z-0a1b2c/_listener",
    *(f"_runs/{RUN}/staged/{kind}-000000-{HEX}.parquet" for kind in ("scores", "unchanged", "dead")),
    *(f"_runs/{RUN}/staged/{kind}-000000-{HEX}.json" for kind in ("scores", "unchanged", "dead", "read")),
    f"_runs/{RUN}/staged/scores-000000-{HEX}.sha128",
    f"_runs/{RUN}/load/scores-000000-{HEX}.parquet",
)
"""One of every kind of file that a run has in its output."""


def flags() -> dict[str, dict[str, str]]:
    """Command -> parameter -> what its callers depend on: names, type, default, whether it may be repeated."""
    import typer

    from pipeline.commands.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {name: {param.name: _flag(param) for param in command.params} for name, command in commands.items()}


def _flag(param: Any) -> str:
    kind = getattr(param.type_descriptor.annotation, "__name__", "")
    bounds = "" if param.min is param.max is None else f" from {param.min} to {param.max}"
    said = [
        "required" if param.required else f"default {param.default!r}",
        *(["repeatable"] if param.multiple or param.nargs == -1 else []),
        *(["takes no value"] if getattr(param, "is_flag", False) else []),
    ]
    names = " ".join((*param.opts, *param.secondary_opts))
    return f"{param.param_type_name} {names}: {kind}{bounds}, {', '.join(said)}"


def keys() -> dict[str, dict[str, str]]:
    """Kind of job -> key of its YAML file, or flag -> type and default."""
    from pipeline.bundling.certify_job import CertifyJob
    from pipeline.bundling.import_job import ImportJob
    from pipeline.bundling.training_job import TrainingJob
    from pipeline.dataflow.profile import Profile
    from pipeline.jobs.config import JobConfig

    models = {"job": JobConfig, "training": TrainingJob, "import": ImportJob, "certify": CertifyJob, "profile": Profile}
    return {name: _fields(model) for name, model in models.items()}


def _fields(model: type[pydantic.BaseModel]) -> dict[str, str]:
    rules = model.model_json_schema(by_alias=True)["properties"]
    shown = ("title", "description", "default", "panel", "pairs", "separated", "argument")
    found = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        rule = json.dumps({word: value for word, value in rules[key].items() if word not in shown}, sort_keys=True)
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        found[key] = f"{rule}, {default}"
    return found


def codes() -> dict[str, Any]:
    """Exit codes by what happened, codes of dead letters, and states of a run."""
    from model.bundle import BundleError
    from model.errors import CheckpointError
    from pipeline.commands.start import INTERRUPTED
    from pipeline.errors import EXIT_CODES, ConfigError, DateError, RunFailedError, TryLaterError
    from pipeline.terminal.report import explain
    from transforms.batches.dead_letters import CODES, OF_THE_MODEL
    from transforms.errors import NoInputError, PlanError, RecordError
    from transforms.runs.verdict_record import STATUSES

    errors = (ConfigError, DateError, BundleError, PlanError, CheckpointError, RecordError, NoInputError, ValueError)
    errors = (*errors, TryLaterError, RunFailedError, RuntimeError)
    return {
        "exit": {**EXIT_CODES, **{error.__name__: explain(error("x"), "text") for error in errors}},
        "interrupted": INTERRUPTED,
        "dead_letters": sorted(CODES),
        "dead_letters_of_the_model": sorted(OF_THE_MODEL),
        "states": sorted(STATUSES),
    }


def columns() -> dict[str, Any]:
    """The columns of every file that others read."""
    import pyarrow as pa

    from transforms.batches.schemas import DEAD_LETTERS, OF_WINDOWS
    from transforms.batches.score_columns import scores_schema, written_names

    nothing = pa.schema([])
    schemas = {task: scores_schema(nothing, task) for task in ("classification", "regression")}
    told = {**schemas, "dead_letters": DEAD_LETTERS, "windows": OF_WINDOWS}
    taken = {task: sorted(written_names(task)) for task in schemas}
    return {"taken": taken, **{name: _columns(schema) for name, schema in told.items()}}


def _columns(schema: Any) -> list[str]:
    return [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema]


def events() -> dict[str, list[str]]:
    """Events of `--log-format json` -> the keywords that the code gives them, wherever it does."""
    from pipeline.backfill import Ended
    from pipeline.submitting import Submitted

    found: dict[str, set[str]] = {}
    for tree in _trees("pipeline"):
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "emit":
                event = call.args[0].value if isinstance(call.args[0], ast.Constant) else "<status of the run>"
                found.setdefault(str(event), set()).update(word.arg for word in call.keywords if word.arg)
    found["submitted"] |= {field.name for field in dataclasses.fields(Submitted)}
    found["date"] |= {field.name for field in dataclasses.fields(Ended)}
    return {event: sorted(words) for event, words in sorted(found.items())}


def variables() -> list[str]:
    """Environment variables that the code names."""
    name = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+){2,}")
    known = {
        node.value
        for tree in _trees(*ROOMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and name.fullmatch(node.value)
    }
    settings = (ROOT / "deploy/airflow/dags").glob("*.py")
    asked = {word for file in settings for word in re.findall(r'(?:setting|parsed)\(\s*"(\w+)"', file.read_text())}
    return sorted(known | {f"BERT_BATCH_{word.upper()}" for word in asked})


def _trees(*rooms: str) -> Iterator[ast.AST]:
    for room in rooms:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield ast.parse(file.read_text(encoding="utf-8"))


def places() -> dict[str, Any]:
    """Folders and files of an output, and those of them that are told by their names to be ours."""
    from transforms.outputs import names

    return {
        "manifest": names.MANIFEST,
        "folders": [names.RUNS, names.DEAD_LETTERS],
        "date": names.DATE_FOLDER.pattern,
        "run": names.RUN_ID.pattern,
        "ours": [path for path in FILES if names.owner(path) == RUN],
    }


def left_by_a_run(folder: Path) -> dict[str, Any]:
    """What one run of the shipped example prints and leaves behind: names of files, keys, events."""
    import pyarrow.parquet as pq

    # So many that the sample of the summary has some of them.
    texts = [" ", *(f"{what} {number}" for what in ("play a song", "book a table") for number in range(40))]
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    source, output = folder / "in.jsonl", folder / "out"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bundle = ROOT / "examples/snips/bundle"
    command = ["score", "--bundle", bundle, "--input", source, "--output", output, "--date", DATE]
    command += ["--max-dead-fraction", "1", "--log-format", "json"]
    run = [sys.executable, "-m", "pipeline", *map(str, command)]
    out = run_forked(run, folder=folder)
    files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    (verdict,) = output.glob("_runs/*/verdict.json")
    (plan,) = output.glob("_runs/*/plan.parquet")
    schema = pq.read_schema(plan)
    return {
        "events": {line["event"]: _keys(line) for line in map(json.loads, out.splitlines())},
        "files": sorted({re.sub(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}|[0-9a-f]{32}", "*", name) for name in files}),
        "manifest": _keys(json.loads((output / f"dt={DATE}" / "_manifest.json").read_bytes())),
        "verdict": _keys(json.loads(verdict.read_bytes())),
        "plan": [*schema.names, *_keys({"about": json.loads(schema.metadata[b"about"])})],
        "bundle": _keys(json.loads((bundle / "bundle.json").read_bytes())),
    }


OF_DATA = {"inputs", "files", "origin", "quality", "baseline", "versions", "dead_codes"}
"""Keys below which the keys, or their number, are data of the run."""


def _keys(value: Any, above: str = "") -> list[str]:
    """The keys of a document with those of its parts, as `a.b`; those of a list are those of its first element."""
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return []
    found = []
    for key, part in value.items():
        found.append(f"{above}{key}")
        if key not in OF_DATA or isinstance(part, list):
            found += _keys(part, f"{above}{key}.")
    return sorted(found)


COLLECTED = {
    "flags": flags,
    "keys": keys,
    "codes": codes,
    "columns": columns,
    "events": events,
    "variables": variables,
    "places": places,
}


@pytest.mark.parametrize("kind", COLLECTED)
def test_names_are_what_they_were(kind: str) -> None:
    assert json.loads(json.dumps(COLLECTED[kind]())) == json.loads(NAMES.read_text(encoding="utf-8"))[kind]


@pytest.mark.slow
def test_a_run_prints_and_leaves_what_it_did(tmp_path: Path) -> None:
    assert left_by_a_run(tmp_path) == json.loads(NAMES.read_text(encoding="utf-8"))["run"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        content = {**{kind: collect() for kind, collect in COLLECTED.items()}, "run": left_by_a_run(Path(folder))}
    NAMES.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
