"""Python's harness of the conformance vectors; sdks/conformance/README.md describes them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.sdks.vector_operations import OPERATIONS

CONFORMANCE = Path(__file__).parents[2] / "sdks" / "conformance"
FILE = json.loads((CONFORMANCE / "vectors.json").read_text(encoding="utf-8"))
LANGUAGES = {"py", "ts", "rb", "rs"}
OURS = [vector for vector in FILE["vectors"] if "py" in vector["langs"]]

#: Results of these are compared as far as something is expected of them.
MESSAGES = {"execute", "api_call", "api_connection_error", "api_timeout", "handler_timeout", "worker_shutdown"}
MESSAGE_INCLUDE = ["/error", "/metadata", "/orchestration_metadata"]


def for_python(vector: dict[str, Any]) -> dict[str, Any]:
    override = vector.get("overrides", {}).get("py", {})
    replaced = {"expect", "expect_error"} if override.keys() & {"expect", "expect_error"} else set()
    return {key: value for key, value in vector.items() if key not in replaced} | override


def patched_lease(vector: dict[str, Any]) -> dict[str, Any]:
    lease = copy.deepcopy(FILE["base"])
    if "handler" in vector:
        lease["task_sequence_step"]["step_definition"]["handler"]["callable"] = vector["handler"]
    for pointer, value in vector.get("patch", {}).items():
        *parents, last = pointer.split("/")[1:]
        place = lease
        for parent in parents:
            place = place[parent]
        place[last] = copy.deepcopy(value)
    return lease


def differences(found: Any, expected: Any, place: str, include: list[str]) -> list[str]:
    """Say where something is not as expected."""
    if isinstance(expected, dict) and expected.keys() & {"$contains", "$excludes", "$length"}:
        good = (
            isinstance(found, str)
            and all(part in found for part in expected.get("$contains", []))
            and not any(part in found for part in expected.get("$excludes", []))
            and len(found) == expected.get("$length", len(found))
        )
        return [] if good else [f"{place or '/'}: {str(found)[:200]!r} is not {expected}"]
    if isinstance(expected, dict) and isinstance(found, dict):
        more = any(place == root or place.startswith(f"{root}/") for root in include)
        keys = expected.keys() if more else expected.keys() | found.keys()
        return [d for k in keys for d in differences(found.get(k), expected.get(k), f"{place}/{k}", include)]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        return [
            d
            for index, pair in enumerate(zip(found, expected, strict=True))
            for d in differences(*pair, f"{place}/{index}", include)
        ]
    same = found == expected and isinstance(found, bool) == isinstance(expected, bool)
    return [] if same else [f"{place or '/'}: {found!r} instead of {expected!r}"]


def value_at(document: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        document = document.get(key) if isinstance(document, dict) else None
    return document


@pytest.mark.parametrize("vector", OURS, ids=[vector["id"] for vector in OURS])
def test_vector(vector: dict[str, Any]):
    vector = for_python(vector)
    operation, lease, args = OPERATIONS[vector["op"]], patched_lease(vector), vector.get("args", [])
    if vector.get("expect_error"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - that it fails is all that is said
            operation(lease, *args)
        return
    found = json.loads(json.dumps(operation(lease, *args)))
    expected, include = vector["expect"], vector.get("include", [])
    if vector["op"] in MESSAGES:
        assert "" not in include
        found = {key: value for key, value in found.items() if key in expected}
        include = [*include, *MESSAGE_INCLUDE]
    assert not differences(found, expected, "", include)
    assert all(value_at(found, pointer) is None for pointer in vector.get("absent", []))


@pytest.mark.parametrize(
    ("found", "expected", "include", "same"),
    [
        ({"a": 1, "b": None}, {"a": 1.0}, [], True),
        ({"a": 1, "b": 2}, {"a": 1}, [], False),
        ({"a": 1, "b": 2}, {"a": 1}, [""], True),
        ({"a": {"b": [{"c": 1, "d": 2}]}}, {"a": {"b": [{"c": 1}]}}, ["/a"], True),
        ({"a": [1, 2]}, {"a": [1]}, [""], False),
        ({}, {"a": 1}, [""], False),
        (True, 1, [], False),
        ("one two", {"$contains": ["one", "two"], "$excludes": ["three"]}, [], True),
        ("one two", {"$contains": ["three"]}, [], False),
        ("one two", {"$excludes": ["two"]}, [], False),
        ("one", {"$length": 4}, [], False),
    ],
)
def test_what_counts_as_the_same(found: Any, expected: Any, include: list[str], same: bool):
    assert (not differences(found, expected, "", include)) == same


def test_each_vector_is_well_formed():
    keys = {"id", "area", "about", "op", "handler", "patch", "args", "expect", "expect_error", "include", "absent"}
    ids = [vector["id"] for vector in FILE["vectors"]]
    assert len(ids) == len(set(ids))
    for vector in FILE["vectors"]:
        assert vector.keys() <= keys | {"langs", "overrides"}, vector["id"]
        assert vector["area"] == vector["id"][0]
        assert ("expect" in vector) != ("expect_error" in vector), vector["id"]
        assert set(vector["langs"]) <= LANGUAGES
        assert vector["langs"]
        assert set(vector.get("overrides", {})) <= set(vector["langs"]), vector["id"]


def test_python_knows_each_of_its_operations_and_has_vectors_of_each_area():
    assert {vector["op"] for vector in OURS} == OPERATIONS.keys()
    # Publishers and subscribers of events are not part of Python's package.
    assert {vector["area"] for vector in OURS} == set("CREPBKAXGTJ")
    assert {vector["area"] for vector in FILE["vectors"]} == set("CREPBKAXGVTJ")


def test_the_readme_describes_each_operation_and_each_fixture_handler():
    readme = (CONFORMANCE / "README.md").read_text(encoding="utf-8")
    for vector in FILE["vectors"]:
        assert f"`{vector['op']}`" in readme
        assert f"`{vector.get('handler', 'echo')}`" in readme or vector["handler"] == "no_such_handler"
