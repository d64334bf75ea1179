"""fer-tune: hyperparameter sweeps for facial-expression networks.

import fer_tune

fer_tune.load_trials("resnet")      a pandas DataFrame, one row a trial
fer_tune.load_epochs("resnet")      the learning curves, one row an epoch
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_tune.report.tables import load_epochs, load_trials

try:
    __version__ = version("fer-tune")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"

__all__ = ["__version__", "load_epochs", "load_trials"]


def __getattr__(name: str) -> Any:
    """Loads what reads the database when it is asked for: pandas, SQLAlchemy and Optuna take a second."""
    if name in ("load_trials", "load_epochs"):
        from fer_tune.report import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
