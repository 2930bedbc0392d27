"""Histories that once found a defect, as short as they could be made. They are replayed with every run."""

from tests.integration.engine_histories import Claim, Event, Fitting, History, Report, Step, Verb, Work

FAILING: tuple[History, ...] = ()
