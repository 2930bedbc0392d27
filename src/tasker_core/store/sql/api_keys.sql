-- name: insert_key
-- Stores a key by its hash.
INSERT INTO tasker.api_keys (key_hash, hint, subject, permissions, namespaces, expires_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING key_uuid, hint, subject, permissions, namespaces, created_at, created_by, expires_at, revoked_at,
          revoked_by, last_used_at, expires_at <= clock_timestamp() AS expired

-- name: list_keys
-- Keys whose namespaces are all among $2 (null: any keys), newest first; those that are not valid any more only
-- if $1.
SELECT key_uuid, hint, subject, permissions, namespaces, created_at, created_by, expires_at, revoked_at, revoked_by,
       last_used_at, expires_at <= clock_timestamp() AS expired
FROM tasker.api_keys
WHERE ($1 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())))
  AND ($2::text[] IS NULL OR namespaces <@ $2)
ORDER BY created_at DESC, key_uuid

-- name: revoke_key
-- Revokes a key whose namespaces are all among $3 (null: any key). One that is revoked already stays as it is.
UPDATE tasker.api_keys
SET revoked_at = coalesce(revoked_at, clock_timestamp()),
    revoked_by = CASE WHEN revoked_at IS NULL THEN $2 ELSE revoked_by END
WHERE key_uuid = $1 AND ($3::text[] IS NULL OR namespaces <@ $3)
RETURNING key_uuid, hint, subject, permissions, namespaces, created_at, created_by, expires_at, revoked_at,
          revoked_by, last_used_at, expires_at <= clock_timestamp() AS expired

-- name: valid_key
-- Finds a key by its hash if it is valid: whose it is, for how many seconds yet (null: for ever), and whether the
-- time of its last use is to be noted again.
SELECT key_uuid, subject, permissions, namespaces,
       extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left,
       last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute' AS use_due
FROM tasker.api_keys
WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())

-- name: key_used
-- Notes that a key was used, once a minute at most.
UPDATE tasker.api_keys SET last_used_at = clock_timestamp()
WHERE key_uuid = $1 AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
