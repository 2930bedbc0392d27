"""All routes, a module for each kind of thing."""

from tasker_core.server.routes import analytics, dlq, events, health, keys, steps, tasks, templates, worker

ROUTERS = (
    tasks.router,
    steps.router,
    events.router,
    templates.router,
    dlq.router,
    analytics.router,
    worker.router,
    keys.router,
    health.router,
)
