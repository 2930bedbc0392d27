-- What a service of many processes needs: templates by name, API keys, workers that are not on the database, search.

-- Templates that tasks may be created from by name. Tasks do not refer to these rows: each keeps its own content, see
-- templates.
CREATE TABLE tasker.registered_templates (
    namespace     text        NOT NULL,
    name          text        NOT NULL,
    version       text        NOT NULL,
    -- Names the content, before overrides of an environment are applied.
    digest        text        NOT NULL,
    definition    json        NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    registered_by text,
    PRIMARY KEY (namespace, name, version)
);

CREATE TABLE tasker.api_keys (
    key_uuid     uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- SHA-256 of the key. A key has 256 random bits, so it needs neither salt nor a slow hash.
    key_hash     bytea       NOT NULL UNIQUE,
    -- The beginning of the key, for people to tell keys apart.
    hint         text        NOT NULL,
    subject      text        NOT NULL,
    permissions  text[]      NOT NULL,
    -- Null: all.
    namespaces   text[],
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by   text,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    revoked_by   text,
    last_used_at timestamptz
);

ALTER TABLE tasker.workers
    -- What a worker that speaks to a server is known by.
    ADD COLUMN worker_uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Where it takes steps from; null: everywhere.
    ADD COLUMN namespaces  text[],
    -- Whose credential it registered with.
    ADD COLUMN subject     text,
    -- Steps that it runs at once.
    ADD COLUMN concurrency integer,
    -- The SDK and its version, such as python/0.1.0.
    ADD COLUMN sdk         text;
CREATE UNIQUE INDEX workers_by_uuid ON tasker.workers (worker_uuid);
CREATE INDEX workers_by_last_seen ON tasker.workers (last_seen_at);

ALTER TABLE tasker.dead_letters ADD COLUMN updated_at timestamptz;
CREATE INDEX dead_letters_by_task ON tasker.dead_letters (task_uuid, created_at);

CREATE INDEX tasks_by_correlation ON tasker.tasks (correlation_id);
CREATE INDEX tasks_by_tag ON tasker.tasks USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;

-- Block ranges cost next to nothing to keep, and rows arrive in the order of time.
CREATE INDEX step_transitions_by_time ON tasker.step_transitions USING brin (occurred_at) WITH (autosummarize = on);
CREATE INDEX task_transitions_by_time ON tasker.task_transitions USING brin (occurred_at) WITH (autosummarize = on);
