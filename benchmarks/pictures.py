"""Takes the README's pictures of the dashboard and of a report: python -m benchmarks.pictures docs

They show a real run of the demo sweep and its final fit in a real browser. It takes two minutes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image

from fer_tune.cli.dashboard import _server
from fer_tune.dashboard.server import application, study_id
from fer_tune.report.page import render
from fer_tune.settings import Settings
from fer_tune.sources.final import Request
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import RunOptions, run_sweeps
from fer_tune.store import Store
from fer_tune.sweep.load import load_sweep
from tests.browser import Browser

SWEEP = Path(__file__).parent.parent / "sweeps" / "demo.yaml"


def main(out: Path) -> None:
    """Runs the sweep in a folder of its own, and takes both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(folder / "storage", f"sqlite:///{folder}/fer_tune.db")
        run_sweeps([load_sweep(SWEEP)], settings, RunOptions(workers=2, wandb="disabled"))
        fits = run_final_fits("demo", Request(), settings, RunOptions(wandb="disabled"))
        assert fits, "nobody interrupts it"
        best = fits[0].trial
        with Store.of(settings) as store, Browser() as page:
            dashboard(page, store, settings, best, out / "dashboard.png")
            (folder / "report.html").write_text(render(store, ["demo"]), encoding="utf-8")
            report(page, folder / "report.html", out / "report.png")


def dashboard(page: Browser, store: Store, settings: Settings, trial: int, out: Path) -> None:
    """The trial's page in the dashboard."""
    with _server("127.0.0.1", 0, application(store, settings)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.look(1500, 2200)
        page.open(
            f"http://127.0.0.1:{server.server_port}/dashboard/studies/{study_id(store, 'demo')}/trials?numbers={trial}"
        )
        page.shows("best epoch", "learning curves.svg")
        page.until("[...document.images].filter(image => image.complete && image.naturalWidth > 300).length > 1")
        page.picture(out, height=1360)
        server.shutdown()
    small(out)


def report(page: Browser, file: Path, out: Path) -> None:
    """The head of the report."""
    page.look(1180, 900)
    page.open(file.as_uri())
    page.shows("To reproduce")
    page.picture(out, height=1650, whole=True)
    small(out)


def small(picture: Path) -> None:
    """Keeps 64 colours: enough for a page."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
