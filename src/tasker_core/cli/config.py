"""``tasker config``: what is set, where it comes from, and whether it can be used."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import ExitCode, JsonOption, complain, examples, fail, out, print_json, success, warn
from tasker_core.configuration import (
    ConfigurationError,
    Finding,
    Key,
    Loaded,
    Settings,
    check_server,
    masked,
    settings_keys,
)
from tasker_core.configuration.rendering import default_text, starter_file
from tasker_core.configuration.writing import toml_value
from tasker_core.template.findings import did_you_mean

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show, check, explain and write the configuration.",
    epilog=examples(
        "tasker config show --origin",
        "tasker config validate",
        "tasker config explain server.bind",
        "tasker config generate -o tasker.toml",
    ),
)

KeyArgument = Annotated[
    str | None, typer.Argument(metavar="[KEY]", help="Dotted name of a setting or a table, such as server.bind.")
]


@app.command(epilog=examples("tasker config show --origin", "tasker config show server.auth --json"))
def show(
    key: KeyArgument = None,
    origin: Annotated[
        bool, typer.Option("--origin", metavar="", help="Show where each value comes from, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what is set, secrets masked."""
    with errors_explained():
        loaded = Settings.load()
        _print_warnings(loaded)
        values = {known.name: _value(loaded.settings, known.name) for known in _chosen(key, settable=True)}
        origins = {name: str(loaded.origins[name]) for name in values}
        if as_json:
            shown = {name: {"value": value, "origin": origins[name]} for name, value in values.items()}
            print_json(shown if origin else values)
            return
        for name, value in values.items():
            where = f"  [dim]# {escape(origins[name])}[/]" if origin else ""
            out.print(f"[bold]{name}[/] = {escape(toml_value(value))}{where}", soft_wrap=True)


@app.command(epilog=examples("tasker config validate", "tasker config validate production.toml --json"))
def validate(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Configuration file.  Default: the one that commands here would use."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration as a server does when it starts; exits with 1 if it cannot be used."""
    with errors_explained():
        warnings: tuple[Finding, ...] = ()
        errors: tuple[Finding, ...] = ()
        used = file
        try:
            loaded = Settings.load(file=file)
            warnings, used = loaded.warnings, loaded.file
            _check_as_server(loaded)
        except ConfigurationError as error:
            errors = error.findings
        if as_json:
            print_json(
                {
                    "valid": not errors,
                    "file": str(used) if used else None,
                    "errors": _as_data(errors),
                    "warnings": _as_data(warnings),
                }
            )
        else:
            for warning in warnings:
                warn(str(warning))
            for found in errors:
                complain(str(found))
            if not errors:
                success(f"{used}: no errors" if used else "no errors; there is no configuration file")
        if errors:
            raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=examples("tasker config explain server.bind", "tasker config explain server.auth --json"))
def explain(key: KeyArgument = None, as_json: JsonOption = False) -> None:
    """Print what a setting means, what its value must be, its default, and the environment variables that set it."""
    with errors_explained():
        explained = [_explained(known) for known in _chosen(key)]
        if as_json:
            print_json(explained)
            return
        for about in explained:
            out.print(f"[bold]{escape(about['key'])}[/]  {escape(about['description'])}", soft_wrap=True)
            out.print(f"  [bold]Value:[/]       {escape(about['value'])}", soft_wrap=True)
            out.print(f"  [bold]Default:[/]     {escape(about['default'])}", soft_wrap=True)
            if about["environment"]:
                out.print(f"  [bold]Environment:[/] {', '.join(about['environment'])}", soft_wrap=True)


@app.command(epilog=examples("tasker config generate", "tasker config generate -o tasker.toml"))
def generate(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there; the file must not exist.")
    ] = None,
) -> None:
    """Print a configuration file with all settings, what they mean and their defaults."""
    with errors_explained():
        if output is None:
            out.print(starter_file(), markup=False, soft_wrap=True, end="")
        else:
            write_new({output: starter_file()})


def write_new(files: dict[Path, str]) -> None:
    """Write files, and their directories; or none, with an error, if one exists already."""
    for path in files:
        if path.exists() or path.is_symlink():
            fail(f"{path} exists already; it is left as it is")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
        success(f"wrote {path}")


def _chosen(key: str | None, *, settable: bool = False) -> list[Key]:
    """Return a setting, those of a table, or all."""
    known = [candidate for candidate in settings_keys() if candidate.settable or not settable]
    if key is None:
        return known
    wanted = key.strip().lower()
    found = [candidate for candidate in known if candidate.name == wanted] or [
        candidate for candidate in known if candidate.name.startswith((f"{wanted}.", f"{wanted}[]"))
    ]
    if not found:
        tables = {candidate.name.rpartition(".")[0] for candidate in known}
        hint = did_you_mean(wanted, [*tables, *(candidate.name for candidate in known)])
        fail(f"there is no setting {key!r}{f' ({hint})' if hint else ''}", ExitCode.NOT_FOUND)
    return found


def _check_as_server(loaded: Loaded[Settings]) -> None:
    from tasker_core.service import auth_options  # loads the web framework

    check_server(loaded)
    try:
        auth_options(loaded.settings.server.auth)
    except ValueError as error:
        raise ConfigurationError([Finding(f"cannot be used: {error}", "server.auth")]) from None


def _value(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return masked(value)


def _explained(key: Key) -> dict[str, Any]:
    return {
        "key": key.name,
        "description": key.description.replace("`", ""),
        "value": key.expected,
        "default": default_text(key).replace("`", ""),
        "environment": list(key.variables),
    }


def _as_data(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "key": found.key or None,
            "origin": str(found.origin),
            "message": found.message,
            "hint": found.hint,
        }
        for found in findings
    ]


def _print_warnings(loaded: Loaded[Settings]) -> None:
    for warning in loaded.warnings:
        warn(str(warning))
