-- The daemon's own tables. Migrations only add: an older daemon can run on a newer schema.

CREATE TABLE scheduler.nodes (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  machine_id text NOT NULL,
  boot_id uuid NOT NULL,
  pid integer NOT NULL,
  version text NOT NULL,
  revision text,
  started_at timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL,
  stopped_at timestamptz
);
COMMENT ON TABLE scheduler.nodes IS 'one row per state directory that ever ran a daemon on this database';

CREATE TABLE scheduler.installation (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  system_identifier bigint NOT NULL,
  database_oid oid NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  restored_since timestamptz
);
COMMENT ON TABLE scheduler.installation IS 'which server this database was accepted on; another one means it was restored or copied';

CREATE TABLE scheduler.config_revisions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash text NOT NULL,
  in_force_from timestamptz NOT NULL,
  node uuid NOT NULL,
  configuration jsonb NOT NULL
);

CREATE TABLE scheduler.schedules (
  job text NOT NULL,
  scope text NOT NULL DEFAULT '',
  concurrency text NOT NULL,
  watermark timestamptz NOT NULL,
  audited_from timestamptz NOT NULL,
  span_run uuid,
  span_key text,
  PRIMARY KEY (job, scope)
) WITH (fillfactor = 70);
CREATE INDEX schedules_concurrency ON scheduler.schedules (concurrency);
COMMENT ON COLUMN scheduler.schedules.scope IS 'empty, or the node id for jobs that run on every node';
COMMENT ON COLUMN scheduler.schedules.watermark IS 'the last instant accounted for';
COMMENT ON COLUMN scheduler.schedules.span_key IS 'status:reason:blocker of the span that span_run may still extend';

CREATE TABLE scheduler.overrides (
  job text PRIMARY KEY,
  enabled boolean NOT NULL,
  reason text,
  actor text NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz
);

CREATE TABLE scheduler.runs (
  id uuid PRIMARY KEY,
  job text NOT NULL,
  scope text NOT NULL DEFAULT '',
  kind text NOT NULL CHECK (kind IN ('cron', 'startup', 'manual', 'catch_up', 'retry')),
  status text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'timed_out',
                                         'cancelled', 'lost', 'skipped', 'missed')),
  reason text,
  scheduled_for timestamptz,
  last_for timestamptz,
  instants integer NOT NULL DEFAULT 1,
  planned boolean NOT NULL DEFAULT false,
  concurrency text NOT NULL,
  waiting text CHECK (waiting IN ('worker', 'overlap', 'retry')),
  not_before timestamptz,
  claimed_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  lateness_ms double precision,
  duration_ms double precision,
  items_processed bigint,
  items_failed bigint,
  message text,
  error text,
  traceback text,
  steps jsonb,
  parameters jsonb,
  actor text,
  node uuid,
  boot_id uuid,
  worker_pid integer,
  worker_start bigint,
  claim_token uuid,
  revision text,
  attempt integer NOT NULL DEFAULT 1,
  first_run uuid,
  blocked_by uuid,
  logs_dropped integer,
  late_outcome jsonb,
  cancel_requested text
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX runs_planned ON scheduler.runs (job, scope, scheduled_for) WHERE planned;
CREATE INDEX runs_live ON scheduler.runs (concurrency) WHERE status IN ('queued', 'running');
CREATE INDEX runs_by_job ON scheduler.runs (job, id);
CREATE INDEX runs_gone_wrong ON scheduler.runs (status, id) WHERE status IN ('failed', 'timed_out', 'cancelled', 'lost');
COMMENT ON COLUMN scheduler.runs.planned IS 'true: scheduled_for … last_for are instants of the schedule, and this row is their disposition';
COMMENT ON COLUMN scheduler.runs.instants IS 'how many planned instants a skipped or missed span covers';

CREATE TABLE scheduler.logs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  level text NOT NULL,
  module text NOT NULL,
  message text NOT NULL,
  run_id uuid,
  job text,
  node uuid,
  fields jsonb
);
CREATE INDEX logs_by_time ON scheduler.logs USING brin (at);
CREATE INDEX logs_by_run ON scheduler.logs (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX logs_by_job ON scheduler.logs (job, id) WHERE job IS NOT NULL;

CREATE TABLE scheduler.actions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  node uuid,
  uid integer,
  user_name text,
  pid integer,
  action text NOT NULL,
  target text,
  before jsonb,
  after jsonb,
  error text
);

-- What application jobs may read of their own history, without rights on schema scheduler.
CREATE VIEW public.scheduler_job_runs AS
  SELECT id, job, kind, status, reason, scheduled_for, started_at, finished_at,
         lateness_ms, duration_ms, instants, items_processed, items_failed, message, error
  FROM scheduler.runs;
