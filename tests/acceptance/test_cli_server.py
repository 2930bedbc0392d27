"""A server as an operator sees it: it starts or says why not, tells what it does, and stops when it is told to."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx

from tasker_core.store import EmbeddedPostgres

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
steps: [{name: pick, handler: {callable: pick}}]
"""


def serve(service, *arguments: str, **environment: str):
    return service("server", "--bind", "127.0.0.1:0", *arguments, **environment)


def created(url: str) -> UUID:
    """Create a task whose step no worker runs."""
    with httpx.Client(base_url=url) as http:
        http.post("/v1/templates", json={"template": TEMPLATE}).raise_for_status()
        body = {"name": "order", "namespace": "shop", "version": "1.0.0", "context": {}}
        answer = http.post("/v1/tasks", json={**body, "initiator": "t", "source_system": "t", "reason": "t"})
        answer.raise_for_status()
        return UUID(answer.json()["task_uuid"])


# Starting


def test_a_server_says_where_it_listens_and_on_what(service, database_url):
    server = serve(service, DATABASE_URL=database_url)
    assert server.url.startswith("http://127.0.0.1:")
    assert "without authentication; postgresql://" in server.seen
    assert httpx.get(f"{server.url}/health/ready").status_code == 200
    server.stop()
    assert server.seen.count("\n") == 2, server.seen


def test_a_port_that_is_taken_is_named(tasker, database_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tasker("server", "--bind", f"127.0.0.1:{port}", DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (1, f"✗ cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_what_other_machines_can_reach_needs_authentication_or_an_explicit_word(tasker, service, database_url):
    refused = tasker("server", "--bind", "0.0.0.0:0", DATABASE_URL=database_url)
    assert refused.returncode == 2
    assert "which other machines can reach" in refused.stderr
    assert "server.allow_unauthenticated" in refused.stderr
    allowed = service("server", "--bind", "0.0.0.0:0", "--allow-unauthenticated", DATABASE_URL=database_url)
    assert allowed.url.startswith("http://0.0.0.0:")


def test_an_old_schema_is_refused_unless_it_may_be_migrated(tasker, service, own_postgres: EmbeddedPostgres):
    async def create() -> None:
        connection = await asyncpg.connect(own_postgres.url)
        await connection.execute("CREATE DATABASE empty")
        await connection.close()

    asyncio.run(create())
    url = own_postgres.url.replace("/postgres?", "/empty?")
    refused = tasker("server", "--bind", "127.0.0.1:0", DATABASE_URL=url)
    assert refused.returncode == 1
    assert "--migrate" in refused.stderr
    migrated = serve(service, "--migrate", DATABASE_URL=url)
    assert httpx.get(f"{migrated.url}/health/ready").status_code == 200


def test_a_database_that_does_not_answer_is_no_reason_to_wait(tasker):
    arguments = ("server", "--bind", "127.0.0.1:0", "--wait-for", "0")
    done = tasker(*arguments, DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1


def test_a_certificate_that_cannot_be_used_is_named(tasker, tmp_path: Path, database_url):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    files = {"TASKER__SERVER__TLS_CERT": "cert.pem", "TASKER__SERVER__TLS_KEY": "key.pem"}
    done = tasker("server", "--bind", "127.0.0.1:0", DATABASE_URL=database_url, **files)
    assert done.returncode == 1
    assert "the TLS certificate or its key cannot be used" in done.stderr
    (tmp_path / "key.pem").unlink()
    done = tasker("server", "--bind", "127.0.0.1:0", DATABASE_URL=database_url, **files)
    assert done.returncode == 2
    assert "server.tls_key" in done.stderr


def test_servers_may_share_a_port_and_an_embedded_database(service):
    first = service("server", "--bind", "127.0.0.1:0", "--shared-port")
    address = first.url.removeprefix("http://")
    second = service("server", "--bind", address, "--shared-port")
    assert second.url == first.url
    first.stop()
    task = created(second.url)
    assert httpx.get(f"{second.url}/v1/tasks/{task}").status_code == 200
    second.stop()


def test_a_command_that_serves_takes_no_server(tasker):
    for command in ("server", "dev"):
        done = tasker(command, "--server", "http://127.0.0.1:9")
        assert (done.returncode, f"tasker {command} works on the database itself" in done.stderr) == (2, True)


# Stopping


async def test_whoever_waits_is_answered_when_the_server_stops(service, database_url):
    server = serve(service, "--verbose", DATABASE_URL=database_url)
    task = await asyncio.to_thread(created, server.url)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        registration = {"callables": ["nothing"], "namespaces": ["shop"]}
        worker = (await http.post("/v1/worker/register", json=registration)).json()["worker_id"]
        async with http.stream("GET", f"/v1/tasks/{task}/events") as events:
            chunks = events.aiter_bytes()
            await anext(chunks)
            # A request that waits is under way once another one, sent later on the same server, is answered.
            waiting = [
                asyncio.create_task(http.get(f"/v1/tasks/{task}", params={"wait": 60})),
                asyncio.create_task(http.post(f"/v1/worker/{worker}/lease", json={"limit": 1, "wait_seconds": 30})),
            ]
            for _ in range(20):
                await http.get("/health")
            assert not any(each.done() for each in waiting)
            server.send(signal.SIGTERM)
            answers = await asyncio.gather(*waiting)
            async for _ in chunks:
                pass
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["status"] == "pending"
    assert answers[1].json()["leases"] == []
    assert await asyncio.to_thread(server.ended) == 0


async def test_requests_under_way_may_finish_and_a_second_signal_leaves_at_once(service, database_url):
    server = serve(service, DATABASE_URL=database_url)
    await asyncio.to_thread(created, server.url)
    body = {"name": "order", "namespace": "shop", "version": "1.0.0", "context": {"n": 2}}
    body |= {"initiator": "t", "source_system": "t", "reason": "t"}
    connection = await asyncpg.connect(database_url)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("LOCK TABLE tasker.tasks")
            creating = asyncio.create_task(http.post("/v1/tasks", json=body))
            await _waiting_for_lock(connection)
            server.send(signal.SIGTERM)
            await asyncio.to_thread(server.read_until, "Stopping")
            await transaction.rollback()
            assert (await creating).status_code == 200
        assert await asyncio.to_thread(server.ended) == 0

        server = serve(service, DATABASE_URL=database_url, TASKER__SERVER__SHUTDOWN_TIMEOUT_SECONDS="3600")
        url = await asyncio.to_thread(lambda: server.url)
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("LOCK TABLE tasker.tasks")
            creating = asyncio.create_task(http.post("/v1/tasks", json={**body, "context": {"n": 3}}))
            await _waiting_for_lock(connection)
            server.send(signal.SIGTERM)
            await asyncio.to_thread(server.read_until, "Stopping")
            server.send(signal.SIGTERM)
            assert await asyncio.to_thread(server.ended) == 143
            assert (await creating).status_code == 503
            await transaction.rollback()
    finally:
        await connection.close()


async def _waiting_for_lock(connection: asyncpg.Connection) -> None:
    """Wait until another session waits for a lock on the tasks."""
    found = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tasker.tasks'::regclass"
    while not await connection.fetchval(found):
        pass


# Telling


def test_requests_are_logged_if_somebody_wants_to_know(service, database_url):
    quiet, verbose = serve(service, DATABASE_URL=database_url), serve(service, "--verbose", DATABASE_URL=database_url)
    for server in (quiet, verbose):
        answer = httpx.get(f"{server.url}/v1/tasks", headers={"X-Request-ID": "find-me"})
        assert answer.status_code == 200
        server.stop()
    assert "find-me" not in quiet.seen
    (line,) = [line for line in verbose.seen.splitlines() if "find-me" in line]
    logged = json.loads(line)
    del logged["timestamp"], logged["milliseconds"]
    expected = {"event": "request", "level": "info", "request_id": "find-me", "subject": "anonymous"}
    assert logged == {**expected, "method": "GET", "path": "/v1/tasks", "status": 200}


def test_with_logs_for_machines_every_line_is_json(service, database_url):
    server = serve(service, DATABASE_URL=database_url, TASKER__LOG__FORMAT="json")
    started = json.loads(server.read_until("listening"))
    assert (started["event"], started["authentication"]) == ("listening", False)
    assert httpx.get(f"{started['url']}/health").status_code == 200
    server.stop()
    events = [json.loads(line)["event"] for line in server.seen.splitlines()]
    assert events == ["listening", "stopping"]
