-- How a task stands, for a dead letter: its facts, its steps by state, and up to 100 steps that are not done.
CREATE FUNCTION tasker.task_snapshot(p_task_uuid uuid) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'task_uuid', task.task_uuid, 'namespace', template.namespace, 'task_name', template.name,
        'task_version', template.version, 'current_state', task.state,
        'snapshot_timestamp', clock_timestamp(),
        'task_details', json_build_object(
            'correlation_id', task.correlation_id, 'priority', task.priority,
            'requested_at', coalesce(task.requested_at, task.created_at), 'created_at', task.created_at,
            'started_at', task.started_at
        ),
        'step_counts', (
            SELECT json_object_agg(state, number)
            FROM (SELECT state, count(*) AS number FROM tasker.steps
                  WHERE steps.task_uuid = task.task_uuid GROUP BY state) AS counted
        ),
        'steps', coalesce((
            SELECT json_agg(json_build_object(
                'name', name, 'state', state, 'attempts', attempts, 'unmet_dependencies', unmet_dependencies,
                'next_retry_at', next_retry_at, 'error', error
            ))
            FROM (
                SELECT * FROM tasker.steps
                WHERE steps.task_uuid = task.task_uuid AND state NOT IN ('complete', 'resolved_manually')
                ORDER BY state = 'error' DESC, ordinal LIMIT 100
            ) AS open
        ), '[]'::json)
    )
    FROM tasker.tasks AS task JOIN tasker.templates AS template USING (template_id)
    WHERE task.task_uuid = p_task_uuid
$$;

-- Part of the record: notes which of these tasks nothing moves any more. One entry for a task that is blocked by
-- failures; of failures in batches that isolate them, one for each worker that failed just now instead, at once.
CREATE FUNCTION tasker.add_dead_letters(p_task_uuids uuid[], p_ordinals integer[], p_outcomes text[])
RETURNS void LANGUAGE sql AS $$
    WITH failed AS MATERIALIZED (
        SELECT task.task_uuid, task.state, step.ordinal, step.name, step.attempts, step.error,
               batch.mould IS NOT NULL AS isolated
        FROM tasker.tasks AS task
        JOIN tasker.steps AS step USING (task_uuid)
        LEFT JOIN tasker.batches AS batch
          ON batch.task_uuid = step.task_uuid AND batch.mould = step.template_ordinal
         AND step.ordinal <> step.template_ordinal AND batch.failure_strategy = 'isolate'
        WHERE task.task_uuid = ANY (p_task_uuids) AND task.failed_steps > 0 AND task.closed_as IS NULL
          AND step.state = 'error'
    )
    INSERT INTO tasker.dead_letters (task_uuid, ordinal, original_state, reason, snapshot, metadata)
    SELECT task_uuid, CASE WHEN isolated THEN ordinal END, state, 'max_retries_exceeded',
           tasker.task_snapshot(task_uuid),
           json_build_object(
               'detection_method', 'failed_steps',
               'failed_steps', json_agg(json_build_object(
                   'name', name, 'attempts', attempts, 'error_type', error ->> 'error_type',
                   'message', error ->> 'message', 'retryable', (error ->> 'retryable')::boolean
               ) ORDER BY ordinal)
           )
    FROM failed
    WHERE (NOT isolated AND state = 'blocked_by_failures') OR (isolated AND (task_uuid, ordinal, 'error') IN (
        SELECT task_uuid, ordinal, outcome
        FROM unnest(p_task_uuids, p_ordinals, p_outcomes) AS report (task_uuid, ordinal, outcome)
    ))
    GROUP BY task_uuid, CASE WHEN isolated THEN ordinal END, state
    ON CONFLICT (task_uuid, coalesce(ordinal, -1)) WHERE status = 'pending' DO NOTHING
$$;
