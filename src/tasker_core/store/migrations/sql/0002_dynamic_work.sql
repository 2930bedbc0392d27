-- Steps that appear at run time, checkpoints, operators' verbs, identity, dead letters, fair claims.

-- Names one lease for good: a step may be leased under the same attempt number more than once (a checkpoint, a
-- reset), and a report must never be taken for a later lease than its own.
CREATE SEQUENCE tasker.lease_ids CACHE 1000;

-- held: ready or delayed, but its task is paused.
ALTER TYPE tasker.queue_status ADD VALUE 'held';

ALTER TABLE tasker.step_queue
    ADD COLUMN lease_id bigint,
    -- The step has more to it than its template says (inputs, a checkpoint, or a task that was re-run):
    -- whoever leases it reads the rest.
    ADD COLUMN detailed boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT step_queue_check,
    DROP CONSTRAINT step_queue_check1,
    DROP CONSTRAINT step_queue_check2;
UPDATE tasker.step_queue SET lease_id = nextval('tasker.lease_ids') WHERE status = 'leased';
-- One check, since each costs a little on every change.
ALTER TABLE tasker.step_queue ADD CONSTRAINT step_queue_is_consistent CHECK (
    CASE status
        WHEN 'ready' THEN wake_at IS NULL AND num_nonnulls(worker_id, leased_at, lease_id) = 0
        WHEN 'leased' THEN num_nulls(wake_at, worker_id, leased_at, lease_id) = 0
        WHEN 'delayed' THEN wake_at IS NOT NULL AND num_nonnulls(worker_id, leased_at, lease_id) = 0
        ELSE num_nonnulls(worker_id, leased_at, lease_id) = 0
    END
);

ALTER TABLE tasker.tasks
    -- When it was to start; steps are not claimed before.
    ADD COLUMN requested_at  timestamptz,
    -- What makes two requests the same request; null for tasks that are always their own.
    ADD COLUMN identity_hash bytea,
    -- Counts the changes of which steps there are. Whoever plans such a change names the revision it planned for.
    ADD COLUMN revision      integer NOT NULL DEFAULT 0,
    -- Counts the re-runs; results that were cached before one may be out of date.
    ADD COLUMN reruns        integer NOT NULL DEFAULT 0,
    -- How many ordinals beyond the template's were given out, removed steps included: none is given out twice.
    ADD COLUMN added_steps   integer NOT NULL DEFAULT 0,
    ADD COLUMN paused_at     timestamptz,
    ADD COLUMN paused_by     text,
    ADD COLUMN pause_reason  text;
CREATE UNIQUE INDEX tasks_by_identity ON tasker.tasks (identity_hash) WHERE identity_hash IS NOT NULL;

ALTER TABLE tasker.steps
    -- What was given to this step alone, such as a batch worker's cursor.
    ADD COLUMN inputs     json,
    -- Where the handler said it could go on; see checkpoint_yield.
    ADD COLUMN checkpoint json;

ALTER TABLE tasker.step_transitions
    ADD COLUMN verb text,
    -- The name of a step that a re-run removed; others are named by their row in steps.
    ADD COLUMN name text;
ALTER TABLE tasker.task_transitions ADD COLUMN verb text;

-- The batch workers of a task that were made from one mould. They have consecutive ordinals. No more than the
-- template's parallelism of them are released (enqueued, in progress or waiting for a retry) at once; the others are
-- pending with one unmet dependency, and each that ends releases the next.
CREATE TABLE tasker.batches (
    task_uuid        uuid    NOT NULL,
    mould            integer NOT NULL,
    first_ordinal    integer NOT NULL,
    worker_count     integer NOT NULL,
    -- Workers that are not complete or resolved; at zero the steps that gather them are freed.
    open_workers     integer NOT NULL CHECK (open_workers BETWEEN 0 AND worker_count),
    -- The first worker that was not released yet.
    next_ordinal     integer NOT NULL,
    -- Workers that may be released beside those that are; below zero after more of them were reset than ended.
    free_slots       integer NOT NULL,
    failure_strategy text    NOT NULL,
    PRIMARY KEY (task_uuid, mould)
) WITH (fillfactor = 50);

-- The end of each namespace's backlog, one row a priority, so that a new task queues behind its own namespace's
-- backlog and not behind the others'; see create_tasks.
CREATE TABLE tasker.backlogs (
    namespace    text        NOT NULL,
    priority     smallint    NOT NULL,
    last_task    uuid        NOT NULL,
    last_ordinal integer     NOT NULL,
    last_ready   timestamptz NOT NULL,
    PRIMARY KEY (namespace, priority)
) WITH (fillfactor = 50);

CREATE TYPE tasker.dead_letter_reason AS ENUM (
    'staleness_timeout', 'max_retries_exceeded', 'dependency_cycle_detected', 'worker_unavailable', 'manual_dlq'
);

CREATE TYPE tasker.dead_letter_status AS ENUM (
    'pending', 'manually_resolved', 'permanently_failed', 'cancelled'
);

-- What needs a person: a task, or one step of it, with how it stood at that moment.
CREATE TABLE tasker.dead_letters (
    entry_uuid     uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    task_uuid      uuid        NOT NULL,
    -- The step, if the entry is about one.
    ordinal        integer,
    original_state tasker.task_state         NOT NULL,
    reason         tasker.dead_letter_reason NOT NULL,
    status         tasker.dead_letter_status NOT NULL DEFAULT 'pending',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at    timestamptz,
    resolved_by    text,
    notes          text,
    snapshot       json        NOT NULL,
    metadata       json        NOT NULL,
    CHECK ((status = 'pending') = (resolved_at IS NULL))
);
CREATE UNIQUE INDEX dead_letters_pending ON tasker.dead_letters (task_uuid, coalesce(ordinal, -1))
    WHERE status = 'pending';
CREATE INDEX dead_letters_by_time ON tasker.dead_letters (created_at, entry_uuid);

-- A step that something else than an edge of the template frees: how many of its unmet dependencies are met, and
-- its place among the steps that are freed with it.
CREATE TYPE tasker.freed_step AS (
    task_uuid uuid, ordinal integer, template_ordinal integer, template_id integer, priority smallint,
    met integer, place bigint
);
