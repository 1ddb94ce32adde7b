"""Flags are derived from the fields of the jobs, and `--help` shows each of them whole, with its default."""

import re
from pathlib import Path

import pydantic
import pytest
import typer
from typer.testing import CliRunner

from pipeline.bundling.certify_job import CertifyJob, QuantizeJob
from pipeline.bundling.import_job import ImportJob
from pipeline.bundling.training_job import TrainingJob
from pipeline.commands.app import app
from pipeline.commands.comparing.job import CompareJob
from pipeline.commands.flags import flags_of, form_of
from pipeline.jobs.config import JobConfig
from pipeline.jobs.fields import PANELS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OF_JOBS = {
    "score": JobConfig,
    "check": JobConfig,
    "backfill": JobConfig,
    "submit": JobConfig,
    "train": TrainingJob,
    "import": ImportJob,
    "certify": CertifyJob,
    "quantize": QuantizeJob,
    "compare": CompareJob,
}
LEFT_OUT = {"backfill": {"date"}, "submit": {"runner", "workers"}}


def help_of(command: str, width: int) -> str:
    return CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": str(width)}).output


@pytest.mark.parametrize("command", OF_JOBS)
def test_every_field_of_a_job_is_a_flag_in_its_panel(command: str) -> None:
    params = {param.name: param for param in COMMANDS[command].params}
    fields = {field.alias or name: field for name, field in OF_JOBS[command].model_fields.items()}
    assert fields.keys() - params.keys() == LEFT_OUT.get(command, set())
    for name in fields.keys() & params.keys():
        assert params[name].rich_help_panel == form_of(fields[name])["panel"]
        assert params[name].help.startswith(fields[name].description)
        assert params[name].rich_help_panel in PANELS


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_name_whole_and_fits(command: str, width: int) -> None:
    shown = help_of(command, width)
    assert max(map(len, shown.splitlines())) <= min(width, 100)
    for param in COMMANDS[command].params:
        for name in (*param.opts, *param.secondary_opts):
            if param.param_type_name == "option":
                assert re.search(rf"^ .*(?<![\w-]){name}(?![\w-])", shown, re.MULTILINE), name


@pytest.mark.parametrize("command", OF_JOBS)
def test_help_shows_every_default(command: str) -> None:
    shown = " ".join(help_of(command, 100).split())
    count = 0
    for name, field in OF_JOBS[command].model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if default not in (None, "", (), {}) and name not in LEFT_OUT.get(command, set()):
            text = {False: "no", True: "yes"}[default] if isinstance(default, bool) else str(default)
            if (command, name) == ("backfill", "if_published"):
                text = "skip"
            assert f"{field.description} [default: {text}]" in shown
            count += 1
    assert count > {"import": -1, "certify": 3, "quantize": 3, "compare": 0}.get(command, 5)


def test_a_command_has_its_own_flags_beside_those_of_the_job() -> None:
    class Shape(pydantic.BaseModel):
        side_count: int = pydantic.Field(3, description="Sides.", json_schema_extra={"panel": "Input"})
        closed: bool = pydantic.Field(True, description="Ends meet.", json_schema_extra={"panel": "Input"})

    found = []
    shapes = typer.Typer()

    @shapes.command()
    @flags_of(Shape, closed=False)
    def draw(colour: str = "red", **flags: object) -> None:
        found.append((colour, flags))

    result = CliRunner().invoke(shapes, ["--side-count", "4", "--no-closed", "--colour", "blue"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(shapes, []).exit_code == 0
    assert found == [("blue", {"side_count": 4, "closed": False}), ("red", {"side_count": None, "closed": None})]


def test_no_command_is_answered_with_the_list_of_them() -> None:
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.stderr) == (2, "")
    assert all(re.search(rf"^  {name} ", result.stdout, re.MULTILINE) for name in COMMANDS)


def test_a_column_that_is_given_two_names_or_types_is_refused(tmp_path: Path) -> None:
    job = ["score", "--bundle", "b", "--input", str(tmp_path), "--output", str(tmp_path / "o"), "--date", "2026-11-21"]
    for flag, values, said in (
        ("--rename", ("a=b", "a=c"), "--rename gives 'a' two values; give one"),
        ("--schema", ("a:int64", "a:string"), "column 'a' has two types, int64 and string; give one"),
    ):
        result = CliRunner().invoke(app, [*job, flag, values[0], flag, values[1]])
        assert result.exit_code == 2
        assert said in result.output
