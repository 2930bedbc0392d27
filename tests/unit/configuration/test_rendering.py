"""What is written about settings is what they are."""

import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_core.configuration import Settings, settings_keys
from tasker_core.configuration.rendering import starter_file, with_current_tables
from tasker_core.configuration.writing import toml_value

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_tables_in_the_documentation_are_current():
    document = DOCUMENT.read_text(encoding="utf-8")
    current = with_current_tables(document)
    assert all(f"| `{key.name.rpartition('.')[2]}` |" in current for key in settings_keys())
    assert document == current, "write with_current_tables(document) into docs/configuration.md"


def test_the_starter_file_says_nothing_until_it_is_edited_and_then_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = tomllib.loads(starter_file())
    assert not any(isinstance(value, str | int | list) for table in tables.values() for value in table.values())
    lines = [
        line.removeprefix("#") if line[:1] == "#" and line[1:2] != " " else line for line in starter_file().splitlines()
    ]
    Path("all.toml").write_text("\n".join(lines), encoding="utf-8")
    loaded = Settings.load({}, file=Path("all.toml"))
    assert loaded.settings == Settings()
    written = {name for name, origin in loaded.origins.items() if origin.source == "file"}
    assert written == {key.name for key in settings_keys() if key.settable and not key.optional}


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(VALUES)
def test_values_written_as_toml_are_read_back(value):
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value
