-- How many dependencies of a template step are unmet in a task. Steps that can never exist (p_dead) are not waited
-- for; a batch worker's mould is met when all workers made from it are.
CREATE FUNCTION tasker.unmet_dependencies(p_task_uuid uuid, p_dependencies integer[], p_dead integer[])
RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer FROM unnest(p_dependencies) AS dependency (ordinal)
    WHERE dependency.ordinal <> ALL (p_dead)
      AND NOT EXISTS (
          SELECT 1 FROM tasker.steps AS step
          WHERE step.task_uuid = p_task_uuid AND step.ordinal = dependency.ordinal
            AND step.state IN ('complete', 'resolved_manually')
      )
      AND NOT EXISTS (
          SELECT 1 FROM tasker.batches AS batch
          WHERE batch.task_uuid = p_task_uuid AND batch.mould = dependency.ordinal AND batch.open_workers = 0
      )
$$;

-- Part of the record: creates the steps that a decision or batchable step calls into being. Runs with the task
-- locked, before the step itself is complete.
--
-- Which steps these are was planned for a revision of the task; if that has passed, nothing of the record happens
-- (SQLSTATE TK002) and whoever reports plans again. p_expansions is an array of objects:
--   task_uuid, ordinal, lease_id  the step and its lease; ignored if the lease is lost
--   revision                      of the task that was planned for
--   create                        template ordinals of the steps to create
--   dead, newly_dead              those that can never exist, and of these those that could until now
--   batch                         null, or mould, failure_strategy, parallelism and workers (name, inputs)
CREATE FUNCTION tasker.expand_tasks(p_worker_id bigint, p_expansions json) RETURNS tasker.freed_step[]
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    expansion record;
    task record;
    batch record;
    worker_count integer;
    released integer;
    first_ordinal integer;
    freed tasker.freed_step[] := '{}';
BEGIN
    FOR expansion IN
        SELECT * FROM json_to_recordset(p_expansions) AS e (
            task_uuid uuid, ordinal integer, lease_id bigint, revision integer, "create" integer[],
            dead integer[], newly_dead integer[], batch json
        )
    LOOP
        PERFORM 1 FROM tasker.step_queue AS queue
        WHERE queue.task_uuid = expansion.task_uuid AND queue.ordinal = expansion.ordinal
          AND queue.worker_id = p_worker_id AND queue.lease_id = expansion.lease_id
        FOR UPDATE;
        CONTINUE WHEN NOT FOUND;

        SELECT tasks.template_id, tasks.priority, tasks.revision, tasks.added_steps INTO task
        FROM tasker.tasks WHERE tasks.task_uuid = expansion.task_uuid;
        IF task.revision <> expansion.revision THEN
            RAISE EXCEPTION 'the steps of task % have changed', expansion.task_uuid USING ERRCODE = 'TK002';
        END IF;

        -- Convergences that are there already stop waiting for what can never exist any more.
        freed := freed || ARRAY(
            SELECT (expansion.task_uuid, child.ordinal, child.ordinal, task.template_id, task.priority, count(*),
                    1)::tasker.freed_step
            FROM tasker.template_steps AS parent
            CROSS JOIN LATERAL unnest(parent.dependents) AS child (ordinal)
            JOIN tasker.steps AS step ON step.task_uuid = expansion.task_uuid AND step.ordinal = child.ordinal
            WHERE parent.template_id = task.template_id AND parent.ordinal = ANY (expansion.newly_dead)
            GROUP BY child.ordinal
        );

        -- Each waits for one thing more than its dependencies: the end of this record, which frees it of that.
        WITH created AS (
            INSERT INTO tasker.steps (task_uuid, ordinal, template_ordinal, name, unmet_dependencies, state)
            SELECT expansion.task_uuid, mould.ordinal, mould.ordinal, mould.name,
                   1 + tasker.unmet_dependencies(expansion.task_uuid, mould.dependencies, expansion.dead), 'pending'
            FROM tasker.template_steps AS mould
            WHERE mould.template_id = task.template_id AND mould.ordinal = ANY (expansion."create")
            RETURNING ordinal
        )
        SELECT freed || coalesce(array_agg(
            (expansion.task_uuid, ordinal, ordinal, task.template_id, task.priority, 1, 1)::tasker.freed_step
        ), '{}') INTO freed FROM created;

        worker_count := 0;
        IF expansion.batch IS NOT NULL THEN
            SELECT * INTO batch FROM json_to_record(expansion.batch) AS b (
                mould integer, failure_strategy text, parallelism integer, workers json
            );
            worker_count := json_array_length(batch.workers);
            released := least(worker_count, batch.parallelism);
            SELECT count(*) + task.added_steps INTO first_ordinal
            FROM tasker.template_steps WHERE template_id = task.template_id;

            INSERT INTO tasker.batches (
                task_uuid, mould, first_ordinal, worker_count, open_workers, next_ordinal, free_slots, failure_strategy
            ) VALUES (
                expansion.task_uuid, batch.mould, first_ordinal, worker_count, worker_count,
                first_ordinal + released, batch.parallelism - released, batch.failure_strategy
            );
            INSERT INTO tasker.steps (
                task_uuid, ordinal, template_ordinal, name, unmet_dependencies, state, inputs
            )
            SELECT expansion.task_uuid, first_ordinal + number - 1, batch.mould, worker ->> 'name', 1, 'pending',
                   worker -> 'inputs'
            FROM json_array_elements(batch.workers) WITH ORDINALITY AS w (worker, number);

            IF worker_count > 0 THEN
                freed := freed || ARRAY(
                    SELECT (expansion.task_uuid, first_ordinal + place, batch.mould, task.template_id,
                            task.priority, 1, place + 1)::tasker.freed_step
                    FROM generate_series(0, released - 1) AS place
                );
            ELSE
                freed := freed || ARRAY(
                    SELECT (expansion.task_uuid, child.ordinal, child.ordinal, task.template_id, task.priority,
                            1, 1)::tasker.freed_step
                    FROM tasker.template_steps AS mould
                    CROSS JOIN LATERAL unnest(mould.dependents) AS child (ordinal)
                    WHERE mould.template_id = task.template_id AND mould.ordinal = batch.mould
                );
            END IF;
        END IF;

        UPDATE tasker.tasks
        SET revision = tasks.revision + 1, added_steps = tasks.added_steps + worker_count,
            total_steps = tasks.total_steps + cardinality(expansion."create") + worker_count
        WHERE tasks.task_uuid = expansion.task_uuid;
    END LOOP;
    RETURN freed;
END
$$;
