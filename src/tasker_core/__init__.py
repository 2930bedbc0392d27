"""A durable workflow engine on PostgreSQL."""

from importlib import metadata

from tasker_core.batch_processing import Batchable, BatchAggregationScenario, BatchWorkerConfig
from tasker_core.errors import (
    AuthenticationError,
    AuthorizationError,
    BusinessLogicError,
    ConfigurationError,
    ErrorClassifier,
    NetworkError,
    NotFoundError,
    PermanentError,
    RateLimitError,
    ResourceContentionError,
    RetryableError,
    ServiceUnavailableError,
    StepExecutionError,
    get_classifier,
    is_permanent,
    is_retryable,
)
from tasker_core.errors import TimeoutError as StepTimeoutError
from tasker_core.errors import ValidationError as StepValidationError
from tasker_core.exceptions import (
    ConversionError,
    TaskerError,
    WorkerAlreadyRunningError,
    WorkerBootstrapError,
    WorkerNotInitializedError,
)
from tasker_core.handler import HandlerRegistry
from tasker_core.logging import log_debug, log_error, log_info, log_trace, log_warn
from tasker_core.models import (
    DependencyResultsWrapper,
    HandlerWrapper,
    StepDefinitionWrapper,
    TaskSequenceStepWrapper,
    TaskWrapper,
    WorkflowStepWrapper,
)
from tasker_core.registry import (
    BaseResolver,
    ClassLookupResolver,
    ExplicitMappingResolver,
    HandlerDefinition,
    MethodDispatchWrapper,
    RegistryResolver,
    ResolutionError,
    ResolverChain,
    ResolverNotFoundError,
)
from tasker_core.step_handler import ApiHandler, ApiResponse, DecisionHandler, StepHandler
from tasker_core.template_discovery import HandlerDiscovery, TemplateParser, TemplatePath
from tasker_core.types import (
    BatchAnalyzerOutcome,
    BatchWorkerContext,
    BatchWorkerOutcome,
    BootstrapConfig,
    CursorConfig,
    DecisionPointOutcome,
    DecisionType,
    ErrorType,
    FfiStepEvent,
    LogContext,
    ResultStatus,
    StepContext,
    StepError,
    StepExecutionResult,
    StepHandlerCallResult,
    StepHandlerResult,
    WorkerState,
)

__version__ = metadata.version("tasker-core")


def get_version() -> str:
    """The installed version of the package."""
    return __version__


def version() -> str:
    """The same as `get_version`."""
    return __version__


__all__ = [
    "ApiHandler",
    "ApiResponse",
    "AuthenticationError",
    "AuthorizationError",
    "BaseResolver",
    "BatchAggregationScenario",
    "BatchAnalyzerOutcome",
    "BatchWorkerConfig",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "Batchable",
    "BootstrapConfig",
    "BusinessLogicError",
    "ClassLookupResolver",
    "ConfigurationError",
    "ConversionError",
    "CursorConfig",
    "DecisionHandler",
    "DecisionPointOutcome",
    "DecisionType",
    "DependencyResultsWrapper",
    "ErrorClassifier",
    "ErrorType",
    "ExplicitMappingResolver",
    "FfiStepEvent",
    "HandlerDefinition",
    "HandlerDiscovery",
    "HandlerRegistry",
    "HandlerWrapper",
    "LogContext",
    "MethodDispatchWrapper",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "RateLimitError",
    "RegistryResolver",
    "ResolutionError",
    "ResolverChain",
    "ResolverNotFoundError",
    "ResourceContentionError",
    "ResultStatus",
    "RetryableError",
    "ServiceUnavailableError",
    "StepContext",
    "StepDefinitionWrapper",
    "StepError",
    "StepExecutionError",
    "StepExecutionResult",
    "StepHandler",
    "StepHandlerCallResult",
    "StepHandlerResult",
    "StepTimeoutError",
    "StepValidationError",
    "TaskSequenceStepWrapper",
    "TaskWrapper",
    "TaskerError",
    "TemplateParser",
    "TemplatePath",
    "WorkerAlreadyRunningError",
    "WorkerBootstrapError",
    "WorkerNotInitializedError",
    "WorkerState",
    "WorkflowStepWrapper",
    "__version__",
    "get_classifier",
    "get_version",
    "is_permanent",
    "is_retryable",
    "log_debug",
    "log_error",
    "log_info",
    "log_trace",
    "log_warn",
    "version",
]
