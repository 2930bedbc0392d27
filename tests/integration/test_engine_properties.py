"""The whole engine against a small model of its rules, under random templates and random histories.

``TASKER_EXAMPLES`` says how many histories each test tries; ``failing_examples`` holds those that once found a defect.
"""

import asyncio
import os
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.engine_crowd import Crowd
from tests.integration.engine_histories import Claim, History, Step, Work, histories
from tests.integration.engine_machine import Machine, Worlds
from tests.integration.failing_examples import FAILING

EXAMPLES = int(os.environ.get("TASKER_EXAMPLES", "25"))

#: Types of steps that templates are made of, the more often one is here the more of it.
FOCUS = {
    "decisions": ("standard", "decision", "decision", "deferred_convergence"),
    "batches": ("standard", "batchable", "deferred_convergence"),
    "everything": ("standard", "standard", "decision", "batchable", "deferred_convergence"),
}

_SETTINGS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

pytestmark = pytest.mark.timeout(120 + 10 * EXAMPLES)


@pytest.fixture
def worlds(database_url: str) -> Iterator[Worlds]:
    with asyncio.Runner() as runner:
        # Not the runner's own run, which arranges for signals each time and takes a third of all time.
        worlds = Worlds(runner.get_loop().run_until_complete, database_url)
        worlds.run(worlds.open())
        yield worlds
        worlds.run(worlds.close())


@pytest.mark.parametrize("focus", FOCUS)
def test_any_history_goes_as_the_rules_say_and_comes_to_an_end(worlds: Worlds, focus: str) -> None:
    @_SETTINGS
    @given(histories(FOCUS[focus]))
    def goes_as_the_rules_say(history: History) -> None:
        worlds.check(history)

    goes_as_the_rules_say()


def test_what_once_went_wrong_goes_as_the_rules_say(worlds: Worlds) -> None:
    for history in FAILING:
        worlds.check(history)


def test_a_lease_that_is_reported_twice_in_one_call_counts_once(worlds: Worlds) -> None:
    steps = (
        Step("s0", "batchable"),
        Step("s1", "batch_worker", ("s0",)),
        Step("s2", "deferred_convergence", ("s1",)),
    )
    machine = Machine(worlds, History(steps, ()))
    two_batches = 22
    machine.happen(Work("both", two_batches))
    machine.happen(Claim("both", 1))
    report = machine.report_for(machine.held("both")[0], "success", 0)
    machine.report("both", [report, report], 0)
    machine.compare()
    machine.come_to_an_end()


def test_workers_rescuers_and_an_operator_at_once_keep_every_promise(worlds: Worlds) -> None:
    @_SETTINGS
    @given(histories(FOCUS["everything"]), st.integers(0, 2**32))
    def keeps_every_promise(history: History, seed: int) -> None:
        Crowd(worlds, history, Random(seed)).check()

    keeps_every_promise()
