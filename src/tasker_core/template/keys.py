"""The YAML format as one table: of every level its keys, what they hold, their limits, their other names.

Reading (`convert`) and checking (`validate`) both walk this table. Defaults and required keys are not
repeated here: they are those of the model classes.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from tasker_core.template import model


@dataclass(frozen=True, slots=True)
class Text:
    """A string; any scalar will do, and its source text is kept.

    Attributes:
        least: fewest characters.
        most: most characters; None for no limit.
        empty: code of the finding for a text below ``least``.
        too_long: code of the finding for a text above ``most``.
    """

    least: int = 0
    most: int | None = None
    empty: str = "EMPTY_VALUE"
    too_long: str = "TOO_LONG"


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within limits, both inclusive."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Flag:
    """``true`` or ``false``."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of an enumeration, or an old word for one."""

    enum: type[StrEnum]
    legacy: Mapping[str, StrEnum] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A mapping with any JSON values."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON Schema: a mapping or a boolean."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, a tuple in the model."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from free names to values of one kind."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class Object:
    """A mapping with the keys of a level.

    Attributes:
        level: those keys.
        shorthand: the key that a bare scalar in place of the mapping once stood for.
    """

    level: "Level"
    shorthand: str | None = None


Kind: TypeAlias = Text | Integer | Flag | Choice | Json | JsonObject | Schema | ListOf | MapOf | Object


@dataclass(frozen=True, slots=True)
class Legacy:
    """An old name of a key; still read, with a warning.

    Attributes:
        name: the old name.
        scale: what the old value is multiplied with to get the new one.
        bare: whether a single value may stand for a list of one.
    """

    name: str
    scale: int = 1
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a level.

    Attributes:
        name: canonical name, and the attribute of the model class.
        kind: what it holds.
        aliases: other names that are as good as the canonical one.
        legacy: old names.
        hoisted: names that once stood beside this key and now are (old) keys inside its mapping.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    legacy: tuple[Legacy, ...] = ()
    hoisted: tuple[str, ...] = ()


class Level:
    """The keys of one kind of mapping.

    Attributes:
        model: class of the model that holds the values.
        keys: canonical name to key, in the order of the format.
        required: names of the keys without a default.
    """

    __slots__ = ("keys", "model", "required")

    def __init__(self, model: type[Any], *keys: Key) -> None:
        self.model = model
        self.keys = {key.name: key for key in keys}
        self.required = frozenset(
            field.name
            for field in dataclasses.fields(model)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )


_MINUTES_IN_30_DAYS = 30 * 24 * 60
_MINUTES_IN_7_DAYS = 7 * 24 * 60
_MS_IN_AN_HOUR = 60 * 60 * 1_000
#: What a 32-bit integer column holds.
_MAX_INT = 2**31 - 1

_NAMES = ListOf(Text(least=1))

HANDLER = Level(
    model.HandlerReference,
    Key("callable", Text(least=1, most=500, empty="EMPTY_CALLABLE")),
    Key("method", Text(least=1)),
    Key("resolver", Text(least=1)),
    Key("initialization", JsonObject(), legacy=(Legacy("config"),)),
)

RETRY = Level(
    model.RetryPolicy,
    Key("retryable", Flag()),
    Key(
        "max_attempts",
        Integer(0, 100),
        legacy=(Legacy("limit"), Legacy("retry_limit"), Legacy("default_retry_limit")),
    ),
    Key("backoff", Choice(model.Backoff), legacy=(Legacy("backoff_strategy"),)),
    Key(
        "backoff_base_ms",
        Integer(0, _MS_IN_AN_HOUR),
        legacy=(Legacy("backoff_base_seconds", scale=1_000), Legacy("initial_delay", scale=1_000)),
    ),
    Key("max_backoff_ms", Integer(0, _MS_IN_AN_HOUR), legacy=(Legacy("max_delay", scale=1_000),)),
)

PUBLISHED_EVENT = Level(
    model.PublishedEvent,
    Key("name", Text()),
    Key("description", Text()),
    Key("schema", Schema()),
    Key("condition", Choice(model.EventCondition)),
    Key("delivery_mode", Choice(model.DeliveryMode)),
    Key("publisher", Text()),
)

BATCH_CONFIG = Level(
    model.BatchConfig,
    Key("batch_size", Integer(1, 100_000)),
    Key("parallelism", Integer(1, 1_000)),
    Key("cursor_field", Text(least=1, most=255)),
    Key("worker_template", Text(least=1, most=255)),
    Key("failure_strategy", Choice(model.FailureStrategy)),
)

STEP = Level(
    model.StepTemplate,
    Key("name", Text(least=1, most=128)),
    Key("description", Text()),
    Key("handler", Object(HANDLER, shorthand="callable")),
    Key(
        "type",
        Choice(
            model.StepType,
            legacy={
                "deferred": model.StepType.DEFERRED_CONVERGENCE,
                "decision_point": model.StepType.DECISION,
            },
        ),
        aliases=("step_type",),
    ),
    Key("system_dependency", Text()),
    Key(
        "dependencies",
        _NAMES,
        aliases=("depends_on",),
        legacy=(
            Legacy("depends_on_step", bare=True),
            Legacy("depends_on_steps", bare=True),
            Legacy("depends_on_step_name", bare=True),
        ),
    ),
    Key("retry", Object(RETRY), hoisted=("retry_limit", "default_retry_limit")),
    Key("timeout_seconds", Integer(1, _MAX_INT)),
    Key("publishes_events", ListOf(Object(PUBLISHED_EVENT))),
    Key("batch_config", Object(BATCH_CONFIG)),
    Key("result_schema", Schema()),
    Key("composition", Json()),
)

OVERRIDE = Level(
    model.EnvironmentOverride,
    Key("name", Text(least=1)),
    Key(
        "handler",
        Object(
            Level(
                model.HandlerOverride,
                Key("initialization", JsonObject(), legacy=(Legacy("config"),)),
            )
        ),
    ),
    Key("timeout_seconds", Integer(1, _MAX_INT)),
    Key("retry", Object(RETRY), hoisted=("retry_limit", "default_retry_limit")),
)

TASK = Level(
    model.TaskTemplate,
    Key("name", Text(least=1, most=64)),
    # The longest queue name, of 47 characters, spends 18 of them on the suffix `_domain_events_dlq`.
    Key(
        "namespace_name",
        Text(least=1, most=29, too_long="NAMESPACE_TOO_LONG"),
        legacy=(Legacy("namespace"),),
    ),
    Key("version", Text(least=1, most=16)),
    Key("description", Text()),
    Key(
        "metadata",
        Object(
            Level(
                model.Metadata,
                Key("author", Text()),
                Key("tags", ListOf(Text())),
                Key("documentation_url", Text()),
                Key("created_at", Text()),
                Key("updated_at", Text()),
            )
        ),
    ),
    Key(
        "system_dependencies",
        Object(Level(model.SystemDependencies, Key("primary", Text()), Key("secondary", ListOf(Text())))),
    ),
    Key(
        "domain_events",
        ListOf(
            Object(
                Level(
                    model.DomainEvent,
                    Key("name", Text()),
                    Key("description", Text()),
                    Key("schema", Schema()),
                )
            )
        ),
    ),
    Key("input_schema", Schema(), legacy=(Legacy("schema"),)),
    Key("steps", ListOf(Object(STEP)), legacy=(Legacy("step_templates"),)),
    Key("environments", MapOf(Object(Level(model.Environment, Key("steps", ListOf(Object(OVERRIDE))))))),
    Key(
        "lifecycle",
        Object(
            Level(
                model.Lifecycle,
                Key("max_duration_minutes", Integer(1, _MINUTES_IN_30_DAYS)),
                Key("max_waiting_for_dependencies_minutes", Integer(1, _MINUTES_IN_7_DAYS)),
                Key("max_waiting_for_retry_minutes", Integer(1, _MINUTES_IN_7_DAYS)),
                Key("max_steps_in_process_minutes", Integer(1, _MINUTES_IN_7_DAYS)),
                Key("staleness_action", Choice(model.StalenessAction)),
                Key("auto_fail_on_timeout", Flag()),
                Key("auto_dlq_on_timeout", Flag()),
            )
        ),
    ),
    Key("identity_strategy", Choice(model.IdentityStrategy)),
    Key("strict_results", Flag()),
)
