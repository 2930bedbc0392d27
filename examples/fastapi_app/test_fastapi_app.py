"""The order service as its users meet it: a Tasker server and the application, each in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.ports import free_port

HERE = Path(__file__).parent
ORDER = {"stems": {"tulip": 20, "eucalyptus": 4}, "recipient": "Ana", "deliver_on": "2030-05-11"}

#: A Tasker server on the database of DATABASE_URL.
SERVER = """
import asyncio, os, sys
import uvicorn
from tasker_core.orchestration import Engine
from tasker_core.server.app import create_app

async def main():
    async with Engine(os.environ["DATABASE_URL"]) as engine:
        config = uvicorn.Config(create_app(engine), port=int(sys.argv[1]), log_level="warning")
        await uvicorn.Server(config).serve()

asyncio.run(main())
"""


@contextlib.contextmanager
def process(*command: str, url: str, log: Path, **environment: str) -> Iterator[None]:
    """Run a server until the body ends; yields once it answers."""
    with log.open("w") as output:
        running = subprocess.Popen(
            [sys.executable, *command], cwd=HERE, env=os.environ | environment, stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            code = running.wait(60)
    assert code in (0, -signal.SIGTERM), log.read_text()


def answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=2).is_success
    return False


@pytest.fixture
def florist(database_url, tmp_path) -> Iterator[httpx.Client]:
    """A customer's connection to the application."""
    server_port, port = str(free_port()), str(free_port())
    server, application = f"http://127.0.0.1:{server_port}", f"http://127.0.0.1:{port}"
    with (
        process("-c", SERVER, server_port, url=f"{server}/health", log=tmp_path / "server.log",
                DATABASE_URL=database_url),
        process("-m", "uvicorn", "app.main:app", "--port", port, url=f"{application}/health",
                log=tmp_path / "application.log", TASKER_ORCHESTRATION_URL=server, DATABASE_URL="unused"),
        httpx.Client(base_url=application, timeout=30) as client,
    ):  # fmt: skip
        yield client


@pytest.mark.timeout(240)
def test_orders_are_taken_over_http_and_carried_out(florist):
    assert florist.get("/health").json() == {"worker": "healthy"}

    taken = florist.post("/orders", json=ORDER, headers={"Idempotency-Key": "7f3a"})
    assert taken.status_code == 202, taken.text
    order = florist.get(f"/orders/{taken.json()['order_id']}", params={"wait": True}).json()
    assert (order["status"], order["percent"]) == ("complete", 100.0)
    assert order["steps"] == dict.fromkeys(["price_order", "arrange_bouquet", "plan_route", "write_card"], "complete")
    assert order["card"] == "For Ana: enjoy them for 7 days."

    again = florist.post("/orders", json=ORDER, headers={"Idempotency-Key": "7f3a"})
    assert again.json()["order_id"] == order["order_id"]
    assert florist.delete(f"/orders/{order['order_id']}").status_code == 409

    strange = florist.post("/orders", json=ORDER | {"stems": {"orchid": 1}}).json()
    strange = florist.get(f"/orders/{strange['order_id']}", params={"wait": True}).json()
    assert (strange["status"], strange["steps"]["price_order"]) == ("blocked_by_failures", "error")
    cancelled = florist.delete(f"/orders/{strange['order_id']}").json()
    assert cancelled["status"] == "cancelled"

    assert florist.post("/orders", json=ORDER | {"recipient": ""}).status_code == 422
    assert florist.get("/orders/0194c8a2-6f31-7c0d-8e52-3b1f6a000000").status_code == 404
