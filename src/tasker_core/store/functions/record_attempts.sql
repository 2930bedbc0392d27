-- THE RECORD. Takes the ends of attempts, keeps those whose lease still holds, frees the steps that waited
-- for them, settles tasks, and leases up to p_want of the freed steps to the same worker (the continuation),
-- all in one transaction and one round trip.
--
-- p_outcomes: 'complete', 'resolved_manually', 'waiting_for_retry' (then p_delays says for how many seconds) or
-- 'error'.
-- p_batch_workers: whether any of the steps is a batch worker; see settle_batch_workers.
-- p_expansions: the steps that decision and batchable steps among the reports call into being; see expand_tasks.
-- p_verb, p_actor, p_reason, p_from_state: for history, when an operator and not a worker ends the attempt; the
-- operator notes the change of the task's state.
--
-- Returns rows of these kinds:
--   'refused'  a report whose lease was lost; nothing was recorded for it
--   'leased'   a freed step that the worker now holds
--   'queued'   a freed step that any worker may claim
--   'rested'   a task that now has nothing ready and nothing running; detail is its state
CREATE FUNCTION tasker.record_attempts(
    p_worker_id bigint,
    p_task_uuids uuid[], p_ordinals integer[], p_lease_ids bigint[], p_outcomes text[],
    p_results text[], p_metadata text[], p_errors text[], p_delays double precision[],
    p_durations_ms integer[],
    p_callables text[], p_want integer, p_lease_seconds double precision,
    p_batch_workers boolean DEFAULT false, p_expansions json DEFAULT NULL,
    p_verb text DEFAULT NULL, p_actor text DEFAULT NULL, p_reason text DEFAULT NULL,
    p_from_state tasker.step_state DEFAULT 'in_progress'
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
    rerun uuid[];
    has_failures boolean;
    -- Steps that are freed by more than the edges of the template.
    freed tasker.freed_step[] := '{}';
BEGIN
    -- Everything that changes the steps of a task holds the task's row, taken in key order. The statements
    -- below start after the locks are held, so their snapshots show all that earlier holders did.
    SELECT coalesce(array_agg(task_uuid) FILTER (WHERE paused_at IS NOT NULL), '{}'),
           coalesce(array_agg(task_uuid) FILTER (WHERE reruns > 0), '{}'),
           coalesce(bool_or(failed_steps > 0), false)
    INTO paused, rerun, has_failures
    FROM (
        SELECT task_uuid, paused_at, reruns, failed_steps FROM tasker.tasks
        WHERE task_uuid = ANY (p_task_uuids) ORDER BY task_uuid FOR NO KEY UPDATE
    ) AS locked;
    at_time := clock_timestamp();

    -- In this order: a convergence that is created here waits for batches that are open until now.
    IF p_expansions IS NOT NULL THEN
        freed := freed || tasker.expand_tasks(p_worker_id, p_expansions);
    END IF;
    IF p_batch_workers THEN
        freed := freed || tasker.settle_batch_workers(
            p_worker_id, p_task_uuids, p_ordinals, p_lease_ids, p_outcomes
        );
    END IF;

    RETURN QUERY
    WITH report AS MATERIALIZED (
        SELECT task_uuid, ordinal, lease_id, outcome::tasker.step_state AS outcome, result::json AS result,
               metadata::json AS metadata, error::json AS error, duration_ms,
               at_time + make_interval(secs => delay) AS retry_at
        FROM unnest(
            p_task_uuids, p_ordinals, p_lease_ids, p_outcomes, p_results, p_metadata, p_errors, p_delays,
            p_durations_ms
        ) AS r (task_uuid, ordinal, lease_id, outcome, result, metadata, error, delay, duration_ms)
    ), released AS (
        -- Only a leased row has a worker. Asking for the status as well would let the planner read all leases
        -- through their index instead of looking up the reported ones.
        DELETE FROM tasker.step_queue AS queue USING report
        WHERE queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
          AND queue.worker_id = p_worker_id AND queue.lease_id = report.lease_id
          AND report.outcome <> 'waiting_for_retry'
        RETURNING report.*, queue.attempt, queue.template_id, queue.priority, queue.enqueued_at, queue.leased_at,
                  coalesce(queue.rescued_from, p_worker_id) AS worker_id
    ), delayed AS (
        UPDATE tasker.step_queue AS queue
        SET status = CASE WHEN queue.task_uuid = ANY (paused) THEN 'held' ELSE 'delayed' END::tasker.queue_status,
            worker_id = NULL, lease_id = NULL, rescued_from = NULL, leased_at = NULL, enqueued_at = report.retry_at,
            wake_at = report.retry_at, claim_order = tasker.claim_order(report.retry_at, queue.priority)
        FROM report, tasker.step_queue AS before
        WHERE queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
          AND queue.worker_id = p_worker_id AND queue.lease_id = report.lease_id
          AND report.outcome = 'waiting_for_retry'
          AND before.task_uuid = queue.task_uuid AND before.ordinal = queue.ordinal
        RETURNING report.*, queue.attempt, queue.template_id, queue.priority, before.enqueued_at, before.leased_at,
                  coalesce(before.rescued_from, p_worker_id) AS worker_id
    ), accepted AS MATERIALIZED (
        SELECT * FROM released UNION ALL SELECT * FROM delayed
    ), ended AS (
        UPDATE tasker.steps AS step
        SET state = accepted.outcome, result = accepted.result, metadata = accepted.metadata,
            error = accepted.error, next_retry_at = accepted.retry_at,
            checkpoint = CASE WHEN accepted.outcome <> 'complete' THEN step.checkpoint END,
            finished_at = CASE WHEN accepted.outcome <> 'waiting_for_retry' THEN at_time END
        FROM accepted
        WHERE step.task_uuid = accepted.task_uuid AND step.ordinal = accepted.ordinal
        RETURNING step.task_uuid, step.ordinal, step.template_ordinal, accepted.outcome, accepted.template_id,
                  accepted.priority
    ), freed_edge AS (
        SELECT task_uuid, ordinal, template_ordinal, template_id, priority, sum(met)::integer AS met,
               min(place) AS place
        FROM (
            SELECT ended.task_uuid, child.ordinal, child.ordinal AS template_ordinal, ended.template_id,
                   ended.priority, 1 AS met, child.place
            FROM ended
            JOIN tasker.template_steps AS parent
              ON parent.template_id = ended.template_id AND parent.ordinal = ended.template_ordinal
            CROSS JOIN LATERAL unnest(parent.dependents) WITH ORDINALITY AS child (ordinal, place)
            -- The dependents of a mould wait for all its batch workers together.
            WHERE ended.outcome IN ('complete', 'resolved_manually') AND ended.ordinal = ended.template_ordinal
            UNION ALL
            SELECT (f).task_uuid, (f).ordinal, (f).template_ordinal, (f).template_id, (f).priority, (f).met, (f).place
            FROM unnest(freed) AS f
        ) AS edge
        GROUP BY 1, 2, 3, 4, 5
    ), child AS (
        SELECT freed_edge.*, mould.callable,
               mould.callable = ANY (p_callables) AND task_uuid <> ALL (paused)
               AND row_number() OVER (
                   PARTITION BY mould.callable = ANY (p_callables) ORDER BY freed_edge.place, freed_edge.ordinal
               ) <= p_want AS continues
        FROM freed_edge
        JOIN tasker.template_steps AS mould
          ON mould.template_id = freed_edge.template_id AND mould.ordinal = freed_edge.template_ordinal
    ), advanced AS (
        UPDATE tasker.steps AS step
        SET unmet_dependencies = step.unmet_dependencies - child.met,
            state = CASE
                WHEN step.unmet_dependencies > child.met THEN step.state
                WHEN child.continues THEN 'in_progress'
                ELSE 'enqueued'
            END,
            attempts = step.attempts + (step.unmet_dependencies = child.met AND child.continues)::integer
        FROM child
        WHERE step.task_uuid = child.task_uuid AND step.ordinal = child.ordinal AND step.state = 'pending'
        RETURNING step.task_uuid, step.ordinal, step.state, step.attempts, child.template_id, child.priority,
                  child.callable, child.place,
                  step.inputs IS NOT NULL OR step.checkpoint IS NOT NULL OR step.task_uuid = ANY (rerun) AS detailed
    ), queued AS (
        INSERT INTO tasker.step_queue (
            task_uuid, ordinal, template_id, priority, attempt, status, claim_order, enqueued_at, callable,
            wake_at, leased_at, worker_id, lease_id, detailed
        )
        SELECT task_uuid, ordinal, template_id, priority, attempts,
               CASE WHEN state = 'in_progress' THEN 'leased' WHEN task_uuid = ANY (paused) THEN 'held'
                    ELSE 'ready' END::tasker.queue_status,
               -- A wide fan-out stands in the queue like a backlog; see create_tasks.
               tasker.claim_order(at_time + tasker.backlog_spacing() * (place - 1), priority), at_time, callable,
               CASE WHEN state = 'in_progress' THEN at_time + make_interval(secs => p_lease_seconds) END,
               CASE WHEN state = 'in_progress' THEN at_time END,
               CASE WHEN state = 'in_progress' THEN p_worker_id END,
               CASE WHEN state = 'in_progress' THEN nextval('tasker.lease_ids') END,
               detailed
        FROM advanced WHERE state <> 'pending'
        RETURNING task_uuid, ordinal, lease_id, attempt, template_id, detailed, status
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
            execution_time_ms, error, verb, actor, reason
        )
        SELECT task_uuid, ordinal, attempt, p_from_state, outcome, enqueued_at, leased_at, at_time, worker_id,
               duration_ms, error, p_verb, p_actor, p_reason
        FROM accepted
    ), task_history AS (
        INSERT INTO tasker.task_transitions (
            task_uuid, from_state, to_state, occurred_at, worker_id
        )
        SELECT task_uuid, from_state, state, at_time, p_worker_id
        FROM task WHERE from_state <> state AND p_verb IS NULL
    )
    SELECT 'refused', task_uuid, ordinal, lease_id, NULL::integer, NULL::integer, NULL::boolean, NULL::text
    FROM (SELECT task_uuid, ordinal, lease_id FROM report
          EXCEPT SELECT task_uuid, ordinal, lease_id FROM accepted) AS refused
    UNION ALL
    SELECT CASE WHEN status = 'leased' THEN 'leased' ELSE 'queued' END, task_uuid, ordinal, lease_id, attempt,
           template_id, detailed, NULL
    FROM queued
    UNION ALL
    SELECT 'rested', task_uuid, NULL, NULL, NULL, NULL, NULL, state::text FROM task WHERE state <> 'steps_in_process';

    IF has_failures OR 'error' = ANY (p_outcomes) THEN
        PERFORM tasker.add_dead_letters(p_task_uuids, p_ordinals, p_outcomes);
    END IF;
END
$$;
