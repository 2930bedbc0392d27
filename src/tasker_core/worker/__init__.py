"""Runs handlers: claims steps from a source, executes them within limits, reports how they ended."""

from tasker_core.worker.worker import Worker

__all__ = ["Worker"]
