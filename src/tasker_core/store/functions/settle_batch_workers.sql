-- Part of the record: what the ends of batch workers mean for their batches. Runs with the tasks locked, before the
-- steps themselves are changed.
--
-- Each worker that ended releases the next one. When all are complete or resolved, what gathers them is freed.
-- Under fail_fast, a worker in error cancels all that are not running.
CREATE FUNCTION tasker.settle_batch_workers(
    p_worker_id bigint, p_task_uuids uuid[], p_ordinals integer[], p_lease_ids bigint[], p_outcomes text[]
) RETURNS tasker.freed_step[]
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    failing record;
    idle integer[];
    freed tasker.freed_step[];
BEGIN
    FOR failing IN
        SELECT DISTINCT batch.task_uuid, batch.mould, batch.first_ordinal, batch.worker_count
        FROM unnest(p_task_uuids, p_ordinals, p_lease_ids, p_outcomes)
            AS report (task_uuid, ordinal, lease_id, outcome)
        JOIN tasker.step_queue AS queue
          ON queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
         AND queue.worker_id = p_worker_id AND queue.lease_id = report.lease_id
        JOIN tasker.batches AS batch
          ON batch.task_uuid = report.task_uuid AND batch.failure_strategy = 'fail_fast'
         AND report.ordinal BETWEEN batch.first_ordinal AND batch.first_ordinal + batch.worker_count - 1
        WHERE report.outcome = 'error'
    LOOP
        PERFORM 1 FROM tasker.step_queue AS queue
        WHERE queue.task_uuid = failing.task_uuid
          AND queue.ordinal BETWEEN failing.first_ordinal AND failing.first_ordinal + failing.worker_count - 1
        ORDER BY queue.ordinal FOR UPDATE;

        SELECT array_agg(ordinal) INTO idle
        FROM tasker.steps
        WHERE steps.task_uuid = failing.task_uuid
          AND ordinal BETWEEN failing.first_ordinal AND failing.first_ordinal + failing.worker_count - 1
          AND state IN ('pending', 'enqueued', 'waiting_for_retry');
        CONTINUE WHEN idle IS NULL;

        PERFORM tasker.change_steps(
            failing.task_uuid, idle, array_fill('cancelled'::text, ARRAY[cardinality(idle)]), '{}',
            false, NULL, NULL, 'another worker of the batch failed (fail_fast)'
        );
    END LOOP;

    WITH held AS (
        SELECT step.task_uuid, step.template_ordinal AS mould, report.outcome, queue.template_id, queue.priority
        FROM unnest(p_task_uuids, p_ordinals, p_lease_ids, p_outcomes)
            AS report (task_uuid, ordinal, lease_id, outcome)
        JOIN tasker.step_queue AS queue
          ON queue.task_uuid = report.task_uuid AND queue.ordinal = report.ordinal
         AND queue.worker_id = p_worker_id AND queue.lease_id = report.lease_id
        JOIN tasker.steps AS step ON step.task_uuid = report.task_uuid AND step.ordinal = report.ordinal
        WHERE report.outcome <> 'waiting_for_retry' AND step.ordinal <> step.template_ordinal
        FOR UPDATE OF queue
    ), ended AS MATERIALIZED (
        SELECT task_uuid, mould, template_id, priority, count(*)::integer AS ended,
               (count(*) FILTER (WHERE outcome <> 'error'))::integer AS settled
        FROM held GROUP BY 1, 2, 3, 4
    ), released AS MATERIALIZED (
        SELECT ended.*, next.ordinals
        FROM ended
        JOIN tasker.batches AS batch USING (task_uuid, mould)
        CROSS JOIN LATERAL (
            SELECT ARRAY(
                SELECT step.ordinal FROM tasker.steps AS step
                WHERE step.task_uuid = batch.task_uuid AND step.state = 'pending'
                  AND step.ordinal >= batch.next_ordinal
                  AND step.ordinal < batch.first_ordinal + batch.worker_count
                ORDER BY step.ordinal LIMIT greatest(0, batch.free_slots + ended.ended)
            ) AS ordinals
        ) AS next
    ), moved AS (
        UPDATE tasker.batches AS batch
        SET open_workers = batch.open_workers - released.settled,
            free_slots = batch.free_slots + released.ended - cardinality(released.ordinals),
            next_ordinal = coalesce(released.ordinals[cardinality(released.ordinals)] + 1, batch.next_ordinal)
        FROM released
        WHERE batch.task_uuid = released.task_uuid AND batch.mould = released.mould
        RETURNING batch.task_uuid, batch.mould, batch.open_workers, released.template_id, released.priority,
                  released.ordinals
    )
    SELECT coalesce(array_agg(freed_step), '{}') INTO freed FROM (
        SELECT (task_uuid, next.ordinal, mould, template_id, priority, 1, 1)::tasker.freed_step AS freed_step
        FROM moved CROSS JOIN LATERAL unnest(ordinals) AS next (ordinal)
        UNION ALL
        SELECT (moved.task_uuid, child.ordinal, child.ordinal, moved.template_id, moved.priority, 1,
                1)::tasker.freed_step
        FROM moved
        JOIN tasker.template_steps AS mould
          ON mould.template_id = moved.template_id AND mould.ordinal = moved.mould
        CROSS JOIN LATERAL unnest(mould.dependents) AS child (ordinal)
        WHERE moved.open_workers = 0
    ) AS freed_steps;
    RETURN freed;
END
$$;
