"""Discovery finds every template of a deployment, and a bad file spoils only itself."""

from pathlib import Path

import pytest

from tasker_core.template import discover, template_directory


def write(path: Path, name: str, *, version: str = "1.0.0", namespace: str = "n", step: str = "a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"name: {name}\nnamespace_name: {namespace}\nversion: {version}\n"
        f"steps:\n  - {{name: {step}, handler: {{callable: m.a}}}}\n"
    )
    return path


def test_one_broken_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "one", namespace="zeta")
    write(tmp_path / "deep" / "er" / "b.yml", "two")
    write(tmp_path / "c.yaml", "three")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    found = discover([tmp_path])
    assert [item.template.name for item in found.templates] == ["one", "three", "two"]
    (failure,) = found.failures
    assert failure.path == broken
    assert all(str(broken) in str(finding) for finding in failure.findings)
    assert found.total_files == 4
    assert found.namespaces == ("n", "zeta")


def test_other_files_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("name: [")
    (tmp_path / "folder.yaml").mkdir()
    assert discover([tmp_path]).total_files == 0


def test_a_file_that_is_named_itself_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    path = write(tmp_path / "task.template", "one")
    assert [item.path for item in discover([path]).templates] == [path]


def test_overlapping_paths_give_each_file_once(tmp_path: Path) -> None:
    path = write(tmp_path / "sub" / "a.yaml", "one")
    assert discover([tmp_path, path, tmp_path / "sub"]).total_files == 1


def test_a_path_that_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    (failure,) = discover([tmp_path / "absent"]).failures
    assert "cannot be read" in failure.findings[0].message


def test_one_identity_with_different_content_fails_and_names_both_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "one")
    second = write(tmp_path / "b.yaml", "one", step="other")
    found = discover([tmp_path])
    assert [item.path for item in found.templates] == [first]
    (failure,) = found.failures
    assert failure.path == second
    assert str(first) in failure.findings[0].message
    assert str(second) in failure.findings[0].message


def test_one_identity_with_equal_content_is_no_conflict(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "one")
    write(tmp_path / "b.yaml", "one")
    assert discover([tmp_path]).failures == ()


def test_versions_live_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "one")
    write(tmp_path / "b.yaml", "one", version="1.1.0", step="other")
    assert len(discover([tmp_path]).templates) == 2


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with all places present; the working directory is `app` in it."""
    for place in ("named", "other/config/tasks", "config/tasks", "app/config/tasks"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def test_the_first_place_that_exists_is_used(workspace: Path) -> None:
    cwd = workspace / "app"
    environment = {"TASKER_TEMPLATE_PATH": "../named", "WORKSPACE_PATH": str(workspace / "other")}
    assert template_directory(environment, cwd) == cwd / "../named"
    del environment["TASKER_TEMPLATE_PATH"]
    assert template_directory(environment, cwd) == workspace / "other/config/tasks"
    assert template_directory({"WORKSPACE_PATH": ""}, cwd) == workspace / "config/tasks"
    (workspace / "config/tasks").rmdir()
    assert template_directory({}, cwd) == cwd / "config/tasks"
    (cwd / "config/tasks").rmdir()
    assert template_directory({}, cwd) is None


def test_a_place_that_does_not_exist_is_passed_over(workspace: Path) -> None:
    environment = {"TASKER_TEMPLATE_PATH": str(workspace / "absent")}
    assert template_directory(environment, workspace / "app") == workspace / "config/tasks"
