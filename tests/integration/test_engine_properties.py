"""The whole engine against a small model of its rules, under random templates and random histories.

``TASKER_EXAMPLES`` says how many histories each test tries; ``failing_examples`` holds those that once found a defect.
"""

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.engine_histories import History, histories
from tests.integration.engine_machine import Worlds
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


def test_workers_rescuers_and_an_operator_at_once_keep_every_promise(worlds: Worlds) -> None:
    @_SETTINGS
    @given(histories(FOCUS["everything"]), st.integers(0, 2**32))
    def keeps_every_promise(history: History, seed: int) -> None:
        worlds.check_at_once(history, seed)

    keeps_every_promise()
