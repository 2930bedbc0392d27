"""Runs handlers: claims steps from a source, executes them within limits, reports how they ended."""

from tasker_core.step_worker.step_worker import StepWorker

__all__ = ["StepWorker"]
