"""The errors that fer-tune raises on purpose.

    FerTuneError               a message for the user, and a hint what to do
    ├── SettingsError          a command-line value or an environment variable is not valid
    ├── SweepError             a sweep file is not valid; it lists every problem of the file
    ├── DataError              a data set cannot be used; it names the file and the row or entry
    ├── StudyError             a study is unknown, in use, or of another sweep or data set
    │   └── TakenOverError     another run took the study while this one had lost the database
    ├── StorageError           the database or a file under storage/ cannot be read or written
    ├── TrainingError          a job cannot be trained as it is described
    ├── PoolError              workers cannot be started, or keep dying
    └── MissingExtraError      an optional package is missing; the hint is its install command

The command line prints `message` and then `hint`, and ends with exit code 2. Any other exception
that reaches it is a bug and shows a traceback.
"""

from __future__ import annotations


class FerTuneError(Exception):
    """Base class of all errors that are meant for the user.

    Args:
        message: one sentence that says what is wrong with which input (file, line or row, key).
        hint: what the user can do; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class SettingsError(FerTuneError):
    """A command-line value or an environment variable is not valid."""


class SweepError(FerTuneError):
    """A sweep file is not valid.

    Args:
        problems: one line for each problem of the file. They are also part of the message.
    """

    def __init__(self, message: str, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join((message, *(f"  {problem}" for problem in problems))), hint)
        self.problems = problems


class DataError(FerTuneError):
    """A data set cannot be used."""


class StudyError(FerTuneError):
    """A study is unknown, in use, or belongs to another sweep or data set."""


class TakenOverError(StudyError):
    """Another run took the study that this process was running. This process must stop writing.

    Args:
        by: the process that runs the study now.
    """

    def __init__(self, study: str, by: str = "another process") -> None:
        super().__init__(
            f"The study {study} was taken over by {by} while this run had no connection to the database.",
            "Nothing is lost, and this run has stopped. To stop the other run, call "
            f"`fer-tune stop --study {study}` on its host.",
        )


class StorageError(FerTuneError):
    """The database or a file under the storage folder cannot be read or written."""


class TrainingError(FerTuneError):
    """A job cannot be trained as it is described."""


class PoolError(FerTuneError):
    """Workers cannot be started, or keep dying."""


class MissingExtraError(FerTuneError):
    """An optional package is not installed.

    Args:
        what: what needs the package, such as `PostgreSQL`.
        extra: the extra of fer-tune that installs it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed.", f"pip install 'fer-tune[{extra}]'")
