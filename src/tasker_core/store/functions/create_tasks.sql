-- How far apart the steps of one backlog stand in the queue; see create_tasks.
CREATE FUNCTION tasker.backlog_spacing() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '1 second'
$$;

-- Creates one task per array element, all from one template, each with its initial steps. Steps without
-- dependencies enter the queue at once, or when the task was asked to start.
--
-- Fairness: a new step queues a second behind its namespace's last one that still waits to be claimed. So 10,000
-- tasks of one namespace are spread over the next 10,000 seconds of claim order (not of time: with nothing else
-- to do, they are claimed at once), and a task that another namespace brings later stands near the front of them.
--
-- A task whose identity is taken is not created; the row returned for it names its existing twin. With
-- p_refuse_duplicates that is an error (SQLSTATE TK001, the twins as a JSON object in its detail) and nothing is
-- created.
CREATE FUNCTION tasker.create_tasks(
    p_template_id integer, p_namespace text,
    p_task_uuids uuid[], p_contexts text[], p_priorities smallint[],
    p_correlation_ids uuid[], p_parent_correlation_ids uuid[],
    p_initiators text[], p_source_systems text[], p_reasons text[], p_tags text[],
    p_requested_at timestamptz[], p_identity_hashes bytea[], p_refuse_duplicates boolean
) RETURNS TABLE (task_uuid uuid, twin_uuid uuid)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    at_time constant timestamptz := clock_timestamp();
    spacing constant interval := tasker.backlog_spacing();
    priorities smallint[] := p_priorities;
    first_ready timestamptz[] := '{}';
    to_note smallint[] := '{}';
    one smallint;
    backlog record;
    created_count bigint;
    last_tasks uuid[];
    last_ordinals integer[];
    last_priorities smallint[];
    last_orders timestamptz[];
BEGIN
    IF cardinality(p_priorities) > 1 THEN
        priorities := ARRAY(SELECT DISTINCT unnest(p_priorities));
    END IF;
    FOREACH one IN ARRAY priorities LOOP
        -- The last step that was queued with this priority, and whether it still waits.
        SELECT last.last_ready, queue.ordinal IS NOT NULL AS waits INTO backlog
        FROM tasker.backlogs AS last
        LEFT JOIN tasker.step_queue AS queue
          ON queue.task_uuid = last.last_task AND queue.ordinal = last.last_ordinal
         AND queue.status = 'ready' AND queue.attempt = 0
        WHERE last.namespace = p_namespace AND last.priority = one;
        first_ready := first_ready || CASE
            WHEN backlog.waits THEN greatest(at_time, backlog.last_ready + spacing) ELSE at_time
        END;
        -- Without a backlog, a step a second is noted: as soon as that one has to wait, all are.
        IF backlog.waits OR cardinality(p_task_uuids) > 1 OR backlog.last_ready IS NULL
           OR backlog.last_ready < at_time - spacing THEN
            to_note := to_note || one;
        END IF;
    END LOOP;

    WITH created AS (
        INSERT INTO tasker.tasks (
            task_uuid, template_id, context, priority, correlation_id, parent_correlation_id,
            initiator, source_system, reason, tags, requested_at, identity_hash, created_at, total_steps, active_steps
        )
        SELECT new.task_uuid, p_template_id, new.context::jsonb, new.priority, new.correlation_id,
               new.parent_correlation_id, new.initiator, new.source_system, new.reason, new.tags::jsonb,
               new.requested_at, new.identity_hash, at_time, graph.total, graph.ready
        FROM unnest(
            p_task_uuids, p_contexts, p_priorities, p_correlation_ids, p_parent_correlation_ids,
            p_initiators, p_source_systems, p_reasons, p_tags, p_requested_at, p_identity_hashes
        ) AS new (
            task_uuid, context, priority, correlation_id, parent_correlation_id,
            initiator, source_system, reason, tags, requested_at, identity_hash
        )
        CROSS JOIN (
            SELECT count(*) AS total, count(*) FILTER (WHERE dependencies = '{}') AS ready
            FROM tasker.template_steps WHERE template_id = p_template_id AND initial
        ) AS graph
        ON CONFLICT (identity_hash) WHERE identity_hash IS NOT NULL DO NOTHING
        RETURNING task_uuid, priority, requested_at
    ), steps AS (
        INSERT INTO tasker.steps (task_uuid, ordinal, template_ordinal, name, unmet_dependencies, state)
        SELECT created.task_uuid, mould.ordinal, mould.ordinal, mould.name, cardinality(mould.dependencies),
               CASE WHEN mould.dependencies = '{}' THEN 'enqueued' ELSE 'pending' END::tasker.step_state
        FROM created
        CROSS JOIN (
            SELECT * FROM tasker.template_steps WHERE template_id = p_template_id AND initial ORDER BY ordinal
        ) AS mould
    ), queued AS (
        INSERT INTO tasker.step_queue (
            task_uuid, ordinal, template_id, priority, attempt, status, wake_at, claim_order, enqueued_at, callable
        )
        SELECT place.task_uuid, place.ordinal, p_template_id, place.priority, 0,
               CASE WHEN place.requested_at > at_time THEN 'delayed' ELSE 'ready' END::tasker.queue_status,
               CASE WHEN place.requested_at > at_time THEN place.requested_at END,
               tasker.claim_order(
                   greatest(
                       place.requested_at,
                       first_ready[array_position(priorities, place.priority)] + spacing * (place.number - 1)
                   ),
                   place.priority
               ),
               at_time, place.callable
        FROM (
            SELECT created.*, mould.ordinal, mould.callable,
                   row_number() OVER (PARTITION BY created.priority) AS number
            FROM created
            CROSS JOIN tasker.template_steps AS mould
            WHERE mould.template_id = p_template_id AND mould.initial AND mould.dependencies = '{}'
        ) AS place
        RETURNING task_uuid, ordinal, priority, status, claim_order
    ), last AS (
        SELECT DISTINCT ON (priority) task_uuid, ordinal, priority, claim_order FROM queued
        WHERE status = 'ready' AND priority = ANY (to_note) ORDER BY priority, claim_order DESC
    )
    SELECT (SELECT count(*) FROM created), array_agg(task_uuid), array_agg(ordinal), array_agg(priority),
           array_agg(claim_order)
    INTO created_count, last_tasks, last_ordinals, last_priorities, last_orders
    FROM last;

    IF last_tasks IS NOT NULL THEN
        WITH last AS (
            SELECT * FROM unnest(last_tasks, last_ordinals, last_priorities, last_orders)
                AS l (task_uuid, ordinal, priority, claim_order)
        ), free AS (
            -- Whoever finds the row taken leaves it: creators never wait for each other here.
            SELECT priority FROM tasker.backlogs
            WHERE namespace = p_namespace AND priority = ANY (last_priorities)
            FOR UPDATE SKIP LOCKED
        )
        INSERT INTO tasker.backlogs AS backlog (namespace, priority, last_task, last_ordinal, last_ready)
        SELECT p_namespace, priority, task_uuid, ordinal, claim_order + priority * interval '10 hours'
        FROM last
        WHERE priority IN (SELECT priority FROM free)
           OR NOT EXISTS (SELECT 1 FROM tasker.backlogs WHERE namespace = p_namespace AND priority = last.priority)
        ON CONFLICT (namespace, priority) DO UPDATE
        SET last_task = excluded.last_task, last_ordinal = excluded.last_ordinal, last_ready = excluded.last_ready;
    END IF;

    IF created_count < cardinality(p_task_uuids) THEN
        -- A statement of its own: its snapshot shows twins that committed while the insertion waited for them.
        IF p_refuse_duplicates THEN
            RAISE EXCEPTION 'a task with this identity already exists' USING ERRCODE = 'TK001', DETAIL = (
                SELECT json_object_agg(new.task_uuid, twin.task_uuid)
                FROM unnest(p_task_uuids, p_identity_hashes) AS new (task_uuid, identity_hash)
                JOIN tasker.tasks AS twin USING (identity_hash)
                WHERE twin.task_uuid <> new.task_uuid
            );
        END IF;
        RETURN QUERY
        SELECT new.task_uuid, twin.task_uuid
        FROM unnest(p_task_uuids, p_identity_hashes) AS new (task_uuid, identity_hash)
        JOIN tasker.tasks AS twin USING (identity_hash)
        WHERE twin.task_uuid <> new.task_uuid;
    END IF;
END
$$;
