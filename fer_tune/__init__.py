"""fer-tune: hyperparameter sweeps for facial-expression networks."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fer-tune")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"
