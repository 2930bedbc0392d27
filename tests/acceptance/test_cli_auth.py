"""``tasker auth`` makes credentials that a server accepts, and says whether a token is one."""

import json
import stat
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from typer.testing import CliRunner

from tasker_core.access import DESCRIPTIONS, ROLES, Permission
from tasker_core.cli.app import app
from tasker_core.orchestration import Engine
from tasker_core.server.auth_options import AuthOptions
from tasker_core.server.authentication import CredentialAuthenticator, read_claims

PRIVATE, PUBLIC = "keys/jwt-private-key.pem", "keys/jwt-public-key.pem"


@pytest.fixture
def keys(tasker, tmp_path):
    done = tasker("auth", "generate-keys")
    assert done.returncode == 0, done.stderr
    return tmp_path / "keys"


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """Runs the command in this process: many refusals, one start."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner(env={"COLUMNS": "200"}).invoke(app, ["auth", *arguments])


# Keys to sign with


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_generated_keys_is_accepted_by_a_server_with_the_public_key(tasker, tmp_path, algorithm):
    made = tasker("auth", "generate-keys", "--algorithm", algorithm, "--json")
    token = tasker("auth", "generate-token", "--permissions", "tasks:read", "--subject", "wms").stdout.strip()

    assert json.loads(made.stdout) == {"private_key": PRIVATE, "public_key": PUBLIC, "algorithm": algorithm}
    options = AuthOptions(
        enabled=True, jwt_public_key=(tmp_path / PUBLIC).read_text(), jwt_allowed_algorithms=[algorithm]
    )
    authenticator = CredentialAuthenticator(options, Engine("postgresql://nowhere/none").api_keys)
    caller, unknown = read_claims(await authenticator._verifier.claims(token))
    assert (caller.subject, caller.permissions, unknown) == ("wms", {Permission.TASKS_READ}, ())


def test_only_the_owner_can_read_the_private_key(keys):
    assert stat.S_IMODE((keys / "jwt-private-key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("lost", ["jwt-private-key.pem", "jwt-public-key.pem"])
def test_keys_are_not_overwritten(inside, tmp_path, lost):
    inside("generate-keys")
    keys = tmp_path / "keys"
    (keys / lost).unlink()
    before = {file.name: file.read_text() for file in keys.iterdir()}
    again = inside("generate-keys")

    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert {file.name: file.read_text() for file in keys.iterdir()} == before


def test_a_short_key_is_not_made(inside, tmp_path):
    refused = inside("generate-keys", "--key-size", "1024")
    assert refused.exit_code == 2
    assert not (tmp_path / "keys").exists()


# Tokens


def test_a_token_alone_goes_to_stdout(tasker, keys):
    made = tasker("auth", "generate-token", "--role", "worker", "--namespace", "shop", "--expiry-hours", "2")
    claims = jwt.decode(
        made.stdout.strip(),
        (keys / "jwt-public-key.pem").read_text(),
        algorithms=["RS256"],
        audience="tasker-api",
        issuer="tasker-core",
    )

    assert made.stdout.count("\n") == 1
    assert claims["exp"] - claims["iat"] == 7_200
    assert {key: claims[key] for key in ("sub", "permissions", "roles", "namespaces")} == {
        "sub": "tasker-client",
        "permissions": [],
        "roles": ["worker"],
        "namespaces": ["shop"],
    }
    assert "Namespaces: shop" in made.stderr


def test_an_unknown_permission_is_a_warning(inside):
    inside("generate-keys")
    made = inside("generate-token", "--permissions", "tasks:read, tasks:fly")
    assert made.exit_code == 0
    assert "there is no permission tasks:fly" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "say what the token allows"),
        (["--role", "king"], 2, "there is no role king"),
        (["--role", "reader", "--private-key", "elsewhere.pem"], 2, "there is no elsewhere.pem"),
        (["--role", "reader", "--private-key", PUBLIC], 2, "no private key"),
        (["--role", "reader", "--subject", ""], 2, "one line"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(inside, arguments, code, message):
    inside("generate-keys")
    refused = inside("generate-token", *arguments)
    assert refused.exit_code == code
    assert message in " ".join(refused.stderr.split())
    assert refused.stdout == ""


def test_a_valid_token_is_said_to_be_valid(tasker, keys):
    token = tasker("auth", "generate-token", "--role", "admin", "--subject", "wms").stdout
    shown = tasker("auth", "validate-token", "--token", "-", input=token)
    document = json.loads(tasker("auth", "validate-token", "--token", token.strip(), "--json").stdout)

    assert shown.returncode == 0
    assert "Subject: wms" in shown.stdout
    assert "Permissions: all" in shown.stdout
    assert (document["valid"], document["claims"]["sub"]) == (True, "wms")


def test_a_token_that_is_not_valid_is_told_why_with_exit_code_1(inside):
    inside("generate-keys")
    token = inside("generate-token", "--role", "admin", "--issuer", "somebody").stdout.strip()
    foreign = inside("validate-token", "--token", token)
    nonsense = inside("validate-token", "--token", "nonsense", "--json")

    assert foreign.exit_code == nonsense.exit_code == 1
    assert "Invalid issuer" in foreign.stderr
    assert json.loads(nonsense.stdout)["valid"] is False


def test_a_token_needs_a_key_to_be_verified_with(inside):
    inside("generate-keys")
    missing = inside("validate-token", "--token", "x", "--public-key", "elsewhere.pem")
    private = inside("validate-token", "--token", "x", "--public-key", PRIVATE)

    assert missing.exit_code == private.exit_code == 2
    assert "it is a private key" in private.stderr


# API keys


async def test_an_api_key_is_made_listed_and_revoked(tasker, database_url):
    url = ("--database-url", database_url)
    arguments = ("--subject", "checkout", "--role", "submitter", "--permission", "dlq:*", "--namespace", "shop")
    made = tasker("auth", "create-key", *arguments, "--expires-in", "90d", "--actor", "ann", *url)
    key = made.stdout.strip()
    async with Engine(database_url) as engine:
        caller = await engine.api_keys.caller(key)
    (listed,) = json.loads(tasker("auth", "list-keys", "--json", *url).stdout)["keys"]
    revoked = tasker("auth", "revoke-key", listed["key_uuid"], "--actor", "bob", *url)
    async with Engine(database_url) as engine:
        refused = await engine.api_keys.caller(key)
    (kept,) = json.loads(tasker("auth", "list-keys", "--all", "--json", *url).stdout)["keys"]

    assert (caller.subject, caller.namespaces) == ("checkout", {"shop"})
    assert caller.permissions == ROLES["submitter"] | {"dlq:read", "dlq:stats", "dlq:update"}
    assert (listed["status"], listed["created_by"], key[:8]) == ("active", "ann", listed["hint"])
    expiry = datetime.fromisoformat(listed["expires_at"])
    assert abs(expiry - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=2)
    assert revoked.returncode == 0, revoked.stderr
    assert refused is None
    assert (kept["status"], kept["revoked_by"]) == ("revoked", "bob")
    assert "no API keys" in tasker("auth", "list-keys", *url).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what the key allows"),
        (["--permission", "tasks:fly"], "there is no permission tasks:fly"),
        (["--role", "king"], "there is no role king"),
        (["--role", "reader", "--expires-in", "soon"], "such as 90d"),
        (["--role", "reader", "--expires-in", "0d"], "such as 90d"),
        (["--role", "reader", "--expires-in", "999999999w"], "beyond the calendar"),
        (["--role", "reader", "--namespace", ""], "one line"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_without_a_database(inside, arguments, message):
    refused = inside("create-key", "--subject", "a", *arguments, "--database-url", "postgresql://127.0.0.1:1/none")
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.replace("│", " ").split())


def test_a_key_that_does_not_exist_is_not_found(tasker, database_url):
    missing = tasker("auth", "revoke-key", "4b3c3a5e-52d4-4a8f-9f0e-3a1f5d1e7c11", "--database-url", database_url)
    assert missing.returncode == 3


# What there is


def test_permissions_and_roles_are_shown(inside):
    shown = inside("show-permissions").stdout
    document = json.loads(inside("show-permissions", "--json").stdout)

    assert [entry["name"] for entry in document["permissions"]] == list(DESCRIPTIONS)
    assert document["roles"] == {name: sorted(permissions) for name, permissions in ROLES.items()}
    assert [name for name in [*Permission, *ROLES, "tasks:*"] if name not in shown] == []
