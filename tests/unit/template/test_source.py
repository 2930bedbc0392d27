"""Hostile, broken and unusual YAML is refused with a finding, quickly and in bounded memory."""

import time
from pathlib import Path

import pytest

from tasker_core.template import TemplateError, inspect_file, inspect_text, load_file, load_text

GOOD = "name: t\nnamespace_name: n\nversion: 1.0.0\nsteps:\n  - {name: a, handler: {callable: m.a}}\n"


def only_finding(text: str) -> tuple[str, int | None]:
    template, report = inspect_text(text)
    assert template is None
    (finding,) = report.findings
    return finding.code, finding.line


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "EMPTY_FILE", 1),
        ("# nothing here\n", "EMPTY_FILE", 1),
        ("---\n", "EMPTY_FILE", 1),
        ("a: [1\nb: 2\n", "YAML_SYNTAX", 2),
        ("a: 1\n\tb: 2\n", "YAML_SYNTAX", 2),
        (GOOD + "---\n" + GOOD, "MULTIPLE_DOCUMENTS", 6),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", "UNSUPPORTED_TAG", 2),
        ("a: 1\nb: !!python/name:os.system x\n", "UNSUPPORTED_TAG", 2),
        ("a: !custom {x: 1}\n", "UNSUPPORTED_TAG", 1),
        ("a: !!int abc\n", "WRONG_TYPE", 1),
        ("a: 1\nb: *nowhere\n", "UNKNOWN_ANCHOR", 2),
        ("a: &loop\n  b: *loop\n", "RECURSIVE_ALIAS", 2),
        ("? [a]\n: 1\n", "WRONG_TYPE", 1),
        ('a: "x\\0y"\n', "INVALID_CHARACTER", 1),
        ('a: 1\nb: "\\ud800"\n', "YAML_SYNTAX", 2),
        ("a: \x07\n", "YAML_SYNTAX", None),
        ("a: \ud800\n", "INVALID_CHARACTER", None),
        ("- a\n", "WRONG_TYPE", 1),
        ("just text\n", "WRONG_TYPE", 1),
        ("a: " + "[" * 200 + "]" * 200, "TOO_DEEP", 1),
        ("a: " + "[" * 50_000, "TOO_DEEP", 1),
    ],
)
def test_what_is_not_a_template_gives_one_clear_finding(text: str, code: str, line: int | None) -> None:
    assert only_finding(text) == (code, line)


def test_a_leading_document_marker_after_comments_is_fine() -> None:
    assert load_text("# about\n---\n" + GOOD).name == "t"


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    started = time.perf_counter()
    assert only_finding(bomb)[0] == "ALIAS_EXPANSION"
    assert time.perf_counter() - started < 5


def test_aliases_of_a_long_text_count_with_its_length() -> None:
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 11)}]\n"
    assert only_finding(text)[0] == "ALIAS_EXPANSION"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD + "version: 2.0.0\n", 6),
        (GOOD.replace("steps", "description: x\ndescription: y\nsteps"), 5),
        (GOOD + "  - name: b\n    handler:\n      callable: m.b\n      callable: m.c\n", 9),
        (GOOD + "  - name: b\n    handler: m.b\n    composition:\n      x: 1\n      x: 2\n", 10),
        (GOOD + "unknown:\n  x: 1\n  x: 1\n", 8),
    ],
)
def test_a_key_that_occurs_twice_is_an_error_anywhere(text: str, line: int) -> None:
    template, report = inspect_text(text)
    assert template is None
    (finding,) = [finding for finding in report.findings if finding.code == "DUPLICATE_KEY"]
    assert finding.line == line
    assert "first on line" in finding.message


def test_errors_read_as_file_line_message_and_hint() -> None:
    with pytest.raises(TemplateError) as caught:
        load_text(GOOD.replace("handler", "handlr"), "orders.yaml")
    assert str(caught.value) == "orders.yaml:5: Required key 'handler' is missing"
    with pytest.raises(TemplateError) as caught:
        load_text(GOOD + "  - {name: b, handler: {callable: x}, type: decison}\n", "f")
    assert str(caught.value).startswith("f:6: ")
    assert str(caught.value).endswith("(did you mean 'decision'?)")


def test_a_missing_file_is_a_template_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"absent\.yaml: The file cannot be read"):
        load_file(tmp_path / "absent.yaml")


def test_a_directory_is_a_template_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        load_file(tmp_path)


def test_a_file_that_is_not_utf_8_is_a_template_error_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(GOOD.encode() + "description: caf\u00e9\n".encode("latin-1"))
    template, report = inspect_file(path)
    assert template is None
    assert (report.findings[0].code, report.findings[0].line) == ("UNREADABLE_FILE", 6)


def test_an_empty_file_is_a_template_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.touch()
    with pytest.raises(TemplateError, match="is empty"):
        load_file(path)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load_file(path).name == "t"


def test_a_good_file_gives_its_template_and_a_report_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    template, report = inspect_file(path)
    assert template == load_file(path)
    assert report.valid
    assert {finding.file for finding in report.findings} == {str(path)}


def test_ten_thousand_steps_load_in_seconds() -> None:
    steps = "".join(
        f"  - {{name: s{n}, handler: {{callable: m.s}}, dependencies: [s{max(0, n - 1)}]}}\n" for n in range(1, 10_000)
    )
    text = GOOD.replace("name: a,", "name: s0,") + steps
    started = time.perf_counter()
    assert len(load_text(text).steps) == 10_000
    assert time.perf_counter() - started < 20
