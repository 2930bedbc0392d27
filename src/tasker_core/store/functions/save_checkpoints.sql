-- Keeps the checkpoints of steps that yielded, as far as their leases hold. Such a step goes on in the same attempt:
-- up to p_want of them are leased to the same worker anew, the others are ready for any worker, or held if their
-- task is paused.
--
-- Returns rows of the kinds 'refused', 'leased' and 'queued', as record_attempts does.
CREATE FUNCTION tasker.save_checkpoints(
    p_worker_id bigint, p_task_uuids uuid[], p_ordinals integer[], p_lease_ids bigint[], p_checkpoints text[],
    p_want integer, p_lease_seconds double precision
) RETURNS TABLE (
    kind text, task_uuid uuid, ordinal integer, lease_id bigint, attempt integer, template_id integer,
    detailed boolean, detail text
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    at_time timestamptz;
    paused uuid[];
BEGIN
    SELECT coalesce(array_agg(task_uuid) FILTER (WHERE paused_at IS NOT NULL), '{}') INTO paused
    FROM (
        SELECT task_uuid, paused_at FROM tasker.tasks
        WHERE task_uuid = ANY (p_task_uuids) ORDER BY task_uuid FOR NO KEY UPDATE
    ) AS locked;
    at_time := clock_timestamp();

    RETURN QUERY
    WITH report AS MATERIALIZED (
        SELECT task_uuid, ordinal, lease_id, checkpoint::json AS checkpoint,
               row_number() OVER () <= p_want AND task_uuid <> ALL (paused) AS continues
        FROM unnest(p_task_uuids, p_ordinals, p_lease_ids, p_checkpoints)
            AS r (task_uuid, ordinal, lease_id, checkpoint)
    ), kept AS (
        -- A step that goes on is not counted as a new attempt, so one that must be claimed again is counted down.
        UPDATE tasker.step_queue AS queue
        SET status = CASE WHEN report.continues THEN 'leased' WHEN queue.task_uuid = ANY (paused) THEN 'held'
                          ELSE 'ready' END::tasker.queue_status,
            attempt = queue.attempt - (NOT report.continues)::integer,
            lease_id = CASE WHEN report.continues THEN nextval('tasker.lease_ids') END,
            worker_id = CASE WHEN report.continues THEN p_worker_id END,
            leased_at = CASE WHEN report.continues THEN queue.leased_at END,
            wake_at = CASE WHEN report.continues THEN at_time + make_interval(secs => p_lease_seconds) END,
            detailed = true
        FROM report
        WHERE queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
          AND queue.worker_id = p_worker_id AND queue.lease_id = report.lease_id
        RETURNING queue.task_uuid, queue.ordinal, queue.lease_id, queue.attempt, queue.template_id, queue.status,
                  report.lease_id AS reported_lease, report.checkpoint
    ), step AS (
        UPDATE tasker.steps AS step
        SET checkpoint = kept.checkpoint, attempts = kept.attempt,
            state = CASE WHEN kept.status = 'leased' THEN 'in_progress' ELSE 'enqueued' END::tasker.step_state
        FROM kept
        WHERE step.task_uuid = kept.task_uuid AND step.ordinal = kept.ordinal
    )
    SELECT 'refused', task_uuid, ordinal, lease_id, NULL::integer, NULL::integer, NULL::boolean, NULL::text
    FROM (SELECT task_uuid, ordinal, lease_id FROM report
          EXCEPT SELECT task_uuid, ordinal, reported_lease FROM kept) AS refused
    UNION ALL
    SELECT CASE WHEN status = 'leased' THEN 'leased' ELSE 'queued' END, task_uuid, ordinal, lease_id, attempt,
           template_id, true, NULL
    FROM kept;
END
$$;
