import subprocess
import sys
from importlib import metadata
from types import ModuleType

import pytest

import tasker_core
from tasker_core import batch_processing, errors, registry, step_handler, types
from tasker_core.step_handler import functional, mixins


@pytest.mark.parametrize(
    "module", [tasker_core, batch_processing, errors, registry, step_handler, types, functional, mixins]
)
def test_every_public_name_exists(module):
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)


def test_the_step_handler_package_is_not_shadowed_by_the_decorator():
    assert isinstance(tasker_core.step_handler, ModuleType)
    assert callable(tasker_core.step_handler.step_handler)


def test_the_version_is_the_installed_one():
    assert tasker_core.version() == tasker_core.get_version() == tasker_core.__version__
    assert tasker_core.__version__ == metadata.version("tasker-core")


def test_handler_modules_load_without_the_engine():
    code = (
        "import sys, tasker_core.step_handler.functional, tasker_core.batch_processing, tasker_core.registry;"
        "print(sorted(sys.modules.keys() & {'asyncpg', 'sqlalchemy', 'typer', 'alembic'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
