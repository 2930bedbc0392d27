"""All routes, a module for each kind of thing."""

from tasker_core.server.routes import analytics, dlq, events, health, keys, steps, tasks, templates, worker, workers

#: In the order in which a request is compared with them: what is called most comes first.
ROUTERS = (
    worker.router,
    tasks.router,
    steps.router,
    events.router,
    templates.router,
    dlq.router,
    analytics.router,
    workers.router,
    keys.router,
    health.router,
)
