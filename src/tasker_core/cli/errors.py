"""What people are told about errors, and the exit code for each."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import typer

from tasker_core.cli.output import ExitCode, Options, complain, fail
from tasker_core.client.errors import (
    ConnectionFailedError,
    CredentialsRefusedError,
    PermissionDeniedError,
    ResourceNotFoundError,
    ServerUnavailableError,
    TaskerClientError,
)
from tasker_core.handler_loading import HandlerLoadError
from tasker_core.orchestration import (
    DeadLetterNotFoundError,
    DuplicateTaskError,
    IllegalMoveError,
    InvalidTaskError,
    StepNotFoundError,
    TaskNotFoundError,
)
from tasker_core.runtime import ConfigurationError
from tasker_core.serialization import SerializationError
from tasker_core.store import EmbeddedPostgresError, StoreError, StoreUnavailableError
from tasker_core.template import TemplateError

#: SQLSTATE values, or the classes that they begin with, that say more than "the database refused".
_EXIT_CODES_BY_SQLSTATE = {"28": ExitCode.DENIED, "42501": ExitCode.DENIED, "3D000": ExitCode.NOT_FOUND}


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
    """Turn the errors that people can do something about into a message and an exit code.

    With ``-vv`` they propagate, traceback and all.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        if Options.verbosity >= 2:
            raise
        if isinstance(error, TaskerClientError):
            fail(_with_details(error), _exit_code_of_answer(error))
        _explain(error)


def _explain(error: Exception) -> NoReturn:
    match error:
        case TemplateError():
            for line in str(error).splitlines():
                complain(line)
            raise typer.Exit(ExitCode.FAILED)
        case TaskNotFoundError() | StepNotFoundError() | DeadLetterNotFoundError():
            fail(str(error), ExitCode.NOT_FOUND)
        case ConfigurationError():
            fail(str(error), ExitCode.USAGE)
        case EmbeddedPostgresError(__cause__=PermissionError()):
            fail(str(error), ExitCode.DENIED)
        case StoreUnavailableError() | EmbeddedPostgresError():
            fail(str(error), ExitCode.UNREACHABLE)
        case StoreError():
            fail(str(error), _exit_code_of(error))
        case DuplicateTaskError():
            which = f": {error.existing}" if error.existing else ""
            fail(f"such a task exists already{which}; to take that one: --return-existing")
        case IllegalMoveError() | InvalidTaskError() | HandlerLoadError() | SerializationError() | OSError():
            fail(str(error))
        case _:
            fail(
                f"unexpected {type(error).__name__}: {error}\n"
                "This is a defect; put -vv right behind tasker to see where it comes from."
            )


def _exit_code_of_answer(error: TaskerClientError) -> ExitCode:
    match error:
        case ResourceNotFoundError():
            return ExitCode.NOT_FOUND
        case CredentialsRefusedError() | PermissionDeniedError():
            return ExitCode.DENIED
        case ConnectionFailedError() | ServerUnavailableError():
            return ExitCode.UNREACHABLE
        case _:
            return ExitCode.FAILED


def _with_details(error: TaskerClientError) -> str:
    return error.message + "".join(f"\n  {each.get('field')}: {each.get('message')}" for each in error.details)


def _exit_code_of(error: StoreError) -> ExitCode:
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return _EXIT_CODES_BY_SQLSTATE.get(state) or _EXIT_CODES_BY_SQLSTATE.get(state[:2], ExitCode.FAILED)
