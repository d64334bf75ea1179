"""`--help`: every command is described in 80 columns, with examples that are valid."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.cli.commands import SECTIONS, Commands

COMMANDS = Commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_and_has_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert shown.stdout.startswith(f"Usage: root {name} [OPTIONS]")
    assert f"Examples:\n  fer-tune {name}" in shown.stdout
    assert "--verbose" in shown.stdout
    assert "<" not in shown.stdout.partition("Examples:")[0]  # `<bool>` and `x<=1` are Typer's


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_valid(name: str) -> None:
    for example in COMMANDS[name].examples:
        program, *words = shlex.split(example.partition(" > ")[0])
        assert program == "fer-tune"
        if words == ["--version"]:
            continue
        assert words.pop(0) == name
        context: Any = COMMANDS[name].make_context(name, words)
        assert context.params["verbose"] is False


def test_the_help_names_all_commands_in_the_order_of_first_use() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    lines = [line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ") and line.strip()]
    found = [word for word in lines if word in COMMANDS]
    assert found == [name for section in SECTIONS.values() for name in section]
    assert found.index("init") < found.index("run") < found.index("best") < found.index("retrain")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert CliRunner().invoke(app, []).output == shown.stdout


def test_every_option_with_a_value_says_what_it_takes() -> None:
    for name, command in COMMANDS.items():
        for param in command.params:
            made: Any = param
            flag = made.param_type_name == "option" and made.is_flag
            assert flag or made.metavar, f"{name}: {made.name}"
            assert made.help or made.name == "help", f"{name}: {made.name}"


def test_a_shell_completes_commands_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(line: str) -> list[str]:
        environment = {
            "_FER_TUNE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        shown = CliRunner().invoke(app, [], prog_name="fer-tune", env=environment)
        return shown.stdout.split()

    assert complete("fer-tune b") == ["best", "backup"]
    assert "--study" in complete("fer-tune best --st")
    assert "resnet" in complete("fer-tune run res")
    assert complete("fer-tune init simp") == ["simple_cnn"]
    assert complete("fer-tune best x") == []  # there is no database
