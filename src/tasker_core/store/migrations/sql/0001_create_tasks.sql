-- Creates one task per array element, all from one template, each with its initial steps. Steps without
-- dependencies enter the queue at once.
CREATE FUNCTION tasker.create_tasks(
    p_template_id integer,
    p_task_uuids uuid[], p_contexts text[], p_priorities smallint[],
    p_correlation_ids uuid[], p_parent_correlation_ids uuid[],
    p_initiators text[], p_source_systems text[], p_reasons text[], p_tags text[]
) RETURNS void LANGUAGE sql AS $$
    WITH created AS (
        INSERT INTO tasker.tasks (
            task_uuid, template_id, context, priority, correlation_id, parent_correlation_id,
            initiator, source_system, reason, tags, total_steps, active_steps
        )
        SELECT new.task_uuid, p_template_id, new.context::jsonb, new.priority, new.correlation_id,
               new.parent_correlation_id, new.initiator, new.source_system, new.reason, new.tags::jsonb,
               graph.total, graph.ready
        FROM unnest(
            p_task_uuids, p_contexts, p_priorities, p_correlation_ids, p_parent_correlation_ids,
            p_initiators, p_source_systems, p_reasons, p_tags
        ) AS new (
            task_uuid, context, priority, correlation_id, parent_correlation_id,
            initiator, source_system, reason, tags
        )
        CROSS JOIN (
            SELECT count(*) AS total, count(*) FILTER (WHERE dependencies = '{}') AS ready
            FROM tasker.template_steps WHERE template_id = p_template_id AND initial
        ) AS graph
        RETURNING task_uuid, priority
    ), steps AS (
        INSERT INTO tasker.steps (task_uuid, ordinal, template_ordinal, name, unmet_dependencies, state)
        SELECT created.task_uuid, mould.ordinal, mould.ordinal, mould.name, cardinality(mould.dependencies),
               CASE WHEN mould.dependencies = '{}' THEN 'enqueued' ELSE 'pending' END::tasker.step_state
        FROM created
        CROSS JOIN (
            SELECT * FROM tasker.template_steps WHERE template_id = p_template_id AND initial ORDER BY ordinal
        ) AS mould
    )
    INSERT INTO tasker.step_queue (
        task_uuid, ordinal, template_id, priority, attempt, status, claim_order, enqueued_at, callable
    )
    SELECT created.task_uuid, mould.ordinal, p_template_id, created.priority, 0, 'ready',
           tasker.claim_order(now(), created.priority), now(), mould.callable
    FROM created
    CROSS JOIN tasker.template_steps AS mould
    WHERE mould.template_id = p_template_id AND mould.initial AND mould.dependencies = '{}'
$$;
