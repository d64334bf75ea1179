"""Takes the pictures of the README and of the documentation: `make pictures`.

    python -m benchmarks.pictures docs

They show a real run of the demo's sweep and its final fit: nothing in them is made up. The terminal
is what the live view draws. Report and dashboard are in a real browser. It takes three minutes on
an idle machine.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.text import Text

from fer_tune import api
from fer_tune.cli.dashboard import _server
from fer_tune.dashboard.server import application, study_id
from fer_tune.data.demo import demo_faces
from fer_tune.data.demo.__main__ import contact_sheet
from fer_tune.display.live import LiveView
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw, left_behind
from fer_tune.job import EpochRow, Job
from fer_tune.jobs import StudyOutcome
from fer_tune.jobs.observers import Observers
from fer_tune.report.page import render
from fer_tune.settings import Settings
from fer_tune.sources.final import Request
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.sweep.load import load_sweep
from tests.browser import Browser

SWEEP = Path(__file__).parent.parent / "sweeps" / "demo.yaml"

COLUMNS, LINES = 110, 44
"""Size of the terminal."""

PHONE = 1500
"""Height of the picture of a report on a phone, in px."""

AFTER = 10
"""Finished trials before the picture of the run is taken."""


def main(out: Path) -> None:
    """Runs the sweep in a folder of its own, and takes all pictures."""
    contact_sheet(out / "demo-faces.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(folder / "storage", f"sqlite:///{folder}/fer_tune.db")
        run = Recorded("fer-tune run demo --workers 2", out / "run.svg", out / "result.svg", after=AFTER)
        run_sweeps([load_sweep(SWEEP)], settings, RunOptions(workers=2, wandb="disabled"), run.watch(settings))
        fit = Recorded("fer-tune retrain --study demo", out / "retrain.svg")
        fits = run_final_fits("demo", Request(), settings, RunOptions(wandb="disabled"), observer=fit.watch(settings))
        assert fits, "nobody interrupts it"
        for view in (run, fit):
            view.check(settings)
        with Store.of(settings) as store, Browser() as page:
            dashboard(page, store, settings, fits[0].trial, out)
            (folder / "report.html").write_text(render(store, ["demo"]), encoding="utf-8")
            report(page, folder / "report.html", out)
        predictions(fits[0].folder, out / "predictions.png")


class Recorded(LiveView):
    """A live view that nobody sees. It keeps a picture of the run, and one of its result."""

    def __init__(self, command: str, path: Path, result: Path | None = None, after: int = 0) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=True, width=COLUMNS), RunState())
        self.command, self.path, self.result, self.after = command, path, result, after
        self._taken = False

    def watch(self, settings: Settings) -> Observers:
        """Returns what a run calls."""
        return Observers([self.state, self], settings.logs / "observers.log")

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        """Takes the picture where every worker is within a job, after enough of them."""
        busy = all(shown.epoch > 0 for shown in self.state.running)
        if not self._taken and self.state.finished >= self.after and busy and row.epoch > 1:
            self._taken = True
            _save(self.path, self.command, draw(self.state, COLUMNS, LINES, self.monitor))

    def study_closed(self, outcome: StudyOutcome) -> None:
        """Takes the picture of what stays in the terminal."""
        if self.result is not None:
            _save(self.result, self.command, left_behind(self.state, COLUMNS))

    def check(self, settings: Settings) -> None:
        """Ends the program if the picture was not taken."""
        log = settings.logs / "observers.log"
        if not self._taken:
            sys.exit(log.read_text("utf-8") if log.exists() else f"{self.path} was not taken: no epoch came in time.")


def _save(path: Path, command: str, drawing: RenderableType) -> None:
    """Writes a drawing as SVG, without a font from the net."""
    page = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    page.print(Text.assemble(("$", "bold"), f" {command}\n"))
    page.print(drawing)
    plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(page.export_svg(title="fer-tune", code_format=plain), encoding="utf-8")


def dashboard(page: Browser, store: Store, settings: Settings, trial: int, out: Path) -> None:
    """The pages of the study and of a trial in the dashboard."""
    with _server("127.0.0.1", 0, application(store, settings)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        study = f"http://127.0.0.1:{server.server_port}/dashboard/studies/{study_id(store, 'demo')}"
        page.look(1500, 2200)
        page.open(f"{study}/trials?numbers={trial}")
        page.shows("best epoch", "learning curves.svg")
        page.until("[...document.images].filter(image => image.complete && image.naturalWidth > 300).length > 1")
        page.picture(out / "dashboard.png", height=1360)
        page.open(study)
        page.shows("val_accuracy", "Hyperparameter Importance")
        page.until("document.querySelectorAll('.js-plotly-plot .trace').length > 1")
        page.picture(out / "dashboard-study.png", height=1360)
        server.shutdown()
    for picture in (out / "dashboard.png", out / "dashboard-study.png"):
        small(picture)


def report(page: Browser, file: Path, out: Path) -> None:
    """The head of the report, and its table of trials on a phone."""
    page.look(1180, 900)
    page.open(file.as_uri())
    page.shows("To reproduce")
    page.picture(out / "report.png", height=1900, whole=True)
    page.look(390, 844, phone=True, dark=True)
    page.open(file.as_uri())
    page.shows("To reproduce")
    top = int(page.run("document.querySelector('#demo').offsetTop"))
    page.picture(out / "report-phone.png", whole=True)
    with Image.open(out / "report-phone.png") as image:
        image.crop((0, top, image.width, top + PHONE)).save(out / "report-phone.png")
    for picture in (out / "report.png", out / "report-phone.png"):
        small(picture)


def predictions(model: Path, out: Path) -> None:
    """A contact sheet of what a model says of faces that the demo draws."""
    faces = demo_faces().images
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"face-{place:02}.png" for place in range(12)]
        for place, file in enumerate(files):
            Image.fromarray(faces[place * len(faces) // len(files)]).save(file)
        api.predict(model, files, sheet=out)


def small(picture: Path) -> None:
    """Keeps 64 colours: enough for a page."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
