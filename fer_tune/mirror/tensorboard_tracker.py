"""TensorBoard as a tracker: a folder of events for each job, with its hyperparameters.

`tensorboard --logdir storage/tensorboard` shows them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from fer_tune.mirror.tracker import Adapter, Mode, Run, Tracker, asked_for
from fer_tune.settings import Settings

FOLDER = "tensorboard"
"""Folder in the storage folder, unless FER_TUNE_TENSORBOARD names another one."""


class TensorboardAdapter(Adapter):
    """Connects the mirror to TensorBoard's files."""

    name = "tensorboard"
    package = "tensorboard"
    install = "pip install 'fer-tune[tensorboard]'"
    on_request: Mode | None = "offline"

    def mode(self, asked: Mode | None) -> Mode:
        """Returns `offline` if FER_TUNE_TRACKERS or FER_TUNE_TENSORBOARD asks for TensorBoard."""
        return asked or ("offline" if asked_for(self.name) or os.environ.get("FER_TUNE_TENSORBOARD") else "disabled")

    def place(self, settings: Settings, mode: Mode) -> str:
        """Returns the folder."""
        return str(_folder(settings))

    def connect(self, settings: Settings, mode: Mode) -> Tracker:
        """Returns runs as files."""
        return TensorboardRuns(_folder(settings))


def _folder(settings: Settings) -> Path:
    named = os.environ.get("FER_TUNE_TENSORBOARD")
    return Path(named) if named else settings.root / FOLDER


class TensorboardRuns:
    """Writes each run whole when its job is over, in the place of any earlier copy."""

    live = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def bring(self, run: Run) -> None:
        """Writes the run.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self.root / run.group / run.name
        draft = folder.with_name(f".{run.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        _write(draft, run)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)

    def left(self, ids: set[str]) -> set[str]:
        """Returns nothing: no run is written elsewhere."""
        return set()

    def close(self) -> None:
        """Does nothing: no run stays open."""


def _write(folder: Path, run: Run) -> None:
    """Writes hyperparameters, epochs and the summary as events."""
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        begin = SessionStartInfo()
        for name, value in run.config.items():
            _set(begin.hparams[name], value)
        writer.add_event(_of_plugin(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=begin)))
        for row in run.history:
            for name, value in row.items():
                writer.add_event(_scalar(name, value, int(row["epoch"])))
        last = int(run.history[-1]["epoch"]) if run.history else 0
        for name, value in run.summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                writer.add_event(_scalar(f"summary/{name}", value, last))
        end = SessionEndInfo(status=api_pb2.STATUS_FAILURE if run.failed else api_pb2.STATUS_SUCCESS)
        writer.add_event(_of_plugin(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)))
    finally:
        writer.close()


def _event(summary: Any, step: int = 0) -> Any:
    import time

    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def _scalar(name: str, value: float, step: int) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return _event(Summary(value=[Summary.Value(tag=name, simple_value=float(value))]), step)


def _of_plugin(tag: str, content: Any) -> Any:
    """Returns an event of TensorBoard's table of hyperparameters."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    data = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
    about = SummaryMetadata(plugin_data=data)
    return _event(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)]))


def _set(field: Any, value: Any) -> None:
    """Writes a hyperparameter into a field of protobuf's type Value."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = str(value)
