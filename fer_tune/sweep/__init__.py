"""The sweep file: what it may say, how it is read, and the search space it describes. Nothing here imports torch."""

from fer_tune.sweep.load import find_sweeps, load_sweep, load_sweeps
from fer_tune.sweep.schema import Sweep

__all__ = ["Sweep", "find_sweeps", "load_sweep", "load_sweeps"]
