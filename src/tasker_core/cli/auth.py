"""``tasker auth``: credentials for the HTTP API."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jwt
import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from rich.markup import escape
from rich.table import Table

from tasker_core.access import ALL_PERMISSIONS, DESCRIPTIONS, ROLES, SUPERUSER, Caller, granted, usable_name
from tasker_core.cli.common import DatabaseOption, operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.operations import ActorOption
from tasker_core.cli.output import ExitCode, JsonOption, err, examples, fail, out, print_json, success, warn
from tasker_core.serialization import rfc3339
from tasker_core.server.authentication import read_claims
from tasker_core.server.jwt_verification import (
    MINIMUM_RSA_BITS,
    InvalidTokenError,
    OneKey,
    TokenVerifier,
    fitting_algorithms,
    key_of_pem,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Make and check credentials for the HTTP API.",
    epilog=examples(
        "tasker auth create-key --subject checkout --role submitter --namespace shop",
        "tasker auth list-keys",
        "tasker auth generate-keys --output-dir keys",
        "tasker auth generate-token --role reader --private-key keys/jwt-private-key.pem",
    ),
)

PRIVATE_KEY_FILE = "jwt-private-key.pem"
PUBLIC_KEY_FILE = "jwt-public-key.pem"

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Algorithm(StrEnum):
    """What keys are made for."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


def _name(text: str | None) -> str | None:
    if text is not None and not usable_name(text):
        raise typer.BadParameter("it must be one line of 1 to 200 characters")
    return text


def _names(texts: list[str]) -> list[str]:
    for text in texts:
        _name(text)
    return texts


def _roles(names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in ROLES]
    if unknown:
        raise typer.BadParameter(f"there is no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
    return names


def _duration(text: str | None) -> str | None:
    if text is not None:
        _expiry(text)
    return text


RolesOption = Annotated[
    list[str],
    typer.Option("--role", metavar="ROLE", help=f"One of {', '.join(ROLES)}; may be repeated.", callback=_roles),
]
NamespacesOption = Annotated[
    list[str],
    typer.Option(
        "--namespace",
        metavar="NAME",
        help="Where it holds; may be repeated.",
        show_default="all namespaces",
        callback=_names,
    ),
]
IssuerOption = Annotated[str, typer.Option("--issuer", metavar="NAME", help="The iss of the token.")]
AudienceOption = Annotated[str, typer.Option("--audience", metavar="NAME", help="The aud of the token.")]


@app.command(
    "create-key",
    epilog=examples(
        "tasker auth create-key --subject checkout --role submitter --namespace shop --expires-in 90d",
        "tasker auth create-key --subject metrics --permission 'dlq:*' --permission system:analytics_read",
    ),
)
def create_key(
    subject: Annotated[
        str,
        typer.Option(
            "-s",
            "--subject",
            "--description",
            metavar="NAME",
            help="Whom the key is for; the actor of what is done with it.",
            callback=_name,
        ),
    ],
    roles: RolesOption = [],  # noqa: B006 - Typer reads it, nobody changes it
    permissions: Annotated[
        list[str],
        typer.Option(
            "--permission",
            metavar="NAME",
            help="What it allows, such as tasks:read, 'tasks:*' or '*'; may be repeated.",
        ),
    ] = [],  # noqa: B006
    namespaces: NamespacesOption = [],  # noqa: B006
    expires_in: Annotated[
        str | None,
        typer.Option(
            "--expires-in",
            metavar="TIME",
            help="When it ends: a number with s, m, h, d or w, such as 90d.",
            show_default="never",
            callback=_duration,
        ),
    ] = None,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key and print it. It cannot be seen again."""
    allowed, unknown = granted(permissions, roles)
    if unknown:
        fail(f"there is no permission {', '.join(unknown)}; see: tasker auth show-permissions", ExitCode.USAGE)
    if not allowed:
        fail("say what the key allows, with --role or --permission", ExitCode.USAGE)
    expires_at = None if expires_in is None else _expiry(expires_in)

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.api_keys.create(
                subject,
                allowed,
                by=_operator(actor),
                namespaces=frozenset(namespaces) or None,
                expires_at=expires_at,
            )

    with errors_explained():
        made = run_async(work)
        if as_json:
            print_json(made)
            return
        err.print(
            f"[green]✓[/] API key {made['key_uuid']} for {escape(subject)}; it cannot be seen again", soft_wrap=True
        )
        _tell(
            {
                "Permissions": _summary(made["permissions"]),
                "Namespaces": _places(made["namespaces"]),
                "Expires": made["expires_at"] or "never",
            }
        )
        print(made["key"])  # noqa: T201 - the key alone, as it is


@app.command("list-keys", epilog=examples("tasker auth list-keys", "tasker auth list-keys --all --json"))
def list_keys(
    include_inactive: Annotated[
        bool, typer.Option("--all", metavar="", help="Those, too, that are revoked or expired.")
    ] = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List API keys, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.api_keys.list(by=_operator("tasker"), include_inactive=include_inactive)

    with errors_explained():
        keys = run_async(work)
        if as_json:
            print_json({"keys": keys})
        elif not keys:
            err.print("no API keys")
        else:
            columns = ("Key", "Begins with", "Subject", "Status", "Permissions", "Namespaces", "Expires", "Last used")
            table = Table(*columns, box=None, header_style="bold")
            for key in keys:
                table.add_row(
                    key["key_uuid"],
                    key["hint"],
                    escape(key["subject"]),
                    key["status"],
                    _summary(key["permissions"]),
                    escape(_places(key["namespaces"])),
                    (key["expires_at"] or "never")[:19],
                    (key["last_used_at"] or "never")[:19],
                )
            out.print(table)


@app.command("revoke-key", epilog=examples("tasker auth revoke-key 4b3c3a5e-52d4-4a8f-9f0e-3a1f5d1e7c11"))
def revoke_key(
    key: Annotated[UUID, typer.Argument(metavar="KEY", help="UUID of the key; tasker auth list-keys shows it.")],
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke an API key for good. Servers refuse it within ten seconds."""

    async def work() -> dict[str, Any] | None:
        async with operator(database_url) as opened:
            return await opened.api_keys.revoke(key, by=_operator(actor))

    with errors_explained():
        revoked = run_async(work)
        if revoked is None:
            fail(f"there is no API key {key}", ExitCode.NOT_FOUND)
        if as_json:
            print_json(revoked)
        else:
            success(f"API key {key} of {revoked['subject']} is revoked")


@app.command(
    "generate-keys",
    epilog=examples("tasker auth generate-keys", "tasker auth generate-keys --output-dir keys --algorithm EdDSA"),
)
def generate_keys(
    output_dir: Annotated[
        Path, typer.Option("-o", "--output-dir", metavar="DIRECTORY", help="Where the two files go.")
    ] = Path("keys"),
    key_size: Annotated[
        int, typer.Option("-k", "--key-size", min=MINIMUM_RSA_BITS, max=16_384, help="Bits of an RSA key.")
    ] = MINIMUM_RSA_BITS,
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", help="What the keys are for.")] = Algorithm.RS256,
    as_json: JsonOption = False,
) -> None:
    """Make a private key to sign tokens with and the public key that they are verified with."""
    private, public = output_dir / PRIVATE_KEY_FILE, output_dir / PUBLIC_KEY_FILE
    with errors_explained():
        for file in (private, public):
            if file.exists():
                fail(f"{file} exists; tokens signed with it would be lost, so it is not overwritten")
        output_dir.mkdir(parents=True, exist_ok=True)
        key = _new_private_key(algorithm, key_size)
        _write_new(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        _write_new(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    if as_json:
        print_json({"private_key": str(private), "public_key": str(public), "algorithm": algorithm})
    else:
        success(f"private key: {private} (keep it secret)")
        success(f"public key:  {public} (servers need it)")


@app.command(
    "generate-token",
    epilog=examples(
        "tasker auth generate-token --role reader --private-key keys/jwt-private-key.pem",
        "tasker auth generate-token --permissions tasks:create,tasks:read --namespace shop --expiry-hours 1",
    ),
)
def generate_token(
    permissions: Annotated[
        str,
        typer.Option(
            "-p", "--permissions", metavar="NAMES", help="What it allows, separated by commas; see show-permissions."
        ),
    ] = "",
    roles: RolesOption = [],  # noqa: B006
    namespaces: NamespacesOption = [],  # noqa: B006
    subject: Annotated[
        str,
        typer.Option(
            "-s", "--subject", metavar="NAME", help="Whom it is for; the actor of what is done with it.", callback=_name
        ),
    ] = "tasker-client",
    private_key: Annotated[
        Path, typer.Option("--private-key", metavar="FILE", help="The private key to sign it with, PEM.")
    ] = Path("keys") / PRIVATE_KEY_FILE,
    expiry_hours: Annotated[
        float, typer.Option("-e", "--expiry-hours", min=0.01, max=8_760, help="How long it is valid.")
    ] = 24,
    issuer: IssuerOption = "tasker-core",
    audience: AudienceOption = "tasker-api",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it. Details go to stderr."""
    key, algorithm = _private_key(private_key)
    names = [name.strip() for name in permissions.split(",") if name.strip()]
    if not names and not roles:
        fail("say what the token allows, with --permissions or --role", ExitCode.USAGE)
    _warn_of(granted(names).unknown)
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": subject,
        "iss": issuer,
        "aud": audience,
        "iat": now,
        "exp": now + int(expiry_hours * 3_600),
        "permissions": names,
    }
    if roles:
        claims["roles"] = roles
    if namespaces:
        claims["namespaces"] = namespaces
    token = jwt.encode(claims, key, algorithm=algorithm)
    if as_json:
        print_json({"token": token, "algorithm": algorithm, "claims": claims})
        return
    caller, _ = read_claims(claims)
    _tell(_described(caller, claims))
    print(token)  # noqa: T201 - the token alone, as it is


@app.command("show-permissions", epilog=examples("tasker auth show-permissions --json"))
def show_permissions(as_json: JsonOption = False) -> None:
    """Show what credentials can allow, and the roles."""
    if as_json:
        print_json(
            {
                "permissions": [{"name": name, "description": text} for name, text in DESCRIPTIONS.items()],
                "roles": {name: sorted(permissions) for name, permissions in ROLES.items()},
            }
        )
        return
    table = Table("Permission", "Allows", box=None, header_style="bold")
    resource = ""
    for permission, text in DESCRIPTIONS.items():
        if permission.partition(":")[0] != resource:
            resource = permission.partition(":")[0]
            table.add_row(f"{resource}:*", f"[dim]All of {resource}:[/]")
        table.add_row(f"  {permission}", text)
    table.add_row(SUPERUSER, "Everything.")
    out.print(table)
    out.print()
    table = Table("Role", "Permissions", box=None, header_style="bold")
    for name, permissions in ROLES.items():
        table.add_row(name, _summary(permissions))
    out.print(table)


@app.command(
    "validate-token",
    epilog=examples(
        'tasker auth validate-token --token "$TOKEN" --public-key keys/jwt-public-key.pem',
        "tasker auth generate-token --role reader | tasker auth validate-token --token -",
    ),
)
def validate_token(
    token: Annotated[
        str, typer.Option("-t", "--token", metavar="TOKEN", help="The token, or - to read it from standard input.")
    ],
    public_key: Annotated[
        Path, typer.Option("--public-key", metavar="FILE", help="The public key to verify it with, PEM.")
    ] = Path("keys") / PUBLIC_KEY_FILE,
    issuer: IssuerOption = "tasker-core",
    audience: AudienceOption = "tasker-api",
    as_json: JsonOption = False,
) -> None:
    """Say whether a token is valid and what it says; exits with 1 if it is not."""
    try:
        key = key_of_pem(_read(public_key))
    except ValueError as error:
        fail(f"{public_key} cannot be used: {error}", ExitCode.USAGE)
    text = (sys.stdin.read() if token == "-" else token).strip()  # noqa: S105 - a dash is no token
    verifier = TokenVerifier(OneKey(key), issuer=issuer, audience=audience, algorithms=key.algorithms)
    try:
        claims = asyncio.run(verifier.claims(text))
        caller, unknown = read_claims(claims)
    except InvalidTokenError as error:
        if as_json:
            print_json({"valid": False, "reason": str(error), "claims": None, "unknown_permissions": []})
            raise typer.Exit(ExitCode.FAILED) from None
        fail(f"the token is not valid: {error}")
    if as_json:
        print_json({"valid": True, "reason": None, "claims": claims, "unknown_permissions": unknown})
        return
    success("the token is valid")
    for label, value in _described(caller, claims).items():
        out.print(f"  [bold]{label}:[/] {escape(value)}", soft_wrap=True)
    _warn_of(unknown)


def _warn_of(unknown: Iterable[str]) -> None:
    for name in unknown:
        warn(f"there is no permission {name}: a server with strict validation refuses the token")


def _described(caller: Caller, claims: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Subject": caller.subject,
        "Permissions": _summary(caller.permissions),
        "Namespaces": _places(caller.namespaces),
        "Issuer": claims["iss"],
        "Audience": claims["aud"] if isinstance(claims["aud"], str) else ", ".join(claims["aud"]),
        "Issued": _moment(claims["iat"]),
        "Expires": _moment(claims["exp"]),
    }


def _summary(permissions: Collection[str]) -> str:
    if ALL_PERMISSIONS.issubset(permissions):
        return "all"
    return ", ".join(sorted(permissions)) or "none"


def _places(namespaces: Collection[str] | None) -> str:
    if namespaces is None:
        return "all"
    return ", ".join(sorted(namespaces)) or "none"


def _tell(details: Mapping[str, str]) -> None:
    """Print details to stderr, where they do not mix with what stdout is for."""
    for label, value in details.items():
        err.print(f"  [bold]{label}:[/] {escape(value)}", soft_wrap=True)


def _moment(seconds: float) -> str:
    try:
        return rfc3339(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, ValueError, OSError):
        return "beyond the calendar"


def _operator(actor: str) -> Caller:
    """Return who works on the database itself, and so may do everything."""
    return Caller(actor, ALL_PERMISSIONS)


def _expiry(text: str) -> datetime:
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter("it must be a number with s, m, h, d or w, such as 90d")
    try:
        return datetime.now(UTC) + timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise typer.BadParameter("it is beyond the calendar") from None


def _new_private_key(algorithm: Algorithm, key_size: int) -> _PrivateKey:
    match algorithm:
        case Algorithm.RS256:
            return rsa.generate_private_key(public_exponent=65_537, key_size=key_size)
        case Algorithm.ES256:
            return ec.generate_private_key(ec.SECP256R1())
        case Algorithm.EDDSA:
            return ed25519.Ed25519PrivateKey.generate()


def _write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist; it is never readable for more than its mode allows."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(content)


def _private_key(file: Path) -> tuple[_PrivateKey, str]:
    """Return a private key and the algorithm to sign with."""
    try:
        key = load_pem_private_key(_read(file).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        fail(f"{file} cannot be used: it is no private key in PEM form, or it has a password", ExitCode.USAGE)
    algorithms = fitting_algorithms(key.public_key())
    if not algorithms or not isinstance(key, _PrivateKey):
        fail(
            f"{file} cannot be used: it must be an RSA key of {MINIMUM_RSA_BITS} bits or more, or a P-256, P-384 or "
            "Ed25519 key",
            ExitCode.USAGE,
        )
    return key, algorithms[0]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        fail(f"there is no {file}; tasker auth generate-keys makes one", ExitCode.USAGE)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}", ExitCode.USAGE)
