"""Writes the page of commands from the command line's own help, when the site is built."""

from __future__ import annotations

from typing import Any

from typer.cli import get_docs_for_click
from typer.core import TyperGroup
from typer.main import get_command

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page's text with the help of all commands in the place of `MARK`."""
    if MARK not in markdown:
        return markdown
    from fer_tune.cli.app import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = group.make_context("fer-tune", [], resilient_parsing=True)
    text = get_docs_for_click(obj=group, ctx=context, name="fer-tune")
    text = text.replace("# `fer-tune`", "## `fer-tune`", 1)  # the page has a title of its own
    for name, command in group.commands.items():
        before, heading, after = text.partition(f"## `fer-tune {name}`\n")
        examples = "\n".join(command.examples)  # type: ignore[attr-defined]  # a Command of ours
        text = before + heading + after.replace("**Usage**:", f"```sh\n{examples}\n```\n\n**Usage**:", 1)
    return markdown.replace(MARK, text)
