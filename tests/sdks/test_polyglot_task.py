"""One task whose steps run in four languages."""

import signal

from tests.sdks.live_pack import until

ORDER = ["python", "typescript", "ruby", "rust"]
NAMESPACE = "polyglot"
TASKS = 50


def given_to_ruby(pack, task: str) -> bool:
    return pack.steps(task)["ruby"].current_state == "in_progress"


def test_each_step_runs_in_another_language_even_when_one_of_the_workers_dies(pack, languages):
    # One test, since it takes four processes to begin.
    workers = {name: pack.launch_worker(language, NAMESPACE) for name, language in languages.items()}
    for worker in workers.values():
        pack.wait_for(worker)
    task = pack.create("polyglot", NAMESPACE)
    assert pack.completed(task)["rust"] == {"language": "rust", "trail": ORDER}
    steps = pack.steps(task).values()
    history = [pack.get(f"/v1/tasks/{task}/workflow_steps/{step.step_uuid}/audit") for step in steps]
    ran = {entry["step_name"]: entry["worker"] for entries in history for entry in entries}
    assert ran == {name: worker.name for name, worker in workers.items()}

    # Ruby's worker hangs, and dies with what it was given meanwhile.
    workers["ruby"].send(signal.SIGSTOP)
    tasks = pack.create_many(TASKS, "polyglot", NAMESPACE)
    until(lambda: any(given_to_ruby(pack, each) for each in tasks), "a step is given to Ruby's worker")
    workers["ruby"].kill()
    pack.start_worker(languages["ruby"], NAMESPACE)
    assert [pack.completed(task)["rust"]["trail"] for task in tasks] == [ORDER] * TASKS
    assert max(pack.steps(task)["ruby"].attempts for task in tasks) == 2
