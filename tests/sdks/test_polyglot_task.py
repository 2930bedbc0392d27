"""One task whose steps run in four languages."""

import signal
from collections.abc import Iterator

import pytest
from tests.sdks.live_pack import Language, Pack, Worker, until

ORDER = ["python", "typescript", "ruby", "rust"]
NAMESPACE = "polyglot"
TASKS = 50


@pytest.fixture(scope="module")
def workers(pack: Pack, languages: dict[str, Language]) -> Iterator[dict[str, Worker]]:
    """A worker of each language for the same namespace."""
    return {name: pack.start_worker(language, NAMESPACE) for name, language in languages.items()}


def test_each_step_of_a_task_runs_in_another_language(pack, workers):
    task = pack.create("polyglot", NAMESPACE)
    assert pack.completed(task)["rust"] == {"language": "rust", "trail": ORDER}
    steps = pack.steps(task).values()
    history = [pack.get(f"/v1/tasks/{task}/workflow_steps/{step.step_uuid}/audit") for step in steps]
    ran = {entry["step_name"]: entry["worker"] for entries in history for entry in entries}
    assert ran == {name: worker.name for name, worker in workers.items()}


def test_tasks_survive_the_death_of_one_of_the_workers(pack, workers, languages):
    # It hangs, and dies with what it was given meanwhile.
    workers["ruby"].send(signal.SIGSTOP)
    tasks = pack.create_many(TASKS, "polyglot", NAMESPACE)
    until(lambda: any(pack.client.get_task(task).in_progress_steps for task in tasks), "steps wait for Ruby")
    workers["ruby"].kill()
    pack.start_worker(languages["ruby"], NAMESPACE)
    assert [pack.completed(task)["rust"]["trail"] for task in tasks] == [ORDER] * TASKS
    assert max(pack.steps(task)["ruby"].attempts for task in tasks) == 2
