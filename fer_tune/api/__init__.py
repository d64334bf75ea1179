"""The public functions of fer-tune. `import fer_tune` exports them, and the command line calls no
others.

    sweep_files:  template, copy_sweeps, convert_sweep
    checks:       check, check_family, audit_data, diagnose
    searches:     preview, plan, run, stop
    results:      find_study, studies, best, trials, failures, logs,
                  load_trials, load_epochs
    choices:      standings, gain, confirm, overtuning, compare, replay
    reports:      write_report, publish_report, write_parquet, sync
    final_fits:   retrain, ensemble
    models:       load_model, predict, evaluate, protocols, export
    storage:      backup, restore, migrate, delete_study, rename_study,
                  export_study, import_study

Importing this package is cheap: each function imports the libraries that it needs. `storage` is
always the URL of the database. By default it is what FER_TUNE_STORAGE or FER_TUNE_DIR name. `study`
may be left out if the database has only one.

Errors that you can do something about are a `fer_tune.errors.FerTuneError` with a message and a
hint.
"""

from fer_tune.api.checks import audit_data, check, check_family, diagnose
from fer_tune.api.choices import compare, confirm, gain, overtuning, replay, standings
from fer_tune.api.final_fits import ensemble, retrain
from fer_tune.api.models import evaluate, export, load_model, predict, protocols
from fer_tune.api.reports import publish_report, sync, write_parquet, write_report
from fer_tune.api.results import best, failures, find_study, load_epochs, load_trials, logs, studies, trials
from fer_tune.api.searches import plan, preview, run, stop
from fer_tune.api.storage import backup, delete_study, export_study, import_study, migrate, rename_study, restore
from fer_tune.api.sweep_files import convert_sweep, copy_sweeps, template

__all__ = [
    "audit_data",
    "backup",
    "best",
    "check",
    "check_family",
    "compare",
    "confirm",
    "convert_sweep",
    "copy_sweeps",
    "delete_study",
    "diagnose",
    "ensemble",
    "evaluate",
    "export",
    "export_study",
    "failures",
    "find_study",
    "gain",
    "import_study",
    "load_epochs",
    "load_model",
    "load_trials",
    "logs",
    "migrate",
    "overtuning",
    "plan",
    "predict",
    "preview",
    "protocols",
    "publish_report",
    "rename_study",
    "replay",
    "restore",
    "retrain",
    "run",
    "standings",
    "stop",
    "studies",
    "sync",
    "template",
    "trials",
    "write_parquet",
    "write_report",
]
