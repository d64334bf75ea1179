"""Tests of what must never happen.

fer-tune never runs code from a file, never writes outside the storage folder, and never keeps a key
or a password.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.cli.dashboard import _server
from fer_tune.dashboard.server import application
from fer_tune.data.dataset import Dataset
from fer_tune.doctor.probe import Probed
from fer_tune.errors import FerTuneError, StorageError, SweepError
from fer_tune.mirror import start
from fer_tune.settings import Settings
from fer_tune.store import ArtifactRecord, Store, StudyLock
from fer_tune.sweep.load import loads_sweep
from tests.anything import tries
from tests.data.making import csv_text
from tests.studies import make_study

PACKAGE = Path(fer_tune.__file__).parent

# code from files ------------------------------------------------------------------------------------------------------

PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
RUNNING = {"eval", "exec", "compile", "__import__"}
UNSAFE_YAML = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}
UNSAFE_LOADERS = {"Loader", "FullLoader", "UnsafeLoader", "CLoader", "CUnsafeLoader"}


def dangers(source: str) -> Iterator[str]:
    """Yields the calls of a module that could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()
            yield from (f"line {node.lineno} imports {name}" for name in names & PICKLING)
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE_LOADERS | {"read_pickle", "to_pickle"}:
            yield f"line {node.lineno} uses {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            owner, _, name = called.rpartition(".")
            unsafe = (
                called in RUNNING
                or (owner == "yaml" and name in UNSAFE_YAML)
                or (owner == "torch" and name == "load" and given.get("weights_only") != "True")
                or (owner in ("np", "numpy") and name == "load" and given.get("allow_pickle") != "False")
                or (owner == "np" and name == "save" and given.get("allow_pickle") != "False")
                or given.get("shell") == "True"
                or called in ("os.system", "os.popen")
                or name in ("Listener", "Client")  # of multiprocessing: pickles from a socket
            )
            if unsafe:
                yield f"line {node.lineno} calls {ast.unparse(node)}"


def test_no_module_runs_what_it_reads() -> None:
    """One module does: it runs the file that a sweep names as its family."""
    found = {
        path.relative_to(PACKAGE).as_posix(): told
        for path in sorted(PACKAGE.rglob("*.py"))
        if (told := list(dangers(path.read_text("utf-8"))))
    }
    ran = found.pop("models/family_files.py")
    assert len(ran) == 2
    assert all("compile(source, " in one for one in ran)
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "def f():\n    import joblib", "yaml.load(text)",
        "yaml.unsafe_load(t)",
        "class L(yaml.FullLoader): pass", "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)",
        "np.load(path, allow_pickle=True)", "eval(text)", "pd.read_pickle(path)", "subprocess.run(text, shell=True)",
    ],
)  # fmt: skip
def test_the_check_sees(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.system", "!!python/module:os"])
def test_a_sweep_runs_nothing(tag: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(SweepError):
        loads_sweep(f"study: x\nfamily: {tag} [{made}]\n", Path("x.yaml"))
    with pytest.raises(SweepError):
        loads_sweep("family: resnet\n", Path("x.yaml"), [f"study={tag} [{made}]"])
    assert not made.exists()


# names and paths ------------------------------------------------------------------------------------------------------

SWEEP = "family: simple_cnn\ndata: demo\n"
HOSTILE = (
    "..", ".", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "..\\x", "C:\\x", "C:x", "//host/x",
    "\\\\host\\x",
    "a\0b", "a\nb", "~root", "$HOME", "", " ", "a ", "a.", "...", ".hidden", "x" * 65,
    "\udcff", "\u202e", "ａ", "a\x1b[2J", "%2e%2e%2f", "-rf\n",
)  # fmt: skip
NAMES = st.sampled_from(HOSTILE) | st.text(max_size=70) | st.text("./\\:~ aA0-_\0", max_size=12)


def stays_inside(settings: Settings, name: str) -> None:
    """Asserts that all files named after a study are directly in their own folders."""
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", name)
    assert not name.endswith(".")
    for folder in (settings.artifacts, settings.checkpoints, settings.logs):
        for made in (folder / name, folder / f"{name}-0123abcd", folder / f"mirror-wandb-{name}.log"):
            assert made.resolve().parent == folder.resolve()
    assert StudyLock(settings, settings.url, name).path.resolve().parent == settings.locks.resolve()


@tries(150)
@given(NAMES)
def test_a_study_in_a_sweep_is_named_safely_or_refused(settings: Settings, name: str) -> None:
    texts = [(f"{SWEEP}study: {yaml.safe_dump(name)}", "x.yaml", ()), (SWEEP, "x.yaml", (f"study={name}",))]
    texts.append((SWEEP, "x.yaml", (f"study={yaml.safe_dump(name)}",)))
    if name and "/" not in name and "\0" not in name:
        texts.append((SWEEP, f"{name}.yaml", ()))
    for text, file, overrides in texts:
        try:
            sweep = loads_sweep(text, Path(file), overrides)
        except SweepError:
            continue
        stays_inside(settings, sweep.study)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_name_is_a_studys(name: str) -> None:
    with pytest.raises(SweepError):
        loads_sweep(f"{SWEEP}study: {yaml.safe_dump(name)}", Path("x.yaml"))


def options() -> dict[str, set[str]]:
    """Returns the long options of each command."""
    return {
        name: {text for parameter in command.params for text in parameter.opts if text.startswith("--")}
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("command", [name for name, known in options().items() if "--study" in known])
def test_no_command_finds_a_study_of_a_hostile_name(command: str, settings: Settings) -> None:
    make_study(settings).close()
    before = sorted(settings.root.parent.rglob("*"))
    for name in ("..", "../../etc/passwd", "/etc/passwd", "a\0b", "\udcff", "tiny/../tiny", "tiny\n", "x" * 5000):
        answer = CliRunner().invoke(app, [command, "--study", name])
        assert isinstance(answer.exception, SystemExit), (name, answer.exception)
        assert answer.exit_code == 2, (name, answer.output)
    new = set(settings.root.parent.rglob("*")) - set(before)
    assert all(path.name.startswith("fer_tune.db-") for path in new), new


OUTSIDE = b"what no artifact may ever show"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        (settings.artifacts / "tiny").mkdir(parents=True)
        (settings.artifacts / "tiny" / "file").write_bytes(b"content")
        (settings.root.parent / "secret").write_bytes(OUTSIDE)
        (settings.artifacts / "tiny" / "link").symlink_to(settings.root.parent / "secret")
        (settings.artifacts / "out").symlink_to(settings.root.parent)
        (settings.artifacts / "loop").symlink_to(settings.artifacts / "loop")
        yield store


PATHS = st.lists(
    st.sampled_from(["..", ".", "", "artifacts", "tiny", "file", "link", "out", "secret", "loop", "\0", "~", "\udcff"])
    | st.text(max_size=5),
    min_size=1,
    max_size=6,
).map("/".join)


@tries(150)
@example("artifacts/tiny/link")
@example("artifacts/out/secret")
@example("artifacts/loop")
@example("/etc/passwd")
@example("artifacts/tiny/../../../secret")
@example("artifacts/tiny/\0")
@given(PATHS)
def test_an_artifact_lies_below_the_storage_folder_or_is_refused(store: Store, name: str) -> None:
    try:
        record = store.artifacts.add("tiny", 0, "val_logits", store.root / name if name[:1] != "/" else Path(name))
    except StorageError:
        return
    assert store.artifacts.path(record).resolve().is_relative_to(store.root.resolve())
    assert store.artifacts.path(record).read_bytes() != OUTSIDE


@tries(100)
@example("../x")
@given(NAMES)
def test_a_kind_of_artifact_is_a_few_plain_words(store: Store, kind: str) -> None:
    try:
        record = store.artifacts.add("tiny", 0, kind, store.root / "artifacts" / "tiny" / "file")
    except StorageError:
        return
    assert re.fullmatch(r"[A-Za-z0-9 ._-]{1,64}", record.kind)


@tries(150)
@example("../secret")
@example("artifacts/tiny/link")
@given(PATHS)
def test_a_record_that_other_hands_wrote_opens_nothing_outside(store: Store, path: str) -> None:
    written = store.artifacts.of("tiny")
    record = ArtifactRecord(0, "val_logits", path, "0" * 64, 1, store.studies.get("tiny").created)
    assert record not in written
    try:
        place = store.artifacts.path(record)
    except StorageError:
        return
    assert place.resolve().is_relative_to(store.root.resolve())


# the dashboard --------------------------------------------------------------------------------------------------------


def test_the_dashboard_serves_no_file_outside(store: Store, settings: Settings) -> None:
    with _server("127.0.0.1", 0, application(store, settings)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            for path in (
                "../secret",
                "..%2f..%2fsecret",
                "%2e%2e/%2e%2e/secret",
                "..%5csecret",
                "%00",
                "%2fetc%2fpasswd",
            ):
                for place in ("artifacts/1/1/", "artifacts/1/", "static/", "fonts/", ""):
                    with pytest.raises(urllib.error.HTTPError) as caught:
                        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{place}{path}", timeout=20)
                    assert caught.value.code in (400, 403, 404, 405, 500)
                    assert OUTSIDE not in caught.value.read()
                    caught.value.close()
        finally:
            server.shutdown()
            thread.join()


# keys -----------------------------------------------------------------------------------------------------------------

KEYS = ("f00dfeed" * 5, "wandb_v1_" + "S3cretKey" * 8 + "Tail0")
"""Keys of 40 and of 86 characters, the two lengths of wandb's keys."""


def holding(places: list[Path], *outputs: str | bytes, secret: str) -> list[str]:
    """Returns where a secret is: plain, as in an Authorization header, or quoted for a URL."""
    header = base64.b64encode(f"api:{secret}".encode()).decode()
    traces = [form.encode() for text in (secret, header[8:-4]) for form in (text, quote(text, safe=""))]
    texts = {f"output {number}": text for number, text in enumerate(outputs)}
    contents = {name: text if isinstance(text, bytes) else text.encode() for name, text in texts.items()}
    for place in places:
        contents |= {str(file): file.read_bytes() for file in place.rglob("*") if file.is_file()}
    return [name for name, content in contents.items() if any(trace in content for trace in traces)]


@pytest.mark.parametrize(
    ("key", "mirror"),
    [pytest.param(KEYS[0], "offline", marks=pytest.mark.slow), (KEYS[1], "disabled")],
    ids=["40", "86"],
)
def test_a_run_keeps_no_key(  # noqa: PLR0917 - fixtures
    key: str, mirror: str, tmp_path: Path, demo: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs a sweep with real offline runs of wandb, which are written during the run or later."""
    assert len(key) in (40, 86)
    (tmp_path / "faces.csv").write_text(csv_text(demo.images, demo.labels))
    sweep = tmp_path / "keyed.yaml"
    sweep.write_text(
        "family: simple_cnn\nsampler: random\nbudget: {trials: 1, epochs: 1}\nparams: {width: 8, batch_size: 64}\n"
    )
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    outputs = []
    data = str(tmp_path / "faces.csv")
    sync = ["sync", "--include-disabled"]
    for words in (["run", str(sweep), "--data", data, "--engine", "inline", "--wandb", mirror], sync):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        outputs.append(done.output)
    assert list(settings.root.rglob("run-*.wandb")), "no wandb run was written"
    assert holding([tmp_path], *outputs, secret=key) == []


@contextmanager
def wandb_server(status: int) -> Iterator[tuple[str, list[str]]]:
    """Yields the URL of a server that plays wandb, and the Authorization headers it has received.

    It refuses everything, and its answers echo these headers.
    """
    heard: list[str] = []

    class Refuses(BaseHTTPRequestHandler):
        def answer(self) -> None:
            heard.append(str(self.headers.get("Authorization", "")))
            said = f"user is not logged in with {heard[-1]} or {quote(heard[-1])}"
            body = json.dumps({"errors": [{"message": said}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


def mirrored_online(settings: Settings, enough: Callable[[str], bool]) -> str:
    """Returns the mirror's log once `enough` accepts it, or after a minute."""
    make_study(settings).close()
    handle = start(settings, "tiny", "online", priority="normal")
    until = time.monotonic() + 60
    while not enough(handle.log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not handle.stop(1.0)
    return handle.log.read_text()


@pytest.mark.parametrize("key", [KEYS[0], pytest.param(KEYS[1], marks=pytest.mark.slow)], ids=["40", "86"])
def test_a_login_that_is_refused_keeps_no_key(
    key: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    with wandb_server(401) as (address, heard):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        log = mirrored_online(settings, lambda log: "401" in log)
    assert holding([], *heard, secret=key), "the mirror did not send the key"
    assert "401" in log
    assert holding([tmp_path], log, secret=key) == []


def test_a_network_that_is_down_keeps_no_key(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEYS[0])
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    log = mirrored_online(settings, bool)
    assert "127.0.0.1:9" in log
    assert holding([tmp_path], log, secret=KEYS[0]) == []


@pytest.mark.slow
def test_a_network_that_goes_down_meanwhile_keeps_no_key(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wandb itself has started, and cannot reach its server."""
    monkeypatch.setenv("WANDB_API_KEY", KEYS[1])
    with wandb_server(503) as (address, heard):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        log = mirrored_online(settings, lambda log: len(heard) > 4)
    assert heard
    assert holding([tmp_path], log, secret=KEYS[1]) == []


# passwords ------------------------------------------------------------------------------------------------------------

URLS = (
    "postgresql://me:hunter2@127.0.0.1:9/x",
    "postgresql+psycopg://me:hunter2@127.0.0.1:9/x?connect_timeout=1",
    "postgresql://127.0.0.1:9/x?user=me&password=hunter2",
    "postgresql://me:hunter2@127.0.0.1:nine/x",
    "postgresql://me:hunter2@127.0.0.1:9/x?nonesuch=1",
    "postgresql://me:hunter2@[::1/x",
    "nonesuch://me:hunter2@127.0.0.1/x",
    "mysql+nonesuch://me:hunter2@127.0.0.1/x",
    "me:hunter2@127.0.0.1",
)


@pytest.mark.parametrize("url", URLS)
def test_no_error_shows_a_password(url: str, tmp_path: Path) -> None:
    for create in (False, True):
        with pytest.raises(FerTuneError) as caught:
            Store.open(url, create=create, root=tmp_path, patience=0)
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("command", [name for name, known in options().items() if "--storage" in known])
def test_no_command_shows_a_password(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = tmp_path / "x.yaml"
    sweep.write_text(SWEEP)
    monkeypatch.setattr("fer_tune.doctor.probe.probe", Probed)
    words = [command, *([str(sweep), "--engine", "inline"] if command == "run" else [])]
    for url in URLS[:4]:
        answer = CliRunner().invoke(app, [*words, "--storage", url])
        assert answer.exit_code in (1, 2), answer.output
        assert isinstance(answer.exception, SystemExit), answer.exception
        assert "hunter2" not in answer.output
    assert holding([tmp_path], secret="hunter2") == []
