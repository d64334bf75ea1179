"""The errors that fer-tune raises on purpose.

    FerTuneError               a message for the user and a hint what to do
    ├── SettingsError          a command-line value or environment variable makes no sense
    ├── SweepError             the sweep file; carries every problem found, not only the first
    ├── DataError              the data set cannot be used: names file and row or entry
    ├── StudyError             unknown study, a study of another sweep or data set, a study in use
    │   └── TakenOverError     another run took the study while this one had lost the database
    ├── StorageError           the database or a file under storage/ cannot be read or written
    ├── TrainingError          a trial cannot be trained as described
    ├── PoolError              workers cannot be started, or keep dying
    └── MissingExtraError      an optional package is absent; the hint is its install command

The command line prints `message`, then `hint`, and ends with exit code 2; anything
else that reaches it is a bug and shows a traceback.
"""

from __future__ import annotations


class FerTuneError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: what went wrong and where (file, line or row, key), one sentence.
        hint: what the user can do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class SettingsError(FerTuneError):
    """A command-line value or an environment variable makes no sense."""


class SweepError(FerTuneError):
    """A sweep file cannot be used."""

    def __init__(self, message: str, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join((message, *(f"  {problem}" for problem in problems))), hint)
        self.problems = problems


class DataError(FerTuneError):
    """A data set cannot be used."""


class StudyError(FerTuneError):
    """A study is unknown, in use, or belongs to another sweep or data set."""


class TakenOverError(StudyError):
    """Another run took the study that this process was running: it must not be written to any
    more."""

    def __init__(self, study: str, by: str = "another process") -> None:
        super().__init__(
            f"The study {study} was taken over by {by} while this run had no connection to the database.",
            "Nothing is lost, and this run has stopped. If the other one is to end too: "
            f"`fer-tune stop --study {study}` on its host.",
        )


class StorageError(FerTuneError):
    """The database or a file under the storage folder cannot be read or written."""


class TrainingError(FerTuneError):
    """A trial cannot be trained as it is described."""


class PoolError(FerTuneError):
    """Workers cannot be started, or keep dying."""


class MissingExtraError(FerTuneError):
    """An optional package is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed.", f"pip install 'fer-tune[{extra}]'")
