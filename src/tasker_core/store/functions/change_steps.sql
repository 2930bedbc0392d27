-- Sets the counters of a task that goes on to what its steps say. The caller holds the task's lock.
CREATE FUNCTION tasker.recount_steps(p_task_uuid uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE tasker.tasks AS task
    SET total_steps = recount.total, active_steps = recount.active, retrying_steps = recount.retrying,
        failed_steps = recount.failed,
        completed_at = CASE WHEN task.closed_as IS NOT NULL THEN task.completed_at END
    FROM (
        SELECT count(*) AS total, count(*) FILTER (WHERE state IN ('enqueued', 'in_progress')) AS active,
               count(*) FILTER (WHERE state = 'waiting_for_retry') AS retrying,
               count(*) FILTER (WHERE state = 'error') AS failed
        FROM tasker.steps WHERE steps.task_uuid = p_task_uuid
    ) AS recount
    WHERE task.task_uuid = p_task_uuid
$$;

-- Moves steps of one task to other states, whatever they were in, and recounts the task: the common part of all
-- that people and policies do. The caller holds the locks of the task and of its rows in the queue.
--
--   cancelled           what runs loses its lease; batch workers give their slots back
--   pending, enqueued   starts afresh, with no attempts counted; its checkpoint stays unless p_clear_checkpoints
--
-- p_unmet gives the unmet dependencies of pending steps.
CREATE FUNCTION tasker.change_steps(
    p_task_uuid uuid, p_ordinals integer[], p_states text[], p_unmet integer[], p_clear_checkpoints boolean,
    p_verb text, p_actor text, p_reason text
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_time constant timestamptz := clock_timestamp();
BEGIN
    INSERT INTO tasker.step_transitions (
        task_uuid, ordinal, attempt, from_state, to_state, enqueued_at, leased_at, occurred_at, worker_id,
        verb, actor, reason
    )
    SELECT p_task_uuid, step.ordinal, step.attempts, step.state, change.state::tasker.step_state,
           CASE WHEN queue.status = 'leased' THEN queue.enqueued_at END, queue.leased_at, at_time, queue.worker_id,
           p_verb, p_actor, p_reason
    FROM unnest(p_ordinals, p_states) AS change (ordinal, state)
    JOIN tasker.steps AS step ON step.task_uuid = p_task_uuid AND step.ordinal = change.ordinal
    LEFT JOIN tasker.step_queue AS queue ON queue.task_uuid = p_task_uuid AND queue.ordinal = change.ordinal
    WHERE step.state::text <> change.state;

    UPDATE tasker.batches AS batch SET free_slots = batch.free_slots + freed.slots
    FROM (
        SELECT step.template_ordinal AS mould, count(*)::integer AS slots
        FROM unnest(p_ordinals, p_states) AS change (ordinal, state)
        JOIN tasker.steps AS step ON step.task_uuid = p_task_uuid AND step.ordinal = change.ordinal
        WHERE change.state = 'cancelled' AND step.ordinal <> step.template_ordinal
          AND step.state IN ('enqueued', 'in_progress', 'waiting_for_retry')
        GROUP BY 1
    ) AS freed
    WHERE batch.task_uuid = p_task_uuid AND batch.mould = freed.mould;

    DELETE FROM tasker.step_queue AS queue USING unnest(p_ordinals) AS change (ordinal)
    WHERE queue.task_uuid = p_task_uuid AND queue.ordinal = change.ordinal;

    UPDATE tasker.steps AS step
    SET state = change.state::tasker.step_state, next_retry_at = NULL,
        unmet_dependencies = CASE change.state
            WHEN 'pending' THEN change.unmet WHEN 'enqueued' THEN 0 ELSE step.unmet_dependencies END,
        finished_at = CASE WHEN change.state = 'cancelled' THEN at_time END,
        attempts = CASE WHEN change.state = 'cancelled' THEN step.attempts ELSE 0 END,
        result = NULL, metadata = NULL,
        error = CASE WHEN change.state = 'cancelled' THEN step.error END,
        checkpoint = CASE WHEN NOT p_clear_checkpoints THEN step.checkpoint END
    FROM unnest(p_ordinals, p_states, p_unmet) AS change (ordinal, state, unmet)
    WHERE step.task_uuid = p_task_uuid AND step.ordinal = change.ordinal;

    INSERT INTO tasker.step_queue (
        task_uuid, ordinal, template_id, priority, attempt, status, claim_order, enqueued_at, callable, detailed
    )
    SELECT p_task_uuid, step.ordinal, task.template_id, task.priority, 0,
           CASE WHEN task.paused_at IS NULL THEN 'ready' ELSE 'held' END::tasker.queue_status,
           tasker.claim_order(at_time, task.priority), at_time, mould.callable,
           step.inputs IS NOT NULL OR step.checkpoint IS NOT NULL OR task.reruns > 0
    FROM unnest(p_ordinals, p_states) AS change (ordinal, state)
    JOIN tasker.steps AS step ON step.task_uuid = p_task_uuid AND step.ordinal = change.ordinal
    JOIN tasker.tasks AS task ON task.task_uuid = p_task_uuid
    JOIN tasker.template_steps AS mould
      ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
    WHERE change.state = 'enqueued';

    PERFORM tasker.recount_steps(p_task_uuid);
END
$$;
