"""Steps of a task: look at, put right by hand."""

from tasker_core.server.routing import router as new_router

router = new_router("workflow_steps")
