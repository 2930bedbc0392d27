"""Task and step identifiers."""

import time
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.identifiers import (
    MAX_STEPS_PER_TASK,
    created_at,
    new_task_uuid,
    ordinal_of,
    step_uuid,
    task_uuid_of,
)

ORDINALS = st.integers(0, MAX_STEPS_PER_TASK - 1)


@given(ORDINALS)
def test_a_step_uuid_leads_back_to_its_task_and_position(ordinal: int) -> None:
    task = new_task_uuid()
    step = step_uuid(task, ordinal)
    assert (task_uuid_of(step), ordinal_of(step)) == (task, ordinal)


@given(ORDINALS)
def test_task_and_step_uuids_are_version_7(ordinal: int) -> None:
    task = new_task_uuid()
    assert {(u.version, u.variant) for u in (task, step_uuid(task, ordinal))} == {(7, RFC_4122)}


@given(st.lists(ORDINALS, min_size=2, unique=True))
def test_steps_of_a_task_have_uuids_of_their_own_in_template_order(ordinals: list[int]) -> None:
    task = new_task_uuid()
    uuids = [step_uuid(task, ordinal) for ordinal in sorted(ordinals)]
    assert uuids == sorted({task, *uuids})[1:]


def test_a_tasks_own_uuid_is_no_step() -> None:
    task = new_task_uuid()
    assert ordinal_of(task) == -1
    assert task_uuid_of(task) == task


def test_the_last_possible_step_fits() -> None:
    task = new_task_uuid()
    assert ordinal_of(step_uuid(task, MAX_STEPS_PER_TASK - 1)) == MAX_STEPS_PER_TASK - 1
    assert task_uuid_of(step_uuid(task, MAX_STEPS_PER_TASK - 1)) == task


def test_ten_thousand_tasks_made_at_once_differ() -> None:
    assert len({new_task_uuid() for _ in range(10_000)}) == 10_000


def test_all_random_bits_vary() -> None:
    varying = 0
    first = new_task_uuid().int
    for _ in range(200):
        varying |= first ^ new_task_uuid().int
    random_bits = ((1 << 76) - (1 << 64)) | ((1 << 62) - (1 << 24))
    assert varying & random_bits == random_bits


def test_a_task_uuid_tells_when_it_was_made() -> None:
    before = datetime.now(UTC)
    made = created_at(new_task_uuid())
    assert before - timedelta(milliseconds=1) <= made <= datetime.now(UTC)


def test_later_tasks_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000, 4_000_000_000_000]
    uuids: list[UUID] = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        uuids.append(new_task_uuid())
    assert uuids == sorted(uuids)
    assert [created_at(u).timestamp() * 1000 for u in uuids] == pytest.approx(moments)
