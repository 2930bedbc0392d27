-- name: register_worker
-- Records a worker process and returns the id that its leases carry.
INSERT INTO tasker.workers (name, hostname, pid, callables) VALUES ($1, $2, $3, $4) RETURNING worker_id

-- name: worker_seen
-- Notes that a worker is alive.
UPDATE tasker.workers SET last_seen_at = clock_timestamp() WHERE worker_id = $1

-- name: worker_stopped
-- Notes that a worker ended in good order.
UPDATE tasker.workers SET stopped_at = clock_timestamp(), last_seen_at = clock_timestamp() WHERE worker_id = $1

-- name: register_operator
-- Records who ends a step by hand, as a worker that has stopped already.
INSERT INTO tasker.workers (name, hostname, pid, callables, stopped_at)
VALUES ($1, 'operator', 0, '{}', clock_timestamp()) RETURNING worker_id
