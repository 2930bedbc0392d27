"""Placeholders are replaced by environment variables, as a shell would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_core.configuration.placeholders import PlaceholderError, Text, expand, has_placeholder

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text().filter(lambda text: "$" not in text)
INSIDE = PLAIN.filter(lambda text: "}" not in text)
VALUES = st.text(min_size=1)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    """A text with placeholders, what it must become, and the variables."""
    variables = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    text, expected = "", ""
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["plain", "escaped", "set", "default"]))
        if kind == "set" and variables:
            name = draw(st.sampled_from(sorted(variables)))
            default = draw(st.none() | INSIDE)
            text += f"${{{name}}}" if default is None else f"${{{name}:-{default}}}"
            expected += variables[name]
        elif kind == "default":
            name = draw(NAMES.filter(lambda name: name not in variables))
            default = draw(INSIDE)
            text, expected = f"{text}${{{name}:-{default}}}", expected + default
        elif kind == "escaped":
            text, expected = f"{text}$${{", expected + "${"
        else:
            plain = draw(PLAIN)
            text, expected = text + plain, expected + plain
    return text, expected, variables


@settings(deadline=None)
@given(written())
def test_each_placeholder_becomes_its_variable_or_its_default(case):
    text, expected, variables = case
    assert expand(text, variables) == expected
    assert expand({"a": [text, {"b": text}]}, variables) == {"a": [expected, {"b": expected}]}


@settings(deadline=None)
@given(st.text(), st.dictionaries(NAMES, VALUES, max_size=2))
def test_any_text_is_expanded_or_refused_with_a_reason(text, variables):
    try:
        expanded = expand(text, variables)
    except PlaceholderError:
        assert has_placeholder(text)
    else:
        assert has_placeholder(text) or expanded == text.replace("$${", "${")


@settings(deadline=None)
@given(PLAIN)
def test_the_result_of_an_expansion_is_not_expanded_again(plain):
    assert expand("${A}", {"A": f"${{B}}{plain}"}) == f"${{B}}{plain}"


def test_a_variable_that_is_missing_is_named_but_an_empty_one_is_a_value():
    with pytest.raises(PlaceholderError, match="the environment variable NOPE, which is not set"):
        expand("a ${NOPE}", {"OTHER": "secret"})
    assert expand("a ${EMPTY}", {"EMPTY": ""}) == "a "
    assert expand("${EMPTY:-default}", {"EMPTY": ""}) == "default"
    assert expand("${EMPTY:-}", {}) == ""


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "${1A}", "${A-b}", "${A:b}", "x ${A", "${A}${"])
def test_a_malformed_placeholder_is_refused_with_what_would_be_right(text):
    with pytest.raises(PlaceholderError, match="malformed placeholder; write"):
        expand(text, {"A": "secret"})


def test_only_texts_with_placeholders_may_stand_for_numbers():
    assert isinstance(expand("${A}", {"A": "5"}), Text)
    assert not isinstance(expand("5", {}), Text)
    assert expand(5, {}) == 5
