"""Bodies of the analytics routes."""

from pydantic import BaseModel


class PerformanceMetrics(BaseModel):
    """How the last hours went; the two rates are percentages."""

    total_tasks: int
    active_tasks: int
    completed_tasks: int
    failed_tasks: int
    completion_rate: float
    error_rate: float
    average_task_duration_seconds: float
    average_step_duration_seconds: float
    tasks_per_hour: int
    steps_per_hour: int
    system_health_score: float
    analysis_period_start: str
    calculated_at: str


class SlowTask(BaseModel):
    """How long the tasks of a template took; ``error_rate`` is a share from 0 to 1."""

    namespace_name: str
    task_name: str
    version: str
    average_duration_seconds: float
    max_duration_seconds: float
    execution_count: int
    error_count: int
    error_rate: float
    last_executed_at: str
    average_step_count: float


class SlowStep(BaseModel):
    """How long the attempts of a step took; ``error_rate`` is a share from 0 to 1."""

    namespace_name: str
    task_name: str
    version: str
    step_name: str
    average_duration_seconds: float
    max_duration_seconds: float
    execution_count: int
    error_count: int
    error_rate: float
    last_executed_at: str


class ResourceUtilization(BaseModel):
    """The share of the database connections in use, and how many tasks and steps are in each state.

    Keys of ``system_health`` are each state with ``_tasks`` or ``_steps``, ``total_tasks`` and ``total_steps``.
    """

    database_pool_utilization: float
    system_health: dict[str, int]


class BottleneckAnalysis(BaseModel):
    """What took longest in the last 24 hours, and what might be done about it."""

    slow_steps: list[SlowStep]
    slow_tasks: list[SlowTask]
    resource_utilization: ResourceUtilization
    recommendations: list[str]
