-- name: schema_version
-- The newest migration that ran here.
SELECT version_num FROM tasker_schema_version
