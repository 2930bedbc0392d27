"""Plans by the id of their stored template. Stored templates never change, so neither does a cached plan."""

from tasker_core import serialization
from tasker_core.engine import planner
from tasker_core.engine.planner import Plan
from tasker_core.store import NewTemplate, NewTemplateStep, Store
from tasker_core.template import TaskTemplate


class Plans:
    """Stores plans and finds them again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id: dict[int, Plan] = {}
        self._ids: dict[str, int] = {}

    async def save(self, plan: Plan) -> int:
        """Return the id of a plan's template, storing it first if it is new."""
        template_id = self._ids.get(plan.digest)
        if template_id is None:
            template_id = await self._store.save_template(_to_store(plan))
            self._ids[plan.digest] = template_id
            self._by_id[template_id] = plan
        return template_id

    def cached(self, template_id: int) -> Plan | None:
        """Return a plan if it is at hand."""
        return self._by_id.get(template_id)

    async def get(self, template_id: int) -> Plan:
        """Return the plan of a stored template."""
        plan = self._by_id.get(template_id)
        if plan is None:
            definition, environment = await self._store.load_template(template_id)
            plan = planner.plan_resolved(TaskTemplate.from_dict(definition), environment)
            self._by_id[template_id] = plan
        return plan


def _to_store(plan: Plan) -> NewTemplate:
    template = plan.template
    return NewTemplate(
        digest=plan.digest,
        namespace=template.namespace_name,
        name=template.name,
        version=template.version,
        environment=plan.environment,
        definition=serialization.dumps(template.to_dict()),
        steps=[
            NewTemplateStep(
                ordinal=step.ordinal,
                name=step.step.name,
                callable=step.step.handler.callable,
                max_attempts=step.step.retry.max_attempts,
                initial=step.initial,
                dependencies=step.dependencies,
                dependents=step.dependents,
            )
            for step in plan.steps
        ],
    )
