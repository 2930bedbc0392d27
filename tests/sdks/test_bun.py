"""TypeScript's worker under Bun. What it does is the same program; what may differ is the runtime below it."""

import dataclasses

import pytest
from tests.sdks.live_pack import LEASE_SECONDS, ROOT, terminated


@pytest.fixture
def bun(languages):
    """TypeScript's worker of the live pack, run by the Bun that npm installed."""
    typescript = languages["typescript"]
    command = (str(ROOT / "sdks" / "typescript" / "node_modules" / ".bin" / "bun"), typescript.command[-1])
    return dataclasses.replace(typescript, name="bun", command=command)


def test_a_worker_under_bun_runs_steps_keeps_leases_of_blocked_handlers_and_stops(pack, bun):
    worker = pack.start_worker(bun, "bun")
    assert pack.completed(pack.create("diamond", "bun"))["join"] == {"sum": 1112}
    items = {"total": 25, "batch_size": 10, "checkpoint_every": 4, "log_file": pack.file("items")}
    assert pack.completed(pack.create("batch", "bun", **items))["aggregate"]["sum"] == sum(range(25))
    task = pack.create("block", "bun", block_seconds=LEASE_SECONDS * 1.75)
    assert pack.completed(task)["step"] == {"blocked": True}
    assert [attempt.success for attempt in pack.audit(task, "step")] == [True]
    assert terminated(worker) == 0
