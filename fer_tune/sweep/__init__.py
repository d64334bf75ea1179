"""Sweep files: their keys, how they are read, and the search spaces that they describe.

Imports no torch.
"""

from fer_tune.sweep.load import find_sweeps, load_sweep, load_sweeps
from fer_tune.sweep.schema import Sweep

__all__ = ["Sweep", "find_sweeps", "load_sweep", "load_sweeps"]
