"""A language whose worker is not there is an error, not a test less."""

import dataclasses

import pytest
from tests.sdks.live_pack import LANGUAGES, built


def test_a_worker_that_is_not_built_is_an_error_that_says_how_to_build_it():
    missing = dataclasses.replace(LANGUAGES["rust"], command=("/nowhere/live-worker",))
    with pytest.raises(RuntimeError, match="cargo build"):
        built(missing)
