"""What permissions, wildcards and roles amount to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.access import (
    ALL_PERMISSIONS,
    ANONYMOUS,
    DESCRIPTIONS,
    ROLES,
    Caller,
    Permission,
    granted,
    usable_name,
)

RESOURCES = {permission.partition(":")[0] for permission in Permission}
KNOWN = {*Permission, *(f"{resource}:*" for resource in RESOURCES), "*"}

permissions = st.sets(st.sampled_from(sorted(KNOWN)))
roles = st.sets(st.sampled_from(sorted(ROLES)))
foreign = st.one_of(
    st.text(max_size=30),
    st.sampled_from(sorted(KNOWN)).map(str.upper),
    st.sampled_from(sorted(KNOWN)).map(lambda text: f"{text} "),
    st.sampled_from(["tasks", "tasks:", ":*", "*:*", "*:read", "tasks:**", "tasks:re*", "t*", "", "role:admin"]),
).filter(lambda text: text not in KNOWN)
names = st.sets(st.sampled_from(["a", "b", "c", "d"]))


@given(permissions, roles)
def test_everything_that_is_known_grants_what_it_says_and_no_more(texts, role_names):
    result = granted(texts, role_names)

    for permission in Permission:
        resource = permission.partition(":")[0]
        expected = (
            permission in texts
            or f"{resource}:*" in texts
            or "*" in texts
            or any(permission in ROLES[name] for name in role_names)
        )
        assert (permission in result.permissions) == expected
    assert result.unknown == ()


@given(st.sets(foreign, min_size=1))
def test_what_is_not_known_grants_nothing_and_is_named(texts):
    assert granted(texts) == (frozenset(), tuple(sorted(texts)))


@given(permissions, st.sets(foreign))
def test_what_is_not_known_takes_nothing_away(texts, unknown):
    assert granted(texts | unknown).permissions == granted(texts).permissions


@given(st.text().filter(lambda name: name not in ROLES))
def test_a_role_that_does_not_exist_grants_nothing_and_is_named(name):
    assert granted(roles=[name]) == (frozenset(), (f"role:{name}",))


@given(permissions, permissions)
def test_more_texts_never_grant_less(some, more):
    assert granted(some).permissions <= granted(some | more).permissions
    assert granted(some).permissions | granted(more).permissions == granted(some | more).permissions


def test_the_administrator_and_the_superuser_may_do_everything_and_nobody_else():
    assert granted(["*"]).permissions == granted(roles=["admin"]).permissions == ALL_PERMISSIONS
    assert [name for name, allowed in ROLES.items() if allowed == ALL_PERMISSIONS] == ["admin"]
    assert all(Permission.SYSTEM_KEYS_MANAGE not in ROLES[name] for name in ROLES if name != "admin")


def test_a_reader_changes_nothing():
    assert {permission.partition(":")[2] for permission in ROLES["reader"]} <= {
        "read",
        "list",
        "context_read",
        "stats",
        "handlers_read",
        "analytics_read",
    }


@pytest.mark.parametrize("permission", Permission)
def test_every_permission_is_described_in_a_sentence(permission):
    text = DESCRIPTIONS[permission]
    assert text[0].isupper()
    assert text.endswith(".")


@given(names, names)
def test_a_caller_looks_only_where_it_may(own, wanted):
    caller = Caller("somebody", frozenset(), frozenset(own))

    assert caller.visible() == sorted(own)
    assert caller.visible(wanted) == sorted(own & wanted)
    assert all(caller.may_enter(name) == (name in own) for name in "abcd")


@given(names, st.none() | names)
def test_a_caller_covers_what_it_may_enter_and_never_everything(own, namespaces):
    caller = Caller("somebody", frozenset(), frozenset(own))

    assert caller.covers(namespaces) == (namespaces is not None and namespaces <= own)
    assert ANONYMOUS.covers(namespaces)


@pytest.mark.parametrize("name", ["wms", "auth0|5f7c8ec7c33c6c004bbafe82", "Jörg Müller", "x" * 200])
def test_a_line_of_text_is_a_name(name):
    assert usable_name(name)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00b", "\ud800", "x" * 201])
def test_what_cannot_be_stored_or_read_is_no_name(name):
    assert not usable_name(name)


# The documentation

AUTHENTICATION = Path(__file__).parents[2] / "docs" / "authentication.md"


def test_every_permission_and_role_is_documented_as_it_is():
    names = [name for name in ROLES if name != "admin"]
    rows = [["Permission", "Allows", *(f"`{name}`" for name in names)], ["---"] * (2 + len(names))]
    for permission, description in DESCRIPTIONS.items():
        marks = ("✓" if permission in ROLES[name] else "" for name in names)
        rows.append([f"`{permission}`", description.removesuffix("."), *marks])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)

    assert f"<!-- permissions: begin -->\n{table}\n<!-- permissions: end -->" in AUTHENTICATION.read_text("utf-8")
