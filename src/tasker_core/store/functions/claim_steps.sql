-- The position of a step in the queue; see step_queue.claim_order. Subtracting an interval depends on the time zone as
-- far as PostgreSQL can tell, so only a stable function is inlined.
CREATE FUNCTION tasker.claim_order(ready_at timestamptz, priority integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ready_at - priority * interval '10 hours'
$$;

-- THE CLAIM. Leases up to p_limit steps that the worker has a handler for, in claim order, and counts the
-- attempt. Two claims never wait for each other: both skip what the other holds.
--
-- p_namespaces limits it to tasks of these namespaces; null is no limit.
--
-- A delayed step waits for its next attempt, or for its task to start; only the former counts as resumed.
--
-- It takes locks in the order queue, task, step. It locks a task only to start it or to take a step out of
-- waiting_for_retry, and skips the task if somebody else holds it, so it waits for nobody who holds a task.
CREATE FUNCTION tasker.claim_steps(
    p_worker_id bigint, p_callables text[], p_limit integer, p_lease_seconds double precision,
    p_namespaces text[] DEFAULT NULL
) RETURNS TABLE (
    task_uuid uuid, ordinal integer, lease_id bigint, attempt integer, template_id integer, detailed boolean
)
LANGUAGE plpgsql
-- The tables grow from nothing to millions of rows between two analyses, so the plan that is cached must not be
-- one for small tables: rows are looked up by key, whatever the statistics say. The statement is written so that
-- no two of its intermediate results are joined to each other, which without hash joins would be quadratic.
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    at_time timestamptz := clock_timestamp();
    templates integer[];
BEGIN
    IF p_namespaces IS NOT NULL THEN
        templates := ARRAY(SELECT template_id FROM tasker.templates WHERE namespace = ANY (p_namespaces));
    END IF;
    RETURN QUERY
    WITH ready AS (
        SELECT q.* FROM (SELECT DISTINCT unnest(p_callables)) AS mine (callable)
        CROSS JOIN LATERAL (
            SELECT task_uuid, ordinal, claim_order, false AS was_delayed, false AS retries FROM tasker.step_queue
            WHERE callable = mine.callable AND status = 'ready'
              AND (templates IS NULL OR template_id = ANY (templates))
            ORDER BY claim_order LIMIT p_limit FOR UPDATE SKIP LOCKED
        ) AS q
    ), due AS (
        SELECT q.* FROM (SELECT DISTINCT unnest(p_callables)) AS mine (callable)
        CROSS JOIN LATERAL (
            SELECT task_uuid, ordinal, claim_order, true AS was_delayed, attempt > 0 AS retries
            FROM tasker.step_queue
            WHERE callable = mine.callable AND status = 'delayed' AND wake_at <= at_time
              AND (templates IS NULL OR template_id = ANY (templates))
            ORDER BY wake_at LIMIT p_limit FOR UPDATE SKIP LOCKED
        ) AS q
    ), candidate AS MATERIALIZED (
        SELECT * FROM (SELECT * FROM ready UNION ALL SELECT * FROM due) AS q
        ORDER BY claim_order LIMIT p_limit
    ), moved_task AS MATERIALIZED (
        SELECT task_uuid, state AS from_state FROM tasker.tasks
        WHERE task_uuid IN (SELECT task_uuid FROM candidate)
          AND (started_at IS NULL OR task_uuid IN (SELECT task_uuid FROM candidate WHERE was_delayed))
        ORDER BY task_uuid FOR NO KEY UPDATE SKIP LOCKED
    ), claimable AS MATERIALIZED (
        SELECT candidate.* FROM candidate JOIN tasker.tasks USING (task_uuid)
        WHERE task_uuid IN (SELECT task_uuid FROM moved_task)
           OR (tasks.started_at IS NOT NULL AND NOT candidate.was_delayed)
    ), leased AS (
        UPDATE tasker.step_queue AS queue
        SET status = 'leased', worker_id = p_worker_id, attempt = queue.attempt + 1,
            lease_id = nextval('tasker.lease_ids'), leased_at = clock_timestamp(),
            wake_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
        FROM claimable
        WHERE queue.task_uuid = claimable.task_uuid AND queue.ordinal = claimable.ordinal
        RETURNING queue.task_uuid, queue.ordinal, queue.lease_id, queue.attempt, queue.template_id, queue.detailed
    ), step AS (
        UPDATE tasker.steps AS step
        SET state = 'in_progress', attempts = leased.attempt, next_retry_at = NULL
        FROM leased
        WHERE step.task_uuid = leased.task_uuid AND step.ordinal = leased.ordinal
    ), task AS (
        UPDATE tasker.tasks AS task
        SET started_at = coalesce(task.started_at, at_time),
            active_steps = task.active_steps + moved.resumed,
            retrying_steps = task.retrying_steps - moved.resumed
        FROM (
            SELECT task_uuid, max(from_state) AS from_state, sum(resumed)::integer AS resumed
            FROM (
                SELECT task_uuid, from_state, 0 AS resumed FROM moved_task
                UNION ALL
                SELECT task_uuid, NULL, 1 FROM claimable WHERE retries
            ) AS change
            GROUP BY 1
        ) AS moved
        WHERE task.task_uuid = moved.task_uuid
        RETURNING task.task_uuid, moved.from_state, task.state
    ), history AS (
        INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, occurred_at, worker_id)
        SELECT task_uuid, from_state, state, at_time, p_worker_id FROM task WHERE from_state <> state
    )
    SELECT task_uuid, ordinal, lease_id, attempt, template_id, detailed FROM leased;
END
$$;
