from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import load_sweep
from fer_tune.sweep.schema import Sweep

SWEEP = """
study: tiny
family: simple_cnn
data: demo
sampler: random
pruner: none
budget: {trials: 6, epochs: 9}
seed: 7
params:
  optimizer: {choices: [sgd, adamw]}
  lr:
    - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}
    - {low: 1e-4, high: 5e-3, log: true, when: {optimizer: adamw}}
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: sgd}}
  batch_size: {low: 32, high: 256, log: true}
  augment: {low: 0, high: 1}
  ema: 0.9
start:
  - {name: by hand 1, optimizer: sgd, lr: 0.1, momentum: 0.9, batch_size: 64, augment: 0}
"""

MakeSweep = Callable[..., Sweep]


@pytest.fixture
def sweep(tmp_path: Path) -> MakeSweep:
    """Returns a function that loads the sweep above, with overrides."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SWEEP)
    return lambda *overrides: load_sweep(path, overrides)


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    with Store.open(database_url, root=tmp_path) as opened:
        yield opened


def faces(store: Store, signature: str = "faces", split: str = "split") -> DataRef:
    cache = store.root / "cache"
    return DataRef(cache / signature, signature, cache / "splits" / f"{split}.npz", split)


def reopen(sweep: Sweep, store: Store) -> tuple[Study, Store]:
    """Opens the study as another process would, without anything that this process remembers."""
    again = Store.open(store.url, root=store.root)
    return Study.open(sweep, again, faces(again)), again
