"""Two servers, four workers and one PostgreSQL, most of which is killed while tasks run."""

import asyncio
from pathlib import Path

from tests.acceptance import fleet
from tests.integration.support import check_invariants

from tasker_core.store import EmbeddedPostgres, migrate

#: Enough for each kill to hit tasks that run, and no more; `python -m tests.acceptance.fleet` takes as many as wanted.
TASKS = 500


def test_whatever_is_killed_all_tasks_end_attempts_are_recorded_once_and_no_answer_is_untrue(
    tmp_path: Path,
) -> None:
    with EmbeddedPostgres(tmp_path / "own") as postgres:
        asyncio.run(migrate(postgres.url))
        report = asyncio.run(fleet.run(TASKS, postgres, tmp_path))
        counts = asyncio.run(fleet.audit(postgres.url, tmp_path))
        asyncio.run(check_invariants(postgres.url))
    assert len(report.events) == 4
    acknowledged = set(report.acknowledged.values())
    assert counts["complete"] == counts["tasks"] == len(acknowledged) == TASKS
    assert counts["steps_completed"] == 4 * TASKS
    assert (counts["attempts_recorded_twice"], counts["steps_completed_twice"]) == (0, 0)
    assert {task: number for task, number in report.ended.items() if task} == dict.fromkeys(acknowledged, 1)
    assert report.lies == []
