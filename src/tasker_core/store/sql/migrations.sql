-- name: schema_version
-- The newest migration that ran here; also tells whether the database answers at all.
SELECT version_num FROM tasker_schema_version
