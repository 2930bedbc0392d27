"""Numbers about the past."""

from tasker_core.server.routing import router as new_router

router = new_router("analytics")
