"""A language that is not there is an error, unless it is left out on purpose."""

import dataclasses

import pytest
from tests.sdks.live_pack import LANGUAGES, built, skipped_languages


def test_a_worker_that_is_not_built_is_an_error_that_says_how_to_build_it():
    missing = dataclasses.replace(LANGUAGES["rust"], command=("/nowhere/live-worker",))
    with pytest.raises(RuntimeError, match="cargo build"):
        built(missing)


def test_languages_are_left_out_by_name():
    assert skipped_languages("", on_ci=True) == set()
    assert skipped_languages("ruby,rust", on_ci=False) == {"ruby", "rust"}
    with pytest.raises(RuntimeError, match="no such language: cobol"):
        skipped_languages("ruby,cobol", on_ci=False)


def test_none_is_left_out_where_all_count():
    with pytest.raises(RuntimeError, match="all languages count"):
        skipped_languages("ruby", on_ci=True)
