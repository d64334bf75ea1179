"""One model under the protocols that people use on FER2013."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.fer2013 import USAGES
from fer_tune.data.published import PUBLISHED, Published
from fer_tune.errors import DataError
from fer_tune.settings import Settings
from fer_tune.sources.assess import Assessment, assess
from fer_tune.sources.model_origin import origin_of, own_split, split_needed

if TYPE_CHECKING:
    from fer_tune.data.dataset import Dataset

BENCHMARK = "python -m benchmarks.protocols"

FEW = 0.2
"""The share of copies of training images up to which a figure on images of another data set counts
as honest."""

UNKNOWN = "its training images are not in the cache, so copies were not looked for"
"""The doubt about a figure if copies of training images are not known."""


@dataclass(frozen=True)
class ProtocolRow:
    """The figures of a model under one protocol.

    Attributes:
        judged: the images that judge, in words.
        trained: the images that it was trained on, in words.
        found: the figures, with and without copies of training images.
        doubt: why the figure is not honest, or why that is not known; empty if it is honest.
        doubt_without_copies: the same of the figure without copies.
    """

    judged: str
    trained: str
    found: Assessment
    doubt: str
    doubt_without_copies: str = ""

    @property
    def honest(self) -> bool | None:
        """Whether the figure is honest; None if nothing is known of the training images."""
        return None if self.doubt == UNKNOWN else not self.doubt

    @property
    def honest_without_copies(self) -> bool | None:
        """The same of the figure without copies; None also if no image is left."""
        left = self.found.left
        return None if left is None or not len(left) else not self.doubt_without_copies


@dataclass(frozen=True)
class Protocols:
    """One model under several protocols.

    Attributes:
        rows: what this model can be measured under on this source.
        missing: a sentence for each protocol that it cannot be measured under.
        published: figures of others, restated in the protocol that their code used.
    """

    rows: tuple[ProtocolRow, ...]
    missing: tuple[str, ...]
    published: tuple[Published, ...] = PUBLISHED

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as files have them."""
        own = ("judged", "trained", "honest", "doubt", "honest_without_copies", "doubt_without_copies")
        rows = [{name: getattr(row, name) for name in own} | row.found.as_dict() for row in self.rows]
        return {"rows": rows, "missing": list(self.missing), "published": [vars(one) for one in self.published]}


def under_protocols(
    folder: Path,
    source: str,
    settings: Settings,
    *,
    device: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Protocols:
    """Evaluates a model on each part of FER2013 that people report. Each part is an opening.

    PrivateTest is opened once if it is the test part of the model's split.

    The protocols that need another training than the model's are named as missing.

    Args:
        folder: of the model or ensemble.
        source: `fer2013`, `demo`, or a path.
        device, note: see `assess`.

    Raises:
        DataError: the source cannot be read, or no protocol fits the model and the source.
    """
    from fer_tune.data.load import load_faces
    from fer_tune.train.ensemble import load_any

    model = load_any(folder)
    origin = origin_of(model.description, folder)
    spec = model.spec
    dataset = load_faces(source, settings, note, side=spec.side, channels=spec.channels, complete=False)
    known = _Known.of(dataset, origin, settings)
    rows, missing = [], []
    if known is not None:
        found = assess(folder, source, settings, device=device, note=note)
        rows.append(known.row(known.test, found))
    else:
        missing.append(f"The test images of its split: the model was not made from {source}.")
    for part in ("PublicTest", "PrivateTest"):
        judged = None if dataset.usage is None else dataset.usage == USAGES.index(part)
        if judged is None or not judged.any():
            missing.append(f"{part}: {_no_part(dataset, source)}")
            continue
        if known is not None and (judged == known.test).all():
            rows[0] = replace(rows[0], judged=f"{part}, {rows[0].judged}")
            continue
        found = assess(folder, source, settings, usage=part, device=device, note=note)
        if known is not None:
            rows.append(known.row(judged, found))
        else:
            rows.append(ProtocolRow(part, "another data set", found, _doubt_by_copies(found)))
    missing.append(f"PrivateTest, epoch chosen on PrivateTest (not honest): it needs a training. {BENCHMARK} does it.")
    if not rows:
        raise DataError(f"{source} has no images for a protocol: {' '.join(missing)}", "Name fer2013.csv.")
    return Protocols(tuple(rows), tuple(missing))


def _doubt_by_copies(found: Assessment) -> str:
    """Returns why a figure on images of another data set is not honest, or nothing."""
    if found.copies is None:
        return UNKNOWN
    if found.copies > FEW * found.images:
        return f"{found.copies:,} of {found.images:,} are copies of its training images"
    return ""


def _no_part(dataset: Dataset, source: str) -> str:
    if dataset.usage is None:
        return f"{source} has no Usage column. fer2013.csv and icml_face_data.csv have one."
    return f"{source} has no such images."


@dataclass(frozen=True)
class _Known:
    """What is known of a model that was made from this data set.

    Attributes:
        fitted, chosen, test: which images it was trained on, which chose its configuration, and
            which are the test images of its split: bool [N].
        trained: the images that it was trained on, in words.
    """

    fitted: Any
    chosen: Any
    test: Any
    trained: str

    @classmethod
    def of(cls, dataset: Dataset, origin: dict[str, Any], settings: Settings) -> _Known | None:
        """Returns what is known, or None if the model was made from other data."""
        import numpy as np

        from fer_tune.data.access import open_search

        kept = own_split(origin, settings, dataset)
        if kept is None:
            return None
        with split_needed(kept):
            opened = open_search(kept)
        train, val = np.zeros(len(dataset), bool), np.zeros(len(dataset), bool)
        train[opened.train], val[opened.val] = True, True
        fit, every = str(origin.get("fit")), np.ones(len(dataset), bool)
        fitted = {"train": train, "train+val": train | val}.get(fit, every)
        if dataset.usage is None:
            said = f"{int(fitted.sum()):,} images"
        else:
            parts = [name for code, name in enumerate(USAGES) if (fitted & (dataset.usage == code)).any()]
            said = f"{int(fitted.sum()):,} images of {' and '.join(parts)}"
        return cls(fitted, val, every & ~train & ~val, said)

    def row(self, judged: Any, found: Assessment) -> ProtocolRow:
        """Returns the figures of these images, bool [N], with the doubts about them."""
        without = "" if found.left is None else self.doubt(found.left)
        return ProtocolRow(found.part, self.trained, found, self.doubt(judged), without)

    def doubt(self, judged: Any) -> str:
        """Returns why a figure on these images is not honest, or nothing.

        Args:
            judged: positions of the images, or bool [N].
        """
        if count := int(self.fitted[judged].sum()):
            return f"trained on {count:,} of them"
        if count := int(self.chosen[judged].sum()):
            return f"the search chose by {count:,} of them"
        return ""
