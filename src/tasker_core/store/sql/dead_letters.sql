-- name: resolve_dead_letter
-- Closes an entry, unless somebody did.
UPDATE tasker.dead_letters
SET status = $2::text::tasker.dead_letter_status, resolved_at = clock_timestamp(), resolved_by = $3, notes = $4
WHERE entry_uuid = $1 AND status = 'pending'
RETURNING entry_uuid

-- name: resolve_dead_letters_of_task
-- Closes the open entries of a task: all of them ($2 is null), or those of some steps, and that of the task itself once
-- no step of it is in error that has no entry of its own.
UPDATE tasker.dead_letters AS entry
SET status = $3::text::tasker.dead_letter_status, resolved_at = clock_timestamp(), resolved_by = $4, notes = $5
WHERE entry.task_uuid = $1 AND entry.status = 'pending'
  AND (
      $2::integer[] IS NULL OR entry.ordinal = ANY ($2)
      OR (entry.ordinal IS NULL AND NOT EXISTS (
          SELECT 1 FROM tasker.steps AS step
          LEFT JOIN tasker.batches AS batch
            ON batch.task_uuid = step.task_uuid AND batch.mould = step.template_ordinal
           AND step.ordinal <> step.template_ordinal AND batch.failure_strategy = 'isolate'
          WHERE step.task_uuid = $1 AND step.state = 'error' AND batch.mould IS NULL
      ))
  )

-- name: add_dead_letters
-- Notes which failures of a task need a person; see the function. $2 are steps that are in error.
SELECT tasker.add_dead_letters(
    array_fill($1::uuid, ARRAY[greatest(1, cardinality($2::integer[]))]), $2::integer[],
    array_fill('error'::text, ARRAY[cardinality($2::integer[])])
)

-- name: add_dead_letter
-- Notes that a task needs a person, unless that is noted already.
INSERT INTO tasker.dead_letters (task_uuid, original_state, reason, snapshot, metadata)
SELECT task_uuid, state, $2::text::tasker.dead_letter_reason,
       (tasker.task_snapshot(task_uuid)::jsonb || $3::jsonb)::json, $4::json
FROM tasker.tasks WHERE task_uuid = $1
ON CONFLICT (task_uuid, coalesce(ordinal, -1)) WHERE status = 'pending' DO NOTHING
RETURNING entry_uuid

-- name: find_dead_letters
-- Entries, newest first, with optional filters: status, reason, the entry, its task, namespaces. $6 is the last entry of
-- the page before.
SELECT entry.entry_uuid AS dlq_entry_uuid, entry.task_uuid,
       CASE WHEN entry.ordinal IS NOT NULL
            -- A step that a re-run removed is named by what was noted about it.
            THEN coalesce(step.name, entry.metadata -> 'failed_steps' -> 0 ->> 'name') END AS step,
       entry.original_state::text, entry.reason::text AS dlq_reason, entry.created_at AS dlq_timestamp,
       entry.status::text AS resolution_status, entry.resolved_at AS resolution_timestamp,
       entry.notes AS resolution_notes, entry.resolved_by, entry.snapshot AS task_snapshot, entry.metadata,
       coalesce(entry.updated_at, entry.resolved_at, entry.created_at) AS updated_at,
       template.namespace, template.name, template.version
FROM tasker.dead_letters AS entry
JOIN tasker.tasks AS task USING (task_uuid)
JOIN tasker.templates AS template USING (template_id)
LEFT JOIN tasker.steps AS step ON step.task_uuid = entry.task_uuid AND step.ordinal = entry.ordinal
WHERE ($1::text IS NULL OR entry.status::text = $1)
  AND ($2::text IS NULL OR entry.reason::text = $2)
  AND ($3::uuid IS NULL OR entry.entry_uuid = $3)
  AND ($4::uuid IS NULL OR entry.task_uuid = $4)
  AND ($5::text[] IS NULL OR template.namespace = ANY ($5))
  AND ($6::uuid IS NULL OR (entry.created_at, entry.entry_uuid)
       < (SELECT created_at, entry_uuid FROM tasker.dead_letters WHERE entry_uuid = $6))
ORDER BY entry.created_at DESC, entry.entry_uuid DESC
OFFSET $7 LIMIT $8

-- name: count_dead_letters
-- Entries by reason; all, or those of some namespaces.
SELECT entry.reason::text AS dlq_reason, count(*) AS total_entries,
       count(*) FILTER (WHERE entry.status = 'pending') AS pending,
       count(*) FILTER (WHERE entry.status = 'manually_resolved') AS manually_resolved,
       count(*) FILTER (WHERE entry.status = 'permanently_failed') AS permanent_failures,
       count(*) FILTER (WHERE entry.status = 'cancelled') AS cancelled,
       min(entry.created_at) AS oldest_entry, max(entry.created_at) AS newest_entry,
       (avg(extract(epoch FROM coalesce(entry.resolved_at, clock_timestamp()) - entry.created_at)) / 60)
           ::double precision AS avg_resolution_time_minutes
FROM tasker.dead_letters AS entry
WHERE $1::text[] IS NULL OR EXISTS (
    SELECT 1 FROM tasker.tasks AS task JOIN tasker.templates AS template USING (template_id)
    WHERE task.task_uuid = entry.task_uuid AND template.namespace = ANY ($1)
)
GROUP BY entry.reason ORDER BY entry.reason

-- name: dead_letters_to_investigate
-- Open entries, the most pressing ones first: how much that is follows from the reason and from the age in minutes.
WITH pressing AS MATERIALIZED (
    SELECT entry.*, template.namespace, template.name, task.state, task.created_at AS task_created_at, minutes.open,
           minutes.open + CASE entry.reason
               WHEN 'dependency_cycle_detected' THEN 1000 WHEN 'max_retries_exceeded' THEN 500
               WHEN 'staleness_timeout' THEN 100 WHEN 'worker_unavailable' THEN 50 ELSE 10
           END AS score
    FROM tasker.dead_letters AS entry
    JOIN tasker.tasks AS task USING (task_uuid)
    JOIN tasker.templates AS template USING (template_id)
    CROSS JOIN LATERAL (
        SELECT (extract(epoch FROM statement_timestamp() - entry.created_at) / 60)::double precision AS open
    ) AS minutes
    WHERE entry.status = 'pending' AND ($1::text[] IS NULL OR template.namespace = ANY ($1))
    ORDER BY score DESC, entry.entry_uuid
    LIMIT $2
)
SELECT entry_uuid AS dlq_entry_uuid, task_uuid, original_state::text, reason::text AS dlq_reason,
       created_at AS dlq_timestamp, open AS minutes_in_dlq, namespace AS namespace_name, name AS task_name,
       state::text AS current_state,
       floor(extract(epoch FROM statement_timestamp() - coalesce(
           (SELECT max(occurred_at) FROM tasker.task_transitions AS change
            WHERE change.task_uuid = pressing.task_uuid),
           task_created_at
       )) / 60)::integer AS time_in_state_minutes,
       score AS priority_score
FROM pressing ORDER BY score DESC, entry_uuid

-- name: update_dead_letter
-- Notes what is known about an entry; nulls change nothing. One that is closed is not opened again, since its task may
-- need nobody any more; then no row is returned.
UPDATE tasker.dead_letters
SET status = coalesce($2::text::tasker.dead_letter_status, status),
    resolved_at = CASE WHEN $2 <> 'pending' THEN clock_timestamp() ELSE resolved_at END,
    resolved_by = coalesce($3, resolved_by), notes = coalesce($4, notes), metadata = coalesce($5::json, metadata),
    updated_at = clock_timestamp()
WHERE entry_uuid = $1 AND ($2::text IS DISTINCT FROM 'pending' OR status = 'pending')
RETURNING entry_uuid
