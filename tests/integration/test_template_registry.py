"""Templates by name: what is registered is found, and versions do not change by accident."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import working
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.support import chain, graph, results

from tasker_core.cli.template_registration import register_files
from tasker_core.orchestration import Engine, TaskRequest, TemplateConflictError, TemplateNotFoundError
from tasker_core.orchestration import template_registry as module
from tasker_core.orchestration.template_registry import Outcome, Registration, version_key
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import StepContext

TEMPLATE = chain(2)


def edition(number: int, **fields: Any) -> Any:
    return graph({"only": []}, initialization={"edition": number}, **fields)


@step_handler("work")
async def work(context: StepContext) -> Any:
    return dict(context.step_config)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Engine]:
    """Another process on the same database."""
    async with Engine(database_url) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time by which the registry knows how old an answer is, in its only item."""
    now = [1000.0]
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: now[0])
        yield now


async def test_a_registered_template_is_found_by_version_by_latest_and_without_a_version(engine: Engine) -> None:
    registration = await engine.templates.register(TEMPLATE, actor="ann")
    assert registration == Registration("test", "graph", "1.0.0", TEMPLATE.digest, Outcome.REGISTERED)
    for version in ("1.0.0", "latest", None):
        assert await engine.templates.find("test", "graph", version) == TEMPLATE


async def test_another_process_finds_the_same_content(engine: Engine, other: Engine) -> None:
    await engine.templates.register(TEMPLATE)
    assert await other.templates.find("test", "graph") == TEMPLATE


@pytest.mark.parametrize(
    ("namespace", "name", "version"),
    [
        ("test", "graph", "1.0.1"),
        ("test", "graphs", None),
        ("tests", "graph", "latest"),
        ("test\0", "graph", None),
        ("test", "\ud800", None),
    ],
)
async def test_what_is_not_registered_is_not_found(
    engine: Engine, namespace: str, name: str, version: str | None
) -> None:
    await engine.templates.register(TEMPLATE)
    with pytest.raises(TemplateNotFoundError, match=r"^Template not found: test") as error:
        await engine.templates.find(namespace, name, version)
    assert (error.value.namespace, error.value.name, error.value.version) == (namespace, name, version or "latest")


async def test_registering_the_same_content_again_changes_nothing(engine: Engine) -> None:
    await engine.templates.register(TEMPLATE, actor="ann")
    before = await engine.templates.list()
    assert (await engine.templates.register(TEMPLATE, actor="bob")).outcome == "unchanged"
    assert (await engine.templates.register(TEMPLATE, actor="bob", force=True)).outcome == "unchanged"
    assert await engine.templates.list() == before


async def test_other_content_of_a_version_is_refused_and_the_first_one_stays(engine: Engine) -> None:
    await engine.templates.register(edition(1))
    with pytest.raises(TemplateConflictError, match=re.escape("test/graph/1.0.0")) as error:
        await engine.templates.register(edition(2))
    assert "change its version, or register it with force" in str(error.value)
    assert await engine.templates.find("test", "graph") == edition(1)


async def test_force_replaces_the_content_and_tasks_keep_what_they_were_created_with(engine: Engine) -> None:
    await engine.templates.register(edition(1))
    old = await engine.create_task(await engine.templates.find("test", "graph"), TaskRequest())
    assert (await engine.templates.register(edition(2), force=True)).outcome == "replaced"
    new = await engine.create_task(await engine.templates.find("test", "graph"), TaskRequest())
    async with working(engine, {"work": work}):
        assert {await engine.wait(task, 10) for task in (old, new)} == {TaskState.COMPLETE}
    assert [await results(engine, task) for task in (old, new)] == [{"only": {"edition": 1}}, {"only": {"edition": 2}}]


async def test_of_those_who_register_at_once_one_content_wins_and_the_others_are_told(
    engine: Engine, other: Engine
) -> None:
    attempts = [(engine, other)[n % 2].templates.register(edition(n // 4)) for n in range(16)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    winner = await engine.templates.find("test", "graph")
    for number, answer in enumerate(answers):
        if edition(number // 4) == winner:
            assert isinstance(answer, Registration)
        else:
            assert isinstance(answer, TemplateConflictError)
    assert sorted(a.outcome for a in answers if isinstance(a, Registration)) == ["registered"] + ["unchanged"] * 3


async def test_looking_up_again_within_a_second_asks_nobody(
    engine: Engine, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.templates.register(TEMPLATE)
    await engine.templates.find("test", "graph")
    monkeypatch.setattr(engine.store, "database", None)
    clock[0] += 0.99
    assert await engine.templates.find("test", "graph") == TEMPLATE
    clock[0] += 0.02
    with pytest.raises(AttributeError):
        await engine.templates.find("test", "graph")


async def test_a_change_is_seen_at_once_where_it_was_made_and_within_a_second_elsewhere(
    engine: Engine, other: Engine, clock: list[float]
) -> None:
    for each in (engine, other):
        with pytest.raises(TemplateNotFoundError):
            await each.templates.find("test", "graph")
    await engine.templates.register(edition(1))
    assert await engine.templates.find("test", "graph") == edition(1)
    clock[0] += 1.01
    assert await other.templates.find("test", "graph") == edition(1)
    await engine.templates.register(edition(2), force=True)
    assert await engine.templates.find("test", "graph") == edition(2)
    clock[0] += 1.01
    assert await other.templates.find("test", "graph") == edition(2)
    await engine.templates.delete("test", "graph", "1.0.0")
    clock[0] += 1.01
    for each in (engine, other):
        with pytest.raises(TemplateNotFoundError):
            await each.templates.find("test", "graph", "1.0.0")


async def test_a_look_up_that_was_under_way_does_not_hide_what_was_registered_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = module.registered.versions
    read_it, go_on = asyncio.Event(), asyncio.Event()

    async def read_and_wait(*arguments: Any) -> dict[str, str]:
        answer = await read(*arguments)
        read_it.set()
        await go_on.wait()
        return answer

    monkeypatch.setattr(module.registered, "versions", read_and_wait)
    early = asyncio.create_task(engine.templates.find("test", "graph"))
    await read_it.wait()
    await engine.templates.register(TEMPLATE)
    go_on.set()
    with pytest.raises(TemplateNotFoundError):
        await early
    assert await engine.templates.find("test", "graph") == TEMPLATE


async def test_the_newest_version_is_the_greatest_and_not_the_last_one(engine: Engine) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.0", "1.10.0-rc.1"):
        await engine.templates.register(replace(TEMPLATE, version=version))
    assert (await engine.templates.find("test", "graph")).version == "1.10.0"
    assert [row["version"] for row in await engine.templates.list()] == ["1.10.0", "1.10.0-rc.1", "1.9.0", "1.2.0"]


async def test_a_deleted_template_is_gone_and_its_tasks_go_on(engine: Engine) -> None:
    await engine.templates.register(TEMPLATE)
    task = await engine.create_task(await engine.templates.find("test", "graph"), TaskRequest())
    await engine.templates.delete("test", "graph", "1.0.0")
    with pytest.raises(TemplateNotFoundError):
        await engine.templates.find("test", "graph")
    with pytest.raises(TemplateNotFoundError):
        await engine.templates.delete("test", "graph", "1.0.0")
    async with working(engine, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE


async def test_the_list_tells_namespaces_apart_and_counts_every_version(engine: Engine) -> None:
    for namespace, version in (("b", "1.0.0"), ("a", "1.0.0"), ("a", "2.0.0")):
        await engine.templates.register(
            replace(TEMPLATE, namespace_name=namespace, version=version, description="two steps"), actor="ann"
        )
    rows = await engine.templates.list()
    assert [(row["namespace"], row["version"]) for row in rows] == [("a", "2.0.0"), ("a", "1.0.0"), ("b", "1.0.0")]
    assert {(row["name"], row["description"], row["step_count"], row["registered_by"]) for row in rows} == {
        ("graph", "two steps", 2, "ann")
    }
    assert await engine.templates.counts() == {"a": 2, "b": 1}
    assert await engine.templates.counts(["b", "c"]) == {"b": 1}
    assert [row["namespace"] for row in await engine.templates.list(["b", "c"])] == ["b"]
    assert await engine.templates.list([]) == []


async def test_files_that_cannot_be_registered_are_named_and_do_not_stop_the_others(
    engine: Engine, tmp_path: Path
) -> None:
    text = "name: {}\nnamespace_name: test\nversion: 1.0.0\nsteps:\n  - name: a\n    handler: {{callable: {}}}\n"
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.yaml").write_text(text.format(name, "work"))
    (tmp_path / "broken.yaml").write_text("name: [")
    rows = {Path(row["file"]).stem: row for row in await register_files(engine.templates, [tmp_path], actor="ann")}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        **dict.fromkeys(("one", "two", "three"), "registered"),
        "broken": "invalid",
    }
    assert str(tmp_path / "broken.yaml") in rows["broken"]["error"]
    (tmp_path / "two.yaml").write_text(text.format("two", "other"))
    again = {Path(row["file"]).stem: row for row in await register_files(engine.templates, [tmp_path], actor="ann")}
    assert (again["one"]["outcome"], again["two"]["outcome"]) == ("unchanged", "conflict")
    assert "test/two/1.0.0" in again["two"]["error"]
    forced = await register_files(engine.templates, [tmp_path / "two.yaml"], actor="ann", force=True)
    assert [row["outcome"] for row in forced] == ["replaced"]


NUMBERS = st.lists(st.integers(0, 10**20), min_size=1, max_size=4)
IDENTIFIERS = st.lists(st.from_regex(r"[0-9A-Za-z]{1,6}", fullmatch=True), min_size=1, max_size=3)
VERSIONS = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-[0-9a-z.-]{1,8})?(\+[0-9a-z]{1,4})?", fullmatch=True),
)


def text(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))


@given(VERSIONS, VERSIONS)
def test_versions_are_in_a_total_order(one: str, two: str) -> None:
    first, second = version_key(one), version_key(two)
    assert (first < second) + (first > second) + (one == two) == 1


@given(NUMBERS, NUMBERS)
def test_numbers_of_versions_compare_as_numbers(one: list[int], two: list[int]) -> None:
    width = max(len(one), len(two))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (one, two)]
    if padded[0] < padded[1]:
        assert version_key(text(one)) < version_key(text(two))


@given(NUMBERS, IDENTIFIERS)
def test_a_pre_release_comes_before_its_release_and_after_those_before(
    numbers: list[int], identifiers: list[str]
) -> None:
    pre_release = version_key(f"{text(numbers)}-{'.'.join(identifiers)}")
    assert pre_release < version_key(text(numbers))
    if numbers[-1] > 0:
        assert version_key(text([*numbers[:-1], numbers[-1] - 1])) < pre_release


@given(st.text(), NUMBERS)
def test_other_texts_come_before_all_versions_in_the_order_of_text(word: str, numbers: list[int]) -> None:
    assert version_key(f"v{word}") < version_key(text(numbers))
    assert (version_key(f"v{word}") > version_key("release")) == (f"v{word}" > "release")


def test_the_order_of_semantic_versioning_is_kept() -> None:
    ordered = [
        *("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
        *("1.0.0-rc.1", "1.0.0", "1.0.0+build", "1.0.1", "1.2.0", "1.10.0", "2.0.0-1", "2.0.0"),
    ]
    for older, newer in itertools.pairwise(ordered):
        assert version_key(older) < version_key(newer)
