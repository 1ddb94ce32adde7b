"""`--help`: panels of flags in plain text. Rich would take half of the time, cut long names and swallow brackets."""

import textwrap
from itertools import zip_longest
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.jobs.fields import PANELS

SETTINGS = {"max_content_width": 100}
FLAG_WIDTH = 28
"""Of the column of flags; a longer one has a line of its own."""


class PlainCommand(TyperCommand):
    """A command whose flags are shown by panel, in the order of PANELS, each with its whole name."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes usage, what the command does, and its flags."""
        _write(self, ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes a section for each panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panel = getattr(param, "rich_help_panel", None) or f"{param.param_type_name.capitalize()}s"
                panels.setdefault(panel, []).append(record)
        for panel in sorted(panels, key=PANELS.index):
            with formatter.section(panel):
                for name, text in panels[panel]:
                    _write_flag(name, text, formatter)


class PlainGroup(TyperGroup):
    """The list of the commands, which is also the answer to no command at all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Shows the list and ends with 2 if there is no command."""
        if not args:
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes what each command does, whole."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, str(command.help)) for name, command in self.commands.items()])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes usage, what the program does, and its commands."""
        _write(self, ctx, formatter)


def _write_flag(name: str, text: str, formatter: Any) -> None:
    # Click's own wrapping would break `--only-new` after a hyphen.
    lines = textwrap.wrap(text, formatter.width - FLAG_WIDTH - 4, break_on_hyphens=False)
    if len(name) > FLAG_WIDTH:
        formatter.write(f"  {name}\n")
        name = ""
    for flag, line in zip_longest([name], lines, fillvalue=""):
        formatter.write(f"  {flag:<{FLAG_WIDTH}}  {line}".rstrip() + "\n")


def _write(command: Any, ctx: Any, formatter: Any) -> None:
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    command.format_options(ctx, formatter)
    command.format_epilog(ctx, formatter)
