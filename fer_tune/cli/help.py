"""How `--help` looks: plain text of at most 80 columns, with examples."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

Rows = list[tuple[str, str]]


class Command(TyperCommand):
    """A command whose help ends with examples."""

    examples: tuple[str, ...] = ()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Returns what follows the command's name in the line of usage."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *(one.metavar or one.name.upper() for one in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments, options and examples."""
        write_options(self, ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Writes what a command takes."""
    found: dict[str, Rows] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            found["Arguments" if param.param_type_name == "argument" else "Options"].append(_row(param, ctx))
    for heading, rows in found.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=24)


def _row(param: Any, ctx: Any) -> tuple[str, str]:
    """Returns how an argument or option is written, and what it does."""
    if param.param_type_name == "argument":
        return param.metavar or param.name.upper(), param.help or ""
    flags = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        flags += f" / {param.secondary_opts[0]}"
    if param.is_flag:
        return flags, param.help or ""
    default = param.get_default(ctx, call=False)
    shown = f" [default: {default}]" if param.show_default and default is not None else ""
    return f"{flags} {param.metavar or param.name.upper()}", f"{param.help or ''}{shown}"
