"""Workflows of every common shape load, with the edges and the initial steps they are meant to have."""

from dataclasses import dataclass, field

import pytest

from tasker_core.template import Graph, StepType, TaskTemplate, initial_steps, inspect_text, load_text


@dataclass(frozen=True)
class Family:
    """A shape of workflow.

    Attributes:
        edges: each step with the steps it waits for; a step without any maps to an empty text.
        initial: how many steps exist at creation.
        types: the steps that are not standard.
        extra: further YAML lines of a step.
    """

    edges: dict[str, str]
    initial: int
    types: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)

    def yaml(self) -> str:
        lines = ["name: shape", "namespace_name: shapes", "version: 1.0.0", "steps:"]
        for name, dependencies in self.edges.items():
            lines.append(f"  - name: {name}")
            lines.append(f"    handler: {{callable: shapes.{name}}}")
            if name in self.types:
                lines.append(f"    type: {self.types[name]}")
            if self.types.get(name) == "batch_worker":
                lines.append("    batch_config: {batch_size: 200, parallelism: 4}")
            if dependencies:
                lines.append(f"    dependencies: [{', '.join(dependencies.split())}]")
            if name in self.extra:
                lines.append(f"    {self.extra[name]}")
        return "\n".join(lines)


def _chain(*names: str) -> dict[str, str]:
    return dict(zip(names, ("", *names), strict=False))


def _batch(analyzer: str, worker: str, gatherer: str) -> Family:
    return Family(
        _chain(analyzer, worker, gatherer),
        initial=1,
        types={analyzer: "batchable", worker: "batch_worker", gatherer: "deferred_convergence"},
        extra={analyzer: ""},
    )


FAMILIES = {
    "mathematical_sequence": Family(
        _chain("linear_step_1", "linear_step_2", "linear_step_3", "linear_step_4"), initial=4
    ),
    "diamond_pattern": Family(
        {
            "diamond_start": "",
            "diamond_branch_b": "diamond_start",
            "diamond_branch_c": "diamond_start",
            "diamond_end": "diamond_branch_b diamond_branch_c",
        },
        initial=4,
    ),
    "hierarchical_tree": Family(
        {
            "tree_root": "",
            "tree_branch_left": "tree_root",
            "tree_branch_right": "tree_root",
            "tree_leaf_d": "tree_branch_left",
            "tree_leaf_e": "tree_branch_left",
            "tree_leaf_f": "tree_branch_right",
            "tree_leaf_g": "tree_branch_right",
            "tree_final_convergence": "tree_leaf_d tree_leaf_e tree_leaf_f tree_leaf_g",
        },
        initial=8,
    ),
    "complex_dag": Family(
        {
            "dag_init": "",
            "dag_process_left": "dag_init",
            "dag_process_right": "dag_init",
            "dag_validate": "dag_process_left dag_process_right",
            "dag_transform": "dag_process_left",
            "dag_analyze": "dag_process_right",
            "dag_finalize": "dag_validate dag_transform dag_analyze",
        },
        initial=7,
    ),
    "business_workflow": Family(
        {
            "validate_order": "",
            "reserve_inventory": "validate_order",
            "process_payment": "validate_order reserve_inventory",
            "ship_order": "validate_order reserve_inventory process_payment",
        },
        initial=4,
        extra={"process_payment": "retry: {max_attempts: 2}"},
    ),
    "approval_routing": Family(
        {
            "validate_request": "",
            "routing_decision": "validate_request",
            "auto_approve": "routing_decision",
            "manager_approval": "routing_decision",
            "finance_review": "routing_decision",
            "finalize_approval": "auto_approve manager_approval finance_review",
        },
        initial=2,
        types={"routing_decision": "decision", "finalize_approval": "deferred_convergence"},
    ),
    "large_dataset_processor": _batch("analyze_dataset", "process_batch", "aggregate_results"),
    "csv_product_inventory_analyzer": _batch("analyze_csv", "process_csv_batch", "aggregate_csv_results"),
    "checkpoint_yield_test": _batch("analyze_items", "checkpoint_yield_batch", "aggregate_results"),
    "batch_resumption_test": Family(
        _chain("analyze_dataset", "checkpoint_fail_batch"),
        initial=1,
        types={"analyze_dataset": "batchable", "checkpoint_fail_batch": "batch_worker"},
    ),
    "diamond_decision_batch_processor": Family(
        {
            "ddb_diamond_start": "",
            "branch_evens": "ddb_diamond_start",
            "branch_odds": "ddb_diamond_start",
            "ddb_routing_decision": "branch_evens branch_odds",
            "even_batch_analyzer": "ddb_routing_decision",
            "process_even_batch": "even_batch_analyzer",
            "aggregate_even_results": "process_even_batch",
            "odd_batch_analyzer": "ddb_routing_decision",
            "process_odd_batch": "odd_batch_analyzer",
            "aggregate_odd_results": "process_odd_batch",
        },
        initial=4,
        types={
            "ddb_routing_decision": "decision",
            "even_batch_analyzer": "batchable",
            "process_even_batch": "batch_worker",
            "aggregate_even_results": "deferred_convergence",
            "odd_batch_analyzer": "batchable",
            "process_odd_batch": "batch_worker",
            "aggregate_odd_results": "deferred_convergence",
        },
    ),
    "analytics_pipeline": Family(
        {
            "extract_sales_data": "",
            "extract_inventory_data": "",
            "extract_customer_data": "",
            "transform_sales": "extract_sales_data",
            "transform_inventory": "extract_inventory_data",
            "transform_customers": "extract_customer_data",
            "aggregate_metrics": "transform_sales transform_inventory transform_customers",
            "generate_insights": "aggregate_metrics",
        },
        initial=8,
    ),
    "ecommerce_order_processing": Family(
        _chain("validate_cart", "process_payment", "update_inventory", "create_order", "send_confirmation"),
        initial=5,
    ),
    "user_registration": Family(
        {
            "create_user_account": "",
            "setup_billing_profile": "create_user_account",
            "initialize_preferences": "create_user_account",
            "send_welcome_sequence": "setup_billing_profile initialize_preferences",
            "update_user_status": "send_welcome_sequence",
        },
        initial=5,
    ),
    "customer_success_refund": Family(
        _chain(
            "validate_refund_request",
            "check_refund_policy",
            "get_manager_approval",
            "execute_refund_workflow",
            "update_ticket_status",
        ),
        initial=5,
        extra={
            "get_manager_approval": "retry: {max_attempts: 1, backoff: linear, backoff_base_ms: 60000}",
        },
    ),
    "payments_refund": Family(
        _chain(
            "validate_payment_eligibility",
            "process_gateway_refund",
            "update_payment_records",
            "notify_customer",
        ),
        initial=4,
        extra={"notify_customer": "retry: {max_attempts: 5, backoff_base_ms: 50, max_backoff_ms: 200}"},
    ),
    "domain_event_publishing": Family(
        _chain("validate_order", "process_payment", "update_inventory", "send_notification"),
        initial=4,
        extra={
            "process_payment": (
                "publishes_events: [{name: payment.failed, description: It failed, "
                "condition: failure, schema: {type: object}}]"
            ),
        },
    ),
    "error_testing": Family({"success_step": "", "permanent_error_step": "", "retryable_error_step": ""}, initial=3),
    "codegen_test": Family(
        {
            "validate_order": "",
            "enrich_order": "validate_order",
            "process_payment": "validate_order",
            "generate_report": "enrich_order process_payment",
            "aggregate_metrics": "generate_report",
        },
        initial=5,
    ),
    "publish_article": Family(
        {
            "validate_content": "",
            "check_plagiarism": "validate_content",
            "generate_metadata": "validate_content",
            "review_gate": "check_plagiarism generate_metadata",
            "publish_to_cdn": "review_gate",
            "notify_subscribers": "review_gate",
            "update_analytics": "publish_to_cdn notify_subscribers",
        },
        initial=7,
    ),
    "nested_decisions": Family(
        {
            "intake": "",
            "outer": "intake",
            "direct": "outer",
            "detour": "outer",
            "inner": "detour",
            "left": "inner",
            "right": "inner",
        },
        initial=2,
        types={"outer": "decision", "inner": "decision"},
    ),
    "step_after_batch_aggregator": Family(
        _chain("measure", "work", "gather", "publish"),
        initial=1,
        types={"measure": "batchable", "work": "batch_worker", "gather": "deferred_convergence"},
    ),
    "convergence_beside_a_decision": Family(
        {
            "intake": "",
            "audit": "intake",
            "choose": "intake",
            "branch": "choose",
            "always": "intake audit",
        },
        initial=4,
        types={"choose": "decision", "always": "deferred_convergence"},
    ),
}


def _load(family: Family) -> TaskTemplate:
    return load_text(family.yaml())


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_loads_with_its_steps_and_edges(family: Family) -> None:
    template = _load(family)
    assert {step.name: " ".join(step.dependencies) for step in template.steps} == family.edges
    assert {step.name: step.type for step in template.steps if step.type != "standard"} == family.types


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_steps_at_creation_are_those_whose_ancestors_all_exist(family: Family) -> None:
    template = _load(family)
    assert len(initial_steps(template)) == family.initial


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_graph_has_the_edges_of_the_file(family: Family) -> None:
    template = _load(family)
    graph = Graph(template)
    names = [step.name for step in template.steps]
    edges = {
        names[step]: " ".join(names[before] for before in dependencies)
        for step, dependencies in enumerate(graph.dependencies)
    }
    assert edges == family.edges


def test_the_approval_decision_starts_with_its_validation_and_itself() -> None:
    assert initial_steps(_load(FAMILIES["approval_routing"])) == (0, 1)


def test_three_unconnected_roots_are_fine_but_worth_a_warning() -> None:
    template, report = inspect_text(FAMILIES["error_testing"].yaml())
    assert template is not None
    assert [f.code for f in report.findings].count("ORPHAN_STEP") == 3


def test_method_and_resolver_hints_reach_the_model() -> None:
    template = load_text("""
name: dispatch
namespace_name: shapes
version: 1.0.0
steps:
  - name: check
    handler: {callable: pay.Handler, method: validate}
  - name: settle
    handler: {callable: pay.Handler, method: execute_action, resolver: explicit_mapping}
    dependencies: [check]
  - name: close
    handler: {callable: pay.Handler}
    dependencies: [settle]
    type: standard
""")
    assert [(step.handler.method, step.handler.resolver) for step in template.steps] == [
        ("validate", None),
        ("execute_action", "explicit_mapping"),
        (None, None),
    ]
    assert template.step("close").type is StepType.STANDARD


def test_lifecycle_limits_reach_the_model() -> None:
    template = load_text("""
name: stale
namespace_name: shapes
version: 1.0.0
lifecycle:
  max_waiting_for_dependencies_minutes: 2
  max_waiting_for_retry_minutes: 2
  max_steps_in_process_minutes: 2
  max_duration_minutes: 30
steps:
  - {name: first, handler: {callable: a.b}}
  - {name: second, handler: {callable: a.b}, dependencies: [first]}
""")
    lifecycle = template.lifecycle
    assert lifecycle is not None
    assert lifecycle.max_waiting_for_dependencies_minutes == 2
    assert lifecycle.max_duration_minutes == 30
    assert lifecycle.staleness_action == "dlq"
