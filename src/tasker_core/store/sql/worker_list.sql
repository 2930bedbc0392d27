-- name: workers
-- Worker processes, those seen last first, with how many steps each holds. A worker is live if it did not stop and was
-- seen within the last $1 seconds. With $2 those, too, that are not live. $3: only those that take steps from
-- nowhere but these namespaces; null for all. Processes without handlers only look after others.
SELECT worker.worker_uuid, worker.name, worker.hostname, worker.pid, worker.namespaces, worker.callables,
       worker.concurrency, coalesce(held.number, 0) AS in_flight, worker.sdk, worker.subject,
       worker.started_at, worker.last_seen_at, worker.stopped_at, live.is_live
FROM tasker.workers AS worker
CROSS JOIN LATERAL (
    SELECT worker.stopped_at IS NULL
           AND worker.last_seen_at > clock_timestamp() - make_interval(secs => $1) AS is_live
) AS live
LEFT JOIN (
    SELECT worker_id, count(*) AS number FROM tasker.step_queue WHERE status = 'leased' GROUP BY worker_id
) AS held USING (worker_id)
WHERE worker.callables <> '{}' AND (live.is_live OR $2) AND ($3::text[] IS NULL OR worker.namespaces <@ $3)
ORDER BY live.is_live DESC, worker.last_seen_at DESC, worker.worker_id
LIMIT $4
