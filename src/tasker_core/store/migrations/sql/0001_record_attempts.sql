-- THE RECORD. Takes the ends of attempts, keeps those whose lease still holds, frees the steps that waited
-- for them, settles tasks, and leases up to p_want of the freed steps to the same worker (the continuation),
-- all in one transaction and one round trip.
--
-- p_outcomes: 'complete', 'waiting_for_retry' (then p_delays says for how many seconds) or 'error'.
--
-- Returns rows of these kinds:
--   'refused'  a report whose lease was lost; nothing was recorded for it
--   'leased'   a freed step that the worker now holds
--   'queued'   a freed step that any worker may claim
--   'rested'   a task that now has nothing ready and nothing running; detail is its state
CREATE FUNCTION tasker.record_attempts(
    p_worker_id bigint,
    p_task_uuids uuid[], p_ordinals integer[], p_attempts integer[], p_outcomes text[],
    p_results text[], p_metadata text[], p_errors text[], p_delays double precision[],
    p_durations_ms integer[],
    p_callables text[], p_want integer, p_lease_seconds double precision
) RETURNS TABLE (kind text, task_uuid uuid, ordinal integer, attempt integer, template_id integer, detail text)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    at_time timestamptz;
BEGIN
    -- Everything that changes the steps of a task holds the task's row, taken in key order. The statement
    -- below starts after the locks are held, so its snapshot shows all that earlier holders did.
    PERFORM 1 FROM tasker.tasks WHERE task_uuid = ANY (p_task_uuids) ORDER BY task_uuid FOR NO KEY UPDATE;
    at_time := clock_timestamp();

    RETURN QUERY
    WITH report AS MATERIALIZED (
        SELECT task_uuid, ordinal, attempt, outcome::tasker.step_state AS outcome, result::json AS result,
               metadata::json AS metadata, error::json AS error, duration_ms,
               at_time + make_interval(secs => delay) AS retry_at
        FROM unnest(
            p_task_uuids, p_ordinals, p_attempts, p_outcomes, p_results, p_metadata, p_errors, p_delays,
            p_durations_ms
        ) AS r (task_uuid, ordinal, attempt, outcome, result, metadata, error, delay, duration_ms)
    ), released AS (
        -- Only a leased row has a worker. Asking for the status as well would let the planner read all leases
        -- through their index instead of looking up the reported ones.
        DELETE FROM tasker.step_queue AS queue USING report
        WHERE queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
          AND queue.worker_id = p_worker_id AND queue.attempt = report.attempt
          AND report.outcome <> 'waiting_for_retry'
        RETURNING report.*, queue.template_id, queue.priority, queue.enqueued_at, queue.leased_at,
                  coalesce(queue.rescued_from, p_worker_id) AS worker_id
    ), delayed AS (
        UPDATE tasker.step_queue AS queue
        SET status = 'delayed', worker_id = NULL, rescued_from = NULL, leased_at = NULL, enqueued_at = report.retry_at,
            wake_at = report.retry_at, claim_order = tasker.claim_order(report.retry_at, queue.priority)
        FROM report, tasker.step_queue AS before
        WHERE queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
          AND queue.worker_id = p_worker_id AND queue.attempt = report.attempt
          AND report.outcome = 'waiting_for_retry'
          AND before.task_uuid = queue.task_uuid AND before.ordinal = queue.ordinal
        RETURNING report.*, queue.template_id, queue.priority, before.enqueued_at, before.leased_at,
                  coalesce(before.rescued_from, p_worker_id) AS worker_id
    ), accepted AS MATERIALIZED (
        SELECT * FROM released UNION ALL SELECT * FROM delayed
    ), ended AS (
        UPDATE tasker.steps AS step
        SET state = accepted.outcome, result = accepted.result, metadata = accepted.metadata,
            error = accepted.error, next_retry_at = accepted.retry_at,
            finished_at = CASE WHEN accepted.outcome <> 'waiting_for_retry' THEN at_time END
        FROM accepted
        WHERE step.task_uuid = accepted.task_uuid AND step.ordinal = accepted.ordinal
        RETURNING step.task_uuid, step.template_ordinal, accepted.outcome, accepted.template_id, accepted.priority
    ), freed_edge AS (
        SELECT ended.task_uuid, child.ordinal, ended.template_id, ended.priority, count(*)::integer AS met
        FROM ended
        JOIN tasker.template_steps AS parent
          ON parent.template_id = ended.template_id AND parent.ordinal = ended.template_ordinal
        CROSS JOIN LATERAL unnest(parent.dependents) AS child (ordinal)
        WHERE ended.outcome = 'complete'
        GROUP BY 1, 2, 3, 4
    ), child AS (
        SELECT freed_edge.*, mould.callable,
               mould.callable = ANY (p_callables)
               AND row_number() OVER (PARTITION BY mould.callable = ANY (p_callables)) <= p_want AS continues
        FROM freed_edge
        JOIN tasker.template_steps AS mould
          ON mould.template_id = freed_edge.template_id AND mould.ordinal = freed_edge.ordinal
    ), advanced AS (
        UPDATE tasker.steps AS step
        SET unmet_dependencies = step.unmet_dependencies - child.met,
            state = CASE
                WHEN step.unmet_dependencies > child.met THEN step.state
                WHEN child.continues THEN 'in_progress'
                ELSE 'enqueued'
            END,
            attempts = CASE WHEN step.unmet_dependencies = child.met AND child.continues THEN 1 ELSE 0 END
        FROM child
        WHERE step.task_uuid = child.task_uuid AND step.ordinal = child.ordinal AND step.state = 'pending'
        RETURNING step.task_uuid, step.ordinal, step.state, step.attempts, child.template_id, child.priority,
                  child.callable
    ), queued AS (
        INSERT INTO tasker.step_queue (
            task_uuid, ordinal, template_id, priority, attempt, status, claim_order, enqueued_at, callable,
            wake_at, leased_at, worker_id
        )
        SELECT task_uuid, ordinal, template_id, priority, attempts,
               CASE WHEN state = 'in_progress' THEN 'leased' ELSE 'ready' END::tasker.queue_status,
               tasker.claim_order(at_time, priority), at_time, callable,
               CASE WHEN state = 'in_progress' THEN at_time + make_interval(secs => p_lease_seconds) END,
               CASE WHEN state = 'in_progress' THEN at_time END,
               CASE WHEN state = 'in_progress' THEN p_worker_id END
        FROM advanced WHERE state <> 'pending'
        RETURNING task_uuid, ordinal, attempt, template_id, status
    ), delta AS (
        SELECT task_uuid, sum(active)::integer AS active, sum(retrying)::integer AS retrying,
               sum(failed)::integer AS failed
        FROM (
            SELECT task_uuid, -1 AS active, (outcome = 'waiting_for_retry')::integer AS retrying,
                   (outcome = 'error')::integer AS failed
            FROM ended
            UNION ALL
            SELECT task_uuid, 1, 0, 0 FROM queued
        ) AS change
        GROUP BY 1
    ), task AS (
        UPDATE tasker.tasks AS task
        SET active_steps = task.active_steps + delta.active,
            retrying_steps = task.retrying_steps + delta.retrying,
            failed_steps = task.failed_steps + delta.failed,
            completed_at = CASE WHEN tasker.derive_task_state(
                task.closed_as, true, task.active_steps + delta.active,
                task.retrying_steps + delta.retrying, task.failed_steps + delta.failed
            ) = 'complete' THEN at_time END
        FROM delta, tasker.tasks AS before
        WHERE task.task_uuid = delta.task_uuid AND before.task_uuid = delta.task_uuid
          AND (delta.active <> 0 OR delta.retrying <> 0 OR delta.failed <> 0)
        RETURNING task.task_uuid, before.state AS from_state, task.state
    ), step_history AS (
        INSERT INTO tasker.step_transitions (
            task_uuid, ordinal, attempt, from_state, to_state, enqueued_at, leased_at, occurred_at, worker_id,
            execution_time_ms, error
        )
        SELECT task_uuid, ordinal, attempt, 'in_progress', outcome, enqueued_at, leased_at, at_time, worker_id,
               duration_ms, error
        FROM accepted
    ), task_history AS (
        INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, occurred_at, worker_id)
        SELECT task_uuid, from_state, state, at_time, p_worker_id FROM task WHERE from_state <> state
    )
    SELECT 'refused', task_uuid, ordinal, attempt, NULL::integer, NULL::text
    FROM (SELECT task_uuid, ordinal, attempt FROM report
          EXCEPT SELECT task_uuid, ordinal, attempt FROM accepted) AS refused
    UNION ALL
    SELECT CASE WHEN status = 'leased' THEN 'leased' ELSE 'queued' END, task_uuid, ordinal, attempt, template_id, NULL
    FROM queued
    UNION ALL
    SELECT 'rested', task_uuid, NULL, NULL, NULL, state::text FROM task WHERE state <> 'steps_in_process';
END
$$;
