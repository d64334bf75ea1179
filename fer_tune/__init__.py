"""fer-tune finds good hyperparameters for facial-expression networks.

    import fer_tune

    fer_tune.run("sweeps/resnet.yaml", workers=2)       searches, and continues a study that exists
    fer_tune.best("resnet")                             the best trial
    fer_tune.load_trials("resnet")                      all trials as a pandas DataFrame
    fer_tune.load_epochs("resnet")                      the learning curves
    fer_tune.confirm("resnet", top=5, seeds=3)          the best trials under new seeds
    [fit] = fer_tune.retrain("resnet")                  trains the best trial, and tests it once
    fer_tune.predict(fit.folder, "face.jpg")            the probability of each emotion
    fer_tune.load_model(fit.folder).predict(images)     the same for an array

`help(fer_tune.api)` describes all functions. Importing fer_tune is cheap: a function imports what
it needs when it is called.
"""

from typing import TYPE_CHECKING, Any

from fer_tune.errors import FerTuneError

if TYPE_CHECKING:
    from fer_tune.api import (
        audit_data,
        backup,
        best,
        check,
        check_family,
        compare,
        confirm,
        convert_sweep,
        copy_sweeps,
        delete_study,
        diagnose,
        ensemble,
        evaluate,
        export,
        export_study,
        failures,
        find_study,
        gain,
        import_study,
        load_epochs,
        load_model,
        load_trials,
        logs,
        migrate,
        overtuning,
        plan,
        predict,
        preview,
        protocols,
        publish_report,
        rename_study,
        replay,
        restore,
        retrain,
        run,
        standings,
        stop,
        studies,
        sync,
        template,
        trials,
        write_parquet,
        write_report,
    )

    __version__: str

__all__ = [
    "FerTuneError",
    "__version__",
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


def __getattr__(name: str) -> Any:
    """Returns a public function, and imports `fer_tune.api` for it."""
    if name == "__version__":
        return _version()
    if name in __all__:
        from fer_tune import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names, for completion."""
    return sorted(__all__)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fer-tune")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"
