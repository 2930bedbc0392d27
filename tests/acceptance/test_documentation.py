"""The documentation, executed: what it shows runs, and what it lists is complete.

CONTRIBUTING.md, "Documentation", explains the markers that blocks carry.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import SDK_LANGUAGES
from typer.testing import CliRunner

from tasker_core.cli.app import app
from tasker_core.store import EmbeddedPostgres
from tasker_core.template import inspect_text, keys

ROOT = Path(__file__).parents[2]
PAGES_LEFT_OUT = {ROOT / "docs" / f"{language}.md" for language in ("typescript", "ruby", "rust")}
PAGES_LEFT_OUT -= {ROOT / "docs" / f"{language}.md" for language in SDK_LANGUAGES}
EXECUTABLE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted({*ROOT.glob("docs/*.md")} - PAGES_LEFT_OUT)]
EXECUTABLE += sorted(ROOT.glob("examples/*/README.md"))
LINKED = [*EXECUTABLE, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("benchmarks/*.md")), *sorted(ROOT.glob("sdks/*/*.md"))]

#: Kinds of block that promise to work; each must carry a marker.
PROMISING = ("python", "yaml", "json", "console", "sh", "bash", "toml", "typescript", "ruby", "rust")

#: Where the pages of the SDKs find the clone.
REPOSITORY_LINK = "tasker-repository"

#: Seconds for one command; the longest compiles a Rust project whose dependencies are compiled already.
COMMAND_SECONDS = 240

#: Where the documentation pretends to be.
DIRECTORY_SHOWN = "/home/you/shop"

STEP_AROUND = "steps:\n  - name: documented\n    handler: {callable: documented}\n"
TEMPLATE_AROUND = "name: documented\nnamespace_name: docs\nversion: 1.0.0\n"


# Reading


@dataclass(frozen=True)
class Block:
    """A fenced block: its line, kind, text, and the marker (a comment right above it)."""

    line: int
    kind: str
    text: str
    marker: str


def blocks_of(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        opening = re.fullmatch(r"\s*```(\w*)", lines[position])
        if opening is None:
            position += 1
            continue
        end = next(i for i in range(position + 1, len(lines)) if lines[i].strip() == "```")
        above = re.fullmatch(r"<!-- (.*) -->", lines[position - 1].strip()) if position else None
        body = "\n".join(lines[position + 1 : end]) + "\n"
        yield Block(position + 1, opening[1], body, above[1] if above else "")
        position = end + 1


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command line of a console block with the output shown below it."""
    command, shown = "", list[str]()
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        else:
            assert command, f"line {block.line}: a console block begins with '$ '"
            shown.append(line)
    if command:
        yield command, shown


# Running


class Session:
    """A reader following one document, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.uuids: dict[str, str] = {}
        (directory / "examples").symlink_to(ROOT / "examples")
        (directory / REPOSITORY_LINK).symlink_to(ROOT)
        # Under `make test`, make's own variables would let an inner make announce its directories.
        foreign = ("TASKER_", "DATABASE_", "MAKE", "MFLAGS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environment = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
        self.environment["PYTHONUTF8"] = "1"
        self.environment["CARGO_TARGET_DIR"] = str(ROOT / "sdks" / "rust" / "target")

    def follow(self, block: Block) -> None:
        marker = re.fullmatch(r"(file|runs|not run|keys of)(?:: | )?(.*)", block.marker)
        if marker is None:
            pytest.fail(f"line {block.line}: a {block.kind} block without a marker: nobody would notice it break")
        act = {"file": self.write, "runs": self.run, "not run": self.skip, "keys of": self.check_keys}
        act[marker[1]](block, marker[2])

    def write(self, block: Block, name: str) -> None:
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        if block.kind == "python":
            self.execute(block)
        elif block.kind == "yaml":
            check_template(block, block.text)

    def run(self, block: Block, options: str) -> None:
        if block.kind == "python":
            self.execute(block)
            return
        assert block.kind == "console", f"line {block.line}: write commands as a console block, '$ ' before each"
        code = int(options.removeprefix("exit ") or 0)
        for command, shown in commands_of(block):
            self.run_command(block, command, shown, code)

    def execute(self, block: Block) -> None:
        process = subprocess.run(
            [sys.executable, "-c", "\n" * block.line + block.text],
            cwd=self.directory, env=self.environment, capture_output=True, encoding="utf-8",
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert process.returncode == 0, f"line {block.line}:\n{process.stdout}{process.stderr}"

    def run_command(self, block: Block, command: str, shown: list[str], code: int) -> None:
        for written, real in self.uuids.items():
            command = command.replace(written, real)
        process = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT if command.startswith("make ") else self.directory,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        place = f"line {block.line}: $ {command}\n{process.stdout}"
        ended = process.returncode if process.returncode >= 0 else 128 - process.returncode
        assert ended == code, f"exit code {ended} instead of {code}\n{place}"
        if shown:
            printed = process.stdout.replace(str(self.directory), DIRECTORY_SHOWN).splitlines()
            self.uuids |= compared(shown, printed, place)

    def skip(self, block: Block, reason: str) -> None:
        runnable = any(re.match(r"(\$ )?tasker ", line) for line in block.text.splitlines())
        assert reason, f"line {block.line}: say why the block is not run"
        assert block.kind in ("console", "sh"), f"line {block.line}: {block.kind} can always be run"
        assert not runnable, f"line {block.line}: tasker can always be run"

    def check_keys(self, block: Block, whose: str) -> None:
        if whose == "tasker.toml":
            file = self.directory / f"line-{block.line}.toml"
            file.write_text(block.text, encoding="utf-8")
            self.run_command(block, f"tasker config validate {file.name}", [], 0)
        elif whose == "a step":
            indented = "".join(f"    {line}\n" for line in block.text.splitlines())
            check_template(block, TEMPLATE_AROUND + STEP_AROUND + indented)
        else:
            assert whose == "a template", f"line {block.line}: keys of {whose}?"
            check_template(block, TEMPLATE_AROUND + STEP_AROUND + block.text)


def check_template(block: Block, text: str) -> None:
    template, report = inspect_text(text, f"line {block.line}", strict=True)
    assert template is not None, "\n".join(map(str, report.findings))
    assert not [f for f in report.findings if f.severity == "warning"], "\n".join(map(str, report.findings))


# Comparing what is shown with what is printed

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: What differs from run to run, and what stands for it.
VOLATILE = [
    (UUID_PATTERN, "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"^\d\d:\d\d:\d\d(\.\d{3})?"), "<time>"),
    (re.compile(r"\d+\.\d\d? s\b"), "<seconds>"),
    (re.compile(r'"(\w*pid|duration_ms)": ?[\d.]+'), r'"\1":<number>'),
    (re.compile(rf"\b({re.escape(socket.gethostname())}|laptop)-\d+"), "<worker>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<digest>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"Python 3\.\d+\.\d+"), "<python>"),
    (re.compile(r"\s+"), " "),
]


def normalised(line: str) -> str:
    for pattern, stands_for in VOLATILE:
        line = pattern.sub(stands_for, line)
    return line.strip()


def compared(shown: Sequence[str], printed: Sequence[str], place: str) -> dict[str, str]:
    """Check that the lines shown were printed; return which printed UUID each shown one stands for.

    A line ``...`` stands for any lines. Progress lines begin with a time; neighbours may change places.
    """

    def is_progress(line: str) -> bool:
        return normalised(line).startswith("<time> ")

    missing = {*map(normalised, filter(is_progress, shown))} - {*map(normalised, filter(is_progress, printed))}
    assert not missing, f"shown, but not printed: {missing}\n{place}"
    rest = [line for line in printed if not is_progress(line)]
    pairs = list[tuple[str, str]]()
    start, floating = 0, False
    pattern = [line for line in shown if not is_progress(line)]
    for line in pattern:
        if line == "...":
            floating = True
            continue
        candidates = range(start, len(rest)) if floating else range(start, min(start + 1, len(rest)))
        found = next((i for i in candidates if normalised(rest[i]) == normalised(line)), None)
        assert found is not None, f"shown, but not printed there: {line}\n{place}"
        pairs.append((line, rest[found]))
        start, floating = found + 1, False
    assert floating or start == len(rest), f"printed, but not shown: {rest[start:]}\n{place}"
    return {
        written: real
        for line, match in pairs
        for written, real in zip(UUID_PATTERN.findall(line), UUID_PATTERN.findall(match), strict=True)
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", EXECUTABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_a_document_shows_works_as_shown(document, tmp_path):
    blocks = [block for block in blocks_of(document.read_text(encoding="utf-8")) if block.kind in PROMISING]
    if not blocks:
        return
    directory = tmp_path.resolve() / "shop"
    directory.mkdir()
    session = Session(directory)
    # Held open, so that the commands share one server instead of starting it anew.
    with EmbeddedPostgres(directory / ".tasker"), nothing_left_running(directory):
        for block in blocks:
            session.follow(block)


@contextlib.contextmanager
def nothing_left_running(directory: Path) -> Iterator[None]:
    """Kill what a document that fails halfway has started: the next run needs its ports.

    Waits for what is about to end, too: a command that still uses the database server would leave it running.
    """
    try:
        yield
    finally:
        left = [
            process
            for process in psutil.process_iter(["cwd", "name"])
            if process.info["cwd"] == str(directory) and process.info["name"] != "postgres"
        ]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=60)


def test_a_block_that_nobody_runs_is_noticed(tmp_path):
    (block,) = blocks_of("```python\nraise SystemExit\n```\n")
    with pytest.raises(pytest.fail.Exception, match="without a marker"):
        Session(tmp_path).follow(block)


def test_output_that_is_not_printed_is_noticed():
    assert compared(["...", "b", "..."], ["a", "b", "c"], "") == {}
    for shown in (["a", "c"], ["...", "d", "..."], ["a"], ["b", "..."]):
        with pytest.raises(AssertionError):
            compared(shown, ["a", "b", "c"], "")


# What is listed is complete


def heading_anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in heading_anchors(path), f"{document.name}: {target}"


#: What a key holds, in the words of docs/templates.md, for the kinds without limits.
WORDS = {
    keys.Flag: "`true` or `false`",
    keys.Json: "any JSON",
    keys.JsonObject: "mapping",
    keys.Schema: "JSON Schema",
    keys.MapOf: "mapping of names to mappings",
    keys.Object: "mapping",
}


def described(kind: keys.Kind) -> str:
    match kind:
        case keys.Text(_, most):
            return f"text, at most {most} characters" if most else "text"
        case keys.Integer(least, most):
            return f"whole number, {least:,} to {most:,}"
        case keys.Choice(enum):
            return ", ".join(f"`{value}`" for value in enum)
        case keys.ListOf(item):
            return "list of mappings" if isinstance(item, keys.Object) else "list of texts"
    return WORDS[type(kind)]


def default_of(level: keys.Level, name: str) -> str:
    if name in level.required:
        return "required"
    (declared,) = (field for field in fields(level.model) if field.name == name)
    match declared.default:
        case bool() as flag:
            return f"`{str(flag).lower()}`"
        case int() as number:
            return f"{number:,}"
        case str() as text:
            return f"`{text}`"
    return ""


def other_names_of(key: keys.Key) -> str:
    old = [f"`{legacy.name}`" + (" in seconds" if legacy.scale == 1_000 else "") for legacy in key.legacy]
    names = [f"`{alias}`" for alias in key.aliases]
    return ", ".join(names + [f"old: {name}" for name in old])


def levels_below(level: keys.Level, path: str) -> Iterator[tuple[str, keys.Level]]:
    yield path, level
    for key in level.keys.values():
        kind: Any = key.kind
        name = key.name
        if isinstance(kind, keys.MapOf):
            kind, name = kind.item, f"{name}.NAME"
        if isinstance(kind, keys.ListOf):
            kind, name = kind.item, f"{name}[]"
        if isinstance(kind, keys.Object):
            yield from levels_below(kind.level, f"{path}.{name}" if path else name)


def rows_of(level: keys.Level) -> list[list[str]]:
    return [
        [f"`{key.name}`", described(key.kind), default_of(level, key.name), other_names_of(key)]
        for key in level.keys.values()
    ]


LEVELS = dict(levels_below(keys.TASK, ""))


@pytest.mark.parametrize("path", [path for path in LEVELS if path != "environments.NAME.steps[].retry"])
def test_every_key_of_a_template_is_documented_as_it_is(path):
    text = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    heading = f"`{path}`" if path else "The template"
    section = re.search(rf"^##+ {re.escape(heading)}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/templates.md has no section {heading}"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section[1].splitlines()
        if line.startswith("| `")
    ]

    assert [row[:4] for row in rows] == rows_of(LEVELS[path])
    assert all(row[4] for row in rows), "every key has a meaning"


def commands_below(*path: str) -> Iterator[tuple[str, str]]:
    """Every command with its help."""
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [*path, "--help"]).output
    _, _, listed = shown.partition("─ Commands ─")
    names = re.findall(r"^│ ([a-z-]+) ", listed, re.MULTILINE)
    if not names:
        yield " ".join(["tasker", *path]), shown
    for name in names:
        yield from commands_below(*path, name)


def test_every_command_and_option_is_documented():
    document = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = dict(commands_below())

    assert {"tasker run", "tasker task why", "tasker step reset", "tasker dlq stats"} <= set(commands)
    for command, shown in commands.items():
        assert f"## `{command}`" in document, command
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown):
            assert re.search(rf"{option}(?![\w-])", document), f"{command} {option}"


def test_every_environment_variable_is_documented():
    document = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    # The server reads none, and its error codes look like some.
    files = [file for file in (ROOT / "src").rglob("*.py") if "server" not in file.parts]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    variables = set(re.findall(r"\"((?:TASKER|DATABASE|WORKSPACE)_[A-Z_]*[A-Z])\"", source))

    assert {"DATABASE_URL", "TASKER_ENV"} <= variables
    assert [name for name in sorted(variables) if f"`{name}`" not in document] == []
