"""Errors of the store. Driver errors are turned into these in one place, ``database.translated``."""

from tasker_core.step_source import SourceUnavailableError


class StoreError(Exception):
    """The database refused or failed an operation; trying again would not help."""


class StoreUnavailableError(StoreError, SourceUnavailableError):
    """The database cannot be reached just now; trying again later may help."""
