"""Tests that imports point down the list of rooms, and that libraries stay in their rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import fer_tune
from fer_tune.data.spec import DataRef
from fer_tune.job import Job, Kind

PACKAGE = Path(fer_tune.__file__).parent

LEVELS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"display", "doctor"},
    {"sources"},
    {"dashboard"},
    {"report", "mirror"},
    {"jobs"},
    {"pool"},
    {"study"},
    {"selection"},
    {"store"},
    {"sweep"},
    {"train"},
    {"models"},
    {"kernels"},
    {"job"},
    {"data"},
    {"errors", "files", "settings", "__init__"},
)
"""Rooms from top to bottom. A room imports only from itself and from lower levels."""

LIBRARIES = {
    "optuna": {"study", "report", "dashboard", "doctor"},
    "sqlalchemy": {"store", "study", "dashboard", "doctor"},
    "wandb": {"mirror"},
    "mlflow": {"mirror"},
    "tensorboard": {"mirror"},
    "ray": {"pool"},
    "typer": {"cli", "__main__"},
    "sklearn": {"data"},
    "pandas": {"data", "report", "api"},
}
"""Rooms that may import a library, at the top or inside functions."""

TORCHLESS = {
    "sweep",
    "store",
    "study",
    "selection",
    "data",
    "report",
    "mirror",
    "errors",
    "files",
    "settings",
    "job",
    "dashboard",
    "jobs",
    "display",
    "api",
    "__init__",
}
"""Rooms that never import torch. The doctor's probe does, in a process of its own."""

HEAVY = ("torch", "wandb", "sklearn", "ray")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def level_of(room: str) -> int:
    found = [number for number, rooms in enumerate(LEVELS) if room in rooms]
    assert found, f"{room} is not in the list of rooms"
    return found[0]


KEPT = (ast.Import, ast.ImportFrom, ast.ClassDef)


@cache
def nodes_of(source: str) -> list[ast.AST]:
    """Returns the imports and classes of a module, also those inside functions."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, KEPT)]


def imports_of(source: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yields every imported name with its line, also inside functions. All names are absolute."""
    package = ("fer_tune", *path.relative_to(PACKAGE).parent.parts)
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def violations(source: str, path: Path) -> list[str]:
    room = room_of(path)
    found = []
    for name, line in imports_of(source, path):
        where = f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        top, *rest = name.split(".")
        if top == "fer_tune":
            target = rest[0] if rest and not rest[0].startswith("__version") else "__init__"
            down = level_of(target) > level_of(room) or target == room
            base = level_of(target) == level_of(room) == len(LEVELS) - 1
            door = (
                room == "__init__" and target == "api"
            )  # the names that `import fer_tune` exports and imports on first use
            allowed = down or base or door
        else:
            allowed = room in LIBRARIES.get(top, {room}) and not (top == "torch" and room in TORCHLESS)
        if not allowed:
            found.append(where)
    return found


def test_imports_point_down_and_libraries_stay_in_their_rooms() -> None:
    found = [line for path in sorted(PACKAGE.rglob("*.py")) for line in violations(path.read_text("utf-8"), path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("store/store.py", "from fer_tune.study import Study"),
        ("store/store.py", "from ..study import Study"),
        ("store/store.py", "def f():\n    import optuna"),
        ("study/study.py", "import torch"),
        ("data/load.py", "from fer_tune import models"),
        ("mirror/x.py", "import fer_tune.report.confusion"),
    ],
)
def test_the_check_sees_an_import_that_points_up(file: str, source: str) -> None:
    assert violations(source, PACKAGE / file)


PLAIN = {"sweep", "selection", "job", "settings", "errors", "models", "files", "display", "cli", "api", "__init__"}
"""Rooms whose functions a command may call: they compute with values, or print."""

BESIDE = {
    "study.picking": "picks among trials that the API returned",
    "report.tables": "makes rows of trials that the API returned",
    "sources.final_result": "chooses among final fits that the API returned",
    "mirror.wandb_tracker.environment": "says whether a key is configured",
}
"""Modules of other rooms whose functions a command may call, and why."""


def past_the_api(source: str) -> list[str]:
    """Returns the functions that a command imports and that the API should call for it.

    Types and constants begin with a capital letter, or are only named for the type checker.
    """
    tree = ast.parse(source)
    checked = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    typing = {inner for node in checked for inner in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing and (node.module or "").startswith("fer_tune."):
            place = str(node.module).removeprefix("fer_tune.")
            names = [alias.name for alias in node.names if alias.name[0].islower() or alias.name == "Store"]
            if names and place.partition(".")[0] not in PLAIN and place not in BESIDE:
                found.append(f"{place}: {', '.join(names)}")
    return found


def test_commands_work_through_the_api() -> None:
    found = {path.name: past_the_api(path.read_text("utf-8")) for path in sorted((PACKAGE / "cli").glob("*.py"))}
    assert {name: functions for name, functions in found.items() if functions} == {}


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from fer_tune.sources.retrain import run_final_fits", True),
        ("def f():\n    from fer_tune.store import Store", True),
        ("from fer_tune.store.reading import open_reader", True),
        ("if TYPE_CHECKING:\n    from fer_tune.store import Store", False),
        ("from fer_tune.pool.engines import EngineName", False),
        ("from fer_tune.selection.statistics import mean", False),
    ],
)
def test_the_check_sees_a_command_that_goes_past_the_api(source: str, seen: bool) -> None:
    assert bool(past_the_api(source)) == seen


def test_each_class_has_a_name_of_its_own() -> None:
    """A leading underscore makes no difference: a reader meets both names."""
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in nodes_of(path.read_text("utf-8")):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def names_in(source: str) -> set[str]:
    """Returns every name that a source uses: what it imports, reads, and takes from a module."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name.rpartition(".")[2])
            case ast.Constant(value=str(name)):
                found.add(name)  # for getattr
    return found


def users_of(opener: str) -> set[str]:
    every = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    named = {place: source for place, source in every.items() if opener in source}  # parsing all takes seconds
    return {place for place, source in named.items() if opener in names_in(source)} - {"data/access.py"}


def reached_from(*starts: str) -> set[str]:
    """Returns the modules that these import, and those that they import in turn."""
    found, next_ones = set[str](), list(starts)
    while next_ones:
        place = next_ones.pop()
        if place in found or not (PACKAGE / place).is_file():
            continue
        found.add(place)
        for name, _ in imports_of((PACKAGE / place).read_text("utf-8"), PACKAGE / place):
            parts = name.split(".")[1:] if name.startswith("fer_tune.") else []
            for length in range(1, len(parts) + 1):
                path = "/".join(parts[:length])
                next_ones += [f"{path}.py", f"{path}/__init__.py"]
    return found


SEARCH = ("sources/search.py", "jobs/runner.py", "pool/local.py", "pool/worker.py", "train/loop.py", "study/study.py")
"""Where the parts of a search begin: what it tries, and what its workers run."""


@pytest.mark.parametrize(
    "source",
    [
        "from fer_tune.data.access import open_final",
        "from fer_tune.data.access import open_final as other",
        "from fer_tune.data import access\naccess.open_final(ref)",
        "import fer_tune.data.access\ngetattr(fer_tune.data.access, 'open_final')(ref)",
    ],
)
def test_the_check_sees_each_way_to_the_test_images(source: str) -> None:
    assert "open_final" in names_in(source)


def test_test_images_have_no_path_into_a_search() -> None:
    """A worker opens them for a final fit on all images only. A search cannot have such a job."""
    assert users_of("open_final") == {"sources/evaluate.py"}
    assert users_of("FinalData") == set()
    assert users_of("open_all") == {"train/loop.py"}
    reached = reached_from(*SEARCH)
    assert set(SEARCH) < reached
    assert "data/access.py" in reached, "the check follows imports"
    assert "sources/evaluate.py" not in reached
    data = DataRef(Path("cache"), "d" * 64, Path("split.npz"), "5" * 64)
    for kind in get_args(Kind):
        if kind != "final":
            with pytest.raises(ValueError, match="must not train on test images"):
                Job("a", "s", kind, "simple_cnn", {}, 1, 0, data, fit="all")


LIGHT = ("settings", "job", "sweep", "store", "study", "models", "train", "cli")
"""Packages and modules whose import is quick."""


def test_light_rooms_stay_light() -> None:
    """They are imported one after another in one process, which says what each brought along."""
    code = (
        "import importlib, sys\n"
        f"for name in {LIGHT}:\n"
        "    importlib.import_module(f'fer_tune.{name}')\n"
        f"    print(*(f'{{name}} imports {{heavy}}' for heavy in {HEAVY} if heavy in sys.modules), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [""] * (len(LIGHT) + 1)
