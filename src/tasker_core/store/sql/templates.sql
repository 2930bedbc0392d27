-- name: insert_template
-- Stores a resolved template unless its content is there already.
INSERT INTO tasker.templates (digest, namespace, name, version, environment, definition)
VALUES ($1, $2, $3, $4, $5, $6::json)
ON CONFLICT (digest) DO NOTHING
RETURNING template_id

-- name: insert_template_steps
-- Stores the graph of a template. Array columns arrive as JSON, since arrays of arrays must be rectangular.
INSERT INTO tasker.template_steps (
    template_id, ordinal, name, callable, max_attempts, initial, dependencies, dependents
)
SELECT $1, ordinal, name, callable, max_attempts, initial,
       ARRAY(SELECT json_array_elements_text(dependencies)::integer),
       ARRAY(SELECT json_array_elements_text(dependents)::integer)
FROM unnest($2::integer[], $3::text[], $4::text[], $5::integer[], $6::boolean[], $7::json[], $8::json[])
    AS s (ordinal, name, callable, max_attempts, initial, dependencies, dependents)

-- name: template_id_by_digest
-- Finds a template by its content.
SELECT template_id FROM tasker.templates WHERE digest = $1

-- name: template_by_id
-- Reads a template as it was stored.
SELECT environment, definition FROM tasker.templates WHERE template_id = $1
