-- The whole state of Tasker. Read top to bottom: templates, tasks, steps, the queue, history, workers.
--
-- Keys of per-task tables start with task_uuid, so that they partition by task. Foreign keys stop at the
-- template: a per-row reference check on tables that take tens of thousands of writes a second buys nothing
-- that the functions beside this file do not already guarantee.

CREATE SCHEMA IF NOT EXISTS tasker;

CREATE TYPE tasker.task_state AS ENUM (
    'pending', 'initializing', 'enqueuing_steps', 'steps_in_process', 'evaluating_results',
    'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures',
    'complete', 'error', 'cancelled', 'resolved_manually'
);

CREATE TYPE tasker.step_state AS ENUM (
    'pending', 'enqueued', 'in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration',
    'waiting_for_retry', 'complete', 'error', 'cancelled', 'resolved_manually'
);

CREATE TYPE tasker.queue_status AS ENUM ('ready', 'delayed', 'leased');

-- A template as tasks run it: environment overrides applied, content never changed. The digest makes equal
-- content one row, so a task keeps the exact template it was created with for good.
CREATE TABLE tasker.templates (
    template_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest        text        NOT NULL UNIQUE,
    namespace     text        NOT NULL,
    name          text        NOT NULL,
    version       text        NOT NULL,
    environment   text,
    definition    json        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX templates_by_identity ON tasker.templates (namespace, name, version);

-- The graph of a template, one row a step, as ordinals (positions in the template).
CREATE TABLE tasker.template_steps (
    template_id      integer   NOT NULL REFERENCES tasker.templates,
    ordinal          integer   NOT NULL,
    name             text      NOT NULL,
    callable         text      NOT NULL,
    max_attempts     integer   NOT NULL,
    -- Whether the step exists from the task's creation on; the others appear at run time.
    initial          boolean   NOT NULL,
    dependencies     integer[] NOT NULL,
    dependents       integer[] NOT NULL,
    PRIMARY KEY (template_id, ordinal)
);

-- What a task's state follows from. The column tasks.state is generated from it, so the two cannot disagree.
--   active:   steps that are enqueued or in progress
--   retrying: steps that wait for their next attempt
--   failed:   steps in error
-- With none of the three left, every step is satisfied: the graph has no cycle, so an unsatisfied step has an
-- unsatisfied ancestor that is in one of the three.
CREATE FUNCTION tasker.derive_task_state(
    closed_as tasker.task_state, started boolean, active integer, retrying integer, failed integer
) RETURNS tasker.task_state LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN closed_as IS NOT NULL THEN closed_as
        WHEN active > 0 AND NOT started THEN 'pending'::tasker.task_state
        WHEN active > 0 THEN 'steps_in_process'::tasker.task_state
        WHEN retrying > 0 THEN 'waiting_for_retry'::tasker.task_state
        WHEN failed > 0 THEN 'blocked_by_failures'::tasker.task_state
        ELSE 'complete'::tasker.task_state
    END
$$;

CREATE TABLE tasker.tasks (
    task_uuid             uuid        PRIMARY KEY,
    template_id           integer     NOT NULL,
    correlation_id        uuid        NOT NULL,
    parent_correlation_id uuid,
    priority              smallint    NOT NULL DEFAULT 0,
    total_steps           integer     NOT NULL,
    active_steps          integer     NOT NULL CHECK (active_steps >= 0),
    retrying_steps        integer     NOT NULL DEFAULT 0 CHECK (retrying_steps >= 0),
    failed_steps          integer     NOT NULL DEFAULT 0 CHECK (failed_steps >= 0),
    -- A terminal state that the steps alone do not imply.
    closed_as             tasker.task_state CHECK (closed_as IN ('error', 'cancelled', 'resolved_manually')),
    state                 tasker.task_state NOT NULL GENERATED ALWAYS AS (
        tasker.derive_task_state(closed_as, started_at IS NOT NULL, active_steps, retrying_steps, failed_steps)
    ) STORED,
    created_at            timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    completed_at          timestamptz,
    context               jsonb       NOT NULL,
    initiator             text,
    source_system         text,
    reason                text,
    tags                  jsonb
) WITH (fillfactor = 80);

CREATE TABLE tasker.steps (
    task_uuid          uuid    NOT NULL,
    ordinal            integer NOT NULL,
    -- The template step it was made from; differs from ordinal for steps that are created at run time.
    template_ordinal   integer NOT NULL,
    unmet_dependencies integer NOT NULL CHECK (unmet_dependencies >= 0),
    attempts           integer NOT NULL DEFAULT 0,
    state              tasker.step_state NOT NULL,
    finished_at        timestamptz,
    next_retry_at      timestamptz,
    name               text    NOT NULL,
    result             json,
    metadata           json,
    error              json,
    PRIMARY KEY (task_uuid, ordinal),
    CHECK (state <> 'pending' OR unmet_dependencies > 0),
    CHECK ((state = 'waiting_for_retry') = (next_retry_at IS NOT NULL))
) WITH (fillfactor = 70);

-- One narrow row for each step that is ready, delayed or leased, and none for any other. Claims read nothing
-- else. Rows come and go, so the table vacuums early and often.
CREATE TABLE tasker.step_queue (
    task_uuid   uuid     NOT NULL,
    ordinal     integer  NOT NULL,
    template_id integer  NOT NULL,
    priority    smallint NOT NULL,
    attempt     integer  NOT NULL,
    status      tasker.queue_status NOT NULL,
    -- Earlier is claimed first: the time it became ready, ten hours earlier per point of priority. Age
    -- therefore only ever raises a step, and nothing starves.
    claim_order timestamptz NOT NULL,
    enqueued_at timestamptz NOT NULL,
    -- delayed: when it may be claimed; leased: when the lease ends.
    wake_at     timestamptz,
    leased_at   timestamptz,
    worker_id   bigint,
    -- The worker whose lease ended without a report, while the rescuer holds it.
    rescued_from bigint,
    callable    text     NOT NULL,
    PRIMARY KEY (task_uuid, ordinal),
    CHECK ((status = 'ready') = (wake_at IS NULL)),
    CHECK ((status = 'leased') = (worker_id IS NOT NULL)),
    CHECK ((status = 'leased') = (leased_at IS NOT NULL))
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX step_queue_ready ON tasker.step_queue (callable, claim_order) WHERE status = 'ready';
CREATE INDEX step_queue_delayed ON tasker.step_queue (callable, wake_at) WHERE status = 'delayed';
CREATE INDEX step_queue_leases ON tasker.step_queue (wake_at) WHERE status = 'leased';

-- History. A row of step_transitions closes an attempt and also carries the times at which the step was
-- enqueued and claimed, so one row tells pending -> enqueued -> in_progress -> to_state.
CREATE TABLE tasker.step_transitions (
    task_uuid   uuid        NOT NULL,
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    ordinal     integer     NOT NULL,
    attempt     integer     NOT NULL,
    from_state  tasker.step_state NOT NULL,
    to_state    tasker.step_state NOT NULL,
    enqueued_at timestamptz,
    leased_at   timestamptz,
    occurred_at timestamptz NOT NULL,
    worker_id   bigint,
    -- How long the handler ran, as its worker measured it.
    execution_time_ms integer,
    actor       text,
    reason      text,
    error       json,
    PRIMARY KEY (task_uuid, sequence)
);

CREATE TABLE tasker.task_transitions (
    task_uuid   uuid        NOT NULL,
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    from_state  tasker.task_state NOT NULL,
    to_state    tasker.task_state NOT NULL,
    occurred_at timestamptz NOT NULL,
    worker_id   bigint,
    actor       text,
    reason      text,
    PRIMARY KEY (task_uuid, sequence)
);

CREATE TABLE tasker.workers (
    worker_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text        NOT NULL,
    hostname     text        NOT NULL,
    pid          integer     NOT NULL,
    callables    text[]      NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    stopped_at   timestamptz
);
