import pytest

from tasker_core.template_discovery import HandlerDiscovery, TemplateParser, TemplatePath

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
task_handler: {callable: ignored}
steps:
  - {name: a, handler: {callable: z.Handler}}
  - {name: b, handler: {callable: bare}}
  - {name: c, handler: {callable: 5}}
  - {name: d, handler: none}
  - {name: e}
  - not a step
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "order.yaml").write_text(TEMPLATE)
    (tmp_path / "sub" / "other.yml").write_text("steps: [{handler: {callable: bare}}]")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "note.txt").write_text("no template")
    return tmp_path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No variable set, and a working directory that is not inside any workspace's templates."""
    for variable in ("TASKER_TEMPLATE_PATH", "TASKER_ENV", "WORKSPACE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    workspace = tmp_path / "workspace"
    inner = workspace / "a" / "b"
    inner.mkdir(parents=True)
    (workspace / "pyproject.toml").touch()
    monkeypatch.chdir(inner)
    return workspace


def test_files_are_found_below_the_directory_in_order(directory):
    names = [file.name for file in TemplatePath.discover_template_files(directory)]
    assert names == ["broken.yaml", "list.yaml", "order.yaml", "other.yml"]
    assert TemplatePath.discover_template_files(directory / "nope") == []


def test_callables_are_read_past_malformed_steps(directory):
    assert TemplateParser.extract_handler_callables(directory / "order.yaml") == ["z.Handler", "bare"]


@pytest.mark.parametrize("name", ["broken.yaml", "list.yaml", "missing.yaml"])
def test_a_file_that_is_no_template_yields_nothing(directory, name):
    assert TemplateParser.extract_handler_callables(directory / name) == []
    assert TemplateParser.extract_template_metadata(directory / name) == {}


def test_metadata_names_the_template(directory):
    assert TemplateParser.extract_template_metadata(directory / "order.yaml") == {
        "name": "order",
        "namespace": "shop",
        "version": "1.0.0",
        "description": None,
        "file_path": str(directory / "order.yaml"),
        "handlers": ["z.Handler", "bare"],
    }


def test_handlers_are_listed_once_and_by_namespace(directory):
    assert HandlerDiscovery.discover_all_handlers(directory) == ["bare", "z.Handler"]
    assert HandlerDiscovery.discover_handlers_by_namespace(directory) == {
        "shop": ["bare", "z.Handler"],
        "default": ["bare"],
    }
    assert len(HandlerDiscovery.discover_template_metadata(directory)) == 2


def test_places_are_searched_in_order(nowhere, tmp_path, monkeypatch):
    assert TemplatePath.find_template_config_directory() is None
    places = [
        nowhere / "a" / "b" / "config" / "tasks",
        nowhere / "config" / "tasks",
        tmp_path / "elsewhere" / "config" / "tasks",
        nowhere / "tests" / "fixtures" / "task_templates" / "python",
        tmp_path / "configured",
    ]
    settings = [
        {},
        {},
        {"WORKSPACE_PATH": str(tmp_path / "elsewhere")},
        {"TASKER_ENV": "test"},
        {"TASKER_TEMPLATE_PATH": str(tmp_path / "configured")},
    ]
    for place, variables in zip(places, settings, strict=True):
        place.mkdir(parents=True)
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        assert TemplatePath.find_template_config_directory() == place


def test_a_configured_path_that_is_no_directory_is_passed_over(nowhere, monkeypatch):
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(nowhere / "nope"))
    (nowhere / "config" / "tasks").mkdir(parents=True)
    assert TemplatePath.find_template_config_directory() == nowhere / "config" / "tasks"
