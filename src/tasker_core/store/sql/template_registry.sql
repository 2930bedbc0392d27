-- name: register_template
-- Stores a template under its name and version. One that is there already stays, unless its content is another one and
-- is to be replaced ($7); then no row is returned. Only a row that was there before has been locked by this statement.
INSERT INTO tasker.registered_templates AS registered (namespace, name, version, digest, definition, registered_by)
VALUES ($1, $2, $3, $4, $5::json, $6)
ON CONFLICT (namespace, name, version) DO UPDATE
SET digest = excluded.digest, definition = excluded.definition,
    registered_at = clock_timestamp(), registered_by = excluded.registered_by
WHERE $7 AND registered.digest <> excluded.digest
RETURNING xmax = 0 AS is_new

-- name: registered_template
-- Reads one template.
SELECT digest, definition FROM tasker.registered_templates WHERE namespace = $1 AND name = $2 AND version = $3

-- name: versions
-- The versions of a template.
SELECT version, digest FROM tasker.registered_templates WHERE namespace = $1 AND name = $2

-- name: list_templates
-- All templates, or those of some namespaces.
SELECT namespace, name, version, definition ->> 'description' AS description,
       json_array_length(definition -> 'steps') AS step_count, registered_at, registered_by
FROM tasker.registered_templates
WHERE $1::text[] IS NULL OR namespace = ANY ($1)
ORDER BY namespace, name

-- name: count_templates
-- How many templates each namespace has; all, or some namespaces.
SELECT namespace, count(*) AS template_count FROM tasker.registered_templates
WHERE $1::text[] IS NULL OR namespace = ANY ($1)
GROUP BY namespace ORDER BY namespace

-- name: delete_template
-- Forgets a template.
DELETE FROM tasker.registered_templates WHERE namespace = $1 AND name = $2 AND version = $3 RETURNING true
