"""What people are told about errors, and the exit code for each."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import NoReturn

import typer

from tasker_core.access import ROLES
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
    TemplateConflictError,
    TemplateNotFoundError,
)
from tasker_core.runtime import ConfigurationError
from tasker_core.serialization import SerializationError
from tasker_core.step_source import SourceRefusedError, SourceUnavailableError
from tasker_core.step_worker.http_source import RequestRefusedError
from tasker_core.store import EmbeddedPostgresError, StoreError, StoreUnavailableError
from tasker_core.template import TemplateError

#: SQLSTATE values, or the classes that they begin with, that say more than "the database refused".
_EXIT_CODES_BY_SQLSTATE = {"28": ExitCode.DENIED, "42501": ExitCode.DENIED, "3D000": ExitCode.NOT_FOUND}

#: Exit codes of errors whose message says all; the first one that fits counts.
_EXIT_CODES: Mapping[ExitCode, tuple[type[Exception], ...]] = {
    ExitCode.NOT_FOUND: (TaskNotFoundError, StepNotFoundError, DeadLetterNotFoundError, TemplateNotFoundError),
    ExitCode.USAGE: (ConfigurationError,),
    ExitCode.UNREACHABLE: (StoreUnavailableError, EmbeddedPostgresError, SourceUnavailableError),
    ExitCode.FAILED: (
        IllegalMoveError,
        InvalidTaskError,
        TemplateConflictError,
        RequestRefusedError,
        HandlerLoadError,
        SerializationError,
        OSError,
    ),
}

#: How a server begins to say which permission is missing.
_MISSING_PERMISSION = "Missing required permission: "

_CREDENTIALS = "  Credentials: TASKER_API_KEY or TASKER_AUTH_TOKEN, or those of a profile, -p NAME."


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
            _explain_answer(error)
        _explain(error)


def _explain(error: Exception) -> NoReturn:
    match error:
        case TemplateError():
            for line in str(error).splitlines():
                complain(line)
            raise typer.Exit(ExitCode.FAILED)
        case StoreError() if not isinstance(error, StoreUnavailableError):
            fail(str(error), _exit_code_of(error))
        case DuplicateTaskError():
            which = f": {error.existing}" if error.existing else ""
            fail(f"such a task exists already{which}; to take that one: --return-existing")
        case SourceRefusedError():
            fail(f"{error}\n{_CREDENTIALS}", ExitCode.DENIED)
        case EmbeddedPostgresError(__cause__=PermissionError()):
            fail(str(error), ExitCode.DENIED)
    for code, kinds in _EXIT_CODES.items():
        if isinstance(error, kinds):
            fail(str(error), code)
    fail(
        f"unexpected {type(error).__name__}: {error}\n"
        "This is a defect; put -vv right behind tasker to see where it comes from."
    )


def _explain_answer(error: TaskerClientError) -> NoReturn:
    match error:
        case CredentialsRefusedError():
            fail(f"{error.message}\n{_CREDENTIALS}", ExitCode.DENIED)
        case PermissionDeniedError():
            fail(_denied(error), ExitCode.DENIED)
        case _:
            fail(_with_details(error), _exit_code_of_answer(error))


def _denied(error: TaskerClientError) -> str:
    """Return what was not allowed, the permission that is missing, and which roles have it."""
    operation = error.operation.replace("_", " ")
    _, is_named, permission = error.message.partition(_MISSING_PERMISSION)
    if not is_named:
        return f"permission denied: {operation}: {error.message}"
    roles = [role for role, permissions in ROLES.items() if permission in permissions]
    return (
        f"permission denied: {operation} needs the permission {permission}\n"
        f"  It comes with the roles {', '.join(roles)}; to make such a credential: "
        f"tasker auth create-key --role {roles[0]}"
    )


def _exit_code_of_answer(error: TaskerClientError) -> ExitCode:
    match error:
        case ResourceNotFoundError():
            return ExitCode.NOT_FOUND
        case ConnectionFailedError() | ServerUnavailableError():
            return ExitCode.UNREACHABLE
        case _:
            return ExitCode.FAILED


def _with_details(error: TaskerClientError) -> str:
    return error.message + "".join(f"\n  {each.get('field')}: {each.get('message')}" for each in error.details)


def _exit_code_of(error: StoreError) -> ExitCode:
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return _EXIT_CODES_BY_SQLSTATE.get(state) or _EXIT_CODES_BY_SQLSTATE.get(state[:2], ExitCode.FAILED)
