-- name: register_worker
-- Records a worker process and returns the id that its leases carry.
INSERT INTO tasker.workers (name, hostname, pid, callables, namespaces, worker_uuid, subject, concurrency, sdk)
VALUES ($1, $2, $3, $4, $5, coalesce($6, gen_random_uuid()), $7, $8, $9) RETURNING worker_id

-- name: change_worker
-- Records what a worker takes from now on.
UPDATE tasker.workers SET callables = $2, namespaces = $3, concurrency = $4, last_seen_at = clock_timestamp()
WHERE worker_id = $1

-- name: worker
-- One worker.
SELECT worker_id, worker_uuid, name, hostname, pid, callables, namespaces, subject, concurrency, sdk, started_at,
       last_seen_at, stopped_at
FROM tasker.workers WHERE worker_uuid = $1

-- name: worker_seen
-- Notes that a worker is alive.
UPDATE tasker.workers SET last_seen_at = clock_timestamp() WHERE worker_id = $1

-- name: worker_stopped
-- Notes that a worker ended in good order.
UPDATE tasker.workers SET stopped_at = clock_timestamp(), last_seen_at = clock_timestamp()
WHERE worker_id = $1 AND stopped_at IS NULL

-- name: cancelled_steps
-- Those of some steps, as pairs of arrays (task, ordinal), that were cancelled.
SELECT step.task_uuid, step.ordinal
FROM unnest($1::uuid[], $2::integer[]) AS wanted (task_uuid, ordinal)
JOIN tasker.steps AS step USING (task_uuid, ordinal)
WHERE step.state = 'cancelled'

-- name: register_operator
-- Records who ends a step by hand, as a worker that has stopped already.
INSERT INTO tasker.workers (name, hostname, pid, callables, stopped_at)
VALUES ($1, 'operator', 0, '{}', clock_timestamp()) RETURNING worker_id
