-- name: create_table
-- The narrowest table that can be claimed from: a step's key, its order and its state.
CREATE SCHEMA bench_bare;
CREATE TABLE bench_bare.steps (
    task_uuid uuid    NOT NULL,
    ordinal   integer NOT NULL,
    ready_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    state     text    NOT NULL DEFAULT 'ready',
    PRIMARY KEY (task_uuid, ordinal)
) WITH (fillfactor = 70);
CREATE INDEX steps_ready ON bench_bare.steps (ready_at) WHERE state = 'ready';

-- name: fill
-- Adds $1 tasks of $2 steps, all ready.
INSERT INTO bench_bare.steps (task_uuid, ordinal)
SELECT task.uuid, step.ordinal
FROM (SELECT gen_random_uuid() AS uuid FROM generate_series(1, $1::integer)) AS task
CROSS JOIN generate_series(0, $2::integer - 1) AS step (ordinal)

-- name: analyze
-- Lets the planner know how large the table is; the bare loop has no other protection from a bad plan.
ANALYZE bench_bare.steps

-- name: claim
-- Takes up to $1 ready steps.
UPDATE bench_bare.steps AS step
SET state = 'leased'
FROM (
    SELECT task_uuid, ordinal FROM bench_bare.steps
    WHERE state = 'ready' ORDER BY ready_at LIMIT $1 FOR UPDATE SKIP LOCKED
) AS ready
WHERE step.task_uuid = ready.task_uuid AND step.ordinal = ready.ordinal
RETURNING step.task_uuid, step.ordinal

-- name: complete
-- Ends steps that were taken.
UPDATE bench_bare.steps AS step
SET state = 'complete'
FROM unnest($1::uuid[], $2::integer[]) AS done (task_uuid, ordinal)
WHERE step.task_uuid = done.task_uuid AND step.ordinal = done.ordinal

-- name: count_complete
-- How many steps have ended.
SELECT count(*) FROM bench_bare.steps WHERE state = 'complete'
