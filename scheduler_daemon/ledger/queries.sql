-- lock_schedules --
-- Lock every schedule of the concurrency keys, in order: sorted, or two batches deadlock.
SELECT s.job, s.scope, s.watermark, s.span_run, s.span_key, o.enabled
FROM scheduler.schedules s
LEFT JOIN scheduler.overrides o ON o.job = s.job AND (o.until IS NULL OR o.until > clock_timestamp())
WHERE s.concurrency = ANY(%(keys)s)
ORDER BY s.job, s.scope
FOR UPDATE OF s

-- live_runs --
-- What is queued or running under these keys, after the nodes' common time and the revision in force, which
-- are there without any run. A statement of its own, so that it sees what the lock waited for.
SELECT c.now, c.in_force, r.concurrency, r.id, r.job, r.kind, r.status, r.waiting, r.scope
FROM (SELECT clock_timestamp() AS now,
             (SELECT hash FROM scheduler.config_revisions ORDER BY id DESC LIMIT 1) AS in_force) AS c
LEFT JOIN scheduler.runs r ON r.status IN ('queued', 'running') AND r.concurrency = ANY(%(keys)s)
ORDER BY r.id

-- insert_runs --
-- One row for each run or span. What is usual is left out: a planned run of a job under its own key.
INSERT INTO scheduler.runs (id, job, scope, kind, status, reason, scheduled_for, last_for, instants, planned,
  concurrency, waiting, not_before, claimed_at, finished_at, parameters, actor, node, boot_id, claim_token,
  revision, attempt, first_run, blocked_by, message)
SELECT u.id, u.job, coalesce(u.scope, ''), coalesce(u.kind, 'cron'), coalesce(u.status, 'running'), u.reason,
  u.first, coalesce(u.last, u.first), coalesce(u.instants, 1), coalesce(u.planned, u.first IS NOT NULL),
  coalesce(u.concurrency, u.job), u.waiting, u.not_before, %(now)s,
  CASE WHEN u.status IN ('skipped', 'missed') THEN %(now)s END,
  u.parameters, u.actor, %(node)s, %(boot)s, %(token)s, %(revision)s,
  coalesce(u.attempt, 1), u.first_run, u.blocked_by, u.message
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, job text, scope text, kind text, status text, reason text,
  first timestamptz, last timestamptz, instants int, planned bool, concurrency text, waiting text,
  not_before timestamptz, parameters jsonb, actor text, attempt int, first_run uuid, blocked_by uuid, message text)
ORDER BY u.job, u.scope, u.first
ON CONFLICT DO NOTHING
RETURNING id

-- extend_spans --
-- The reason lasts: more instants for a row that is there.
UPDATE scheduler.runs r
SET last_for = u.last, instants = r.instants + u.instants, finished_at = %(now)s
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, last timestamptz, instants int)
WHERE r.id = u.id

-- move_watermarks --
-- Everything up to here now has its disposition. Most schedules have an empty scope.
UPDATE scheduler.schedules s
SET watermark = u.watermark, span_run = u.span_run, span_key = u.span_key
FROM json_to_recordset(%(rows)s::json)
  AS u(job text, scope text, watermark timestamptz, span_run uuid, span_key text)
WHERE s.job = u.job AND s.scope = coalesce(u.scope, '')

-- database_time --
-- The clock that nodes share.
SELECT clock_timestamp()

-- register_schedules --
-- A job that enters the plan: accounted for from now on. One that is there keeps its watermark.
INSERT INTO scheduler.schedules (job, scope, concurrency, watermark, audited_from)
SELECT u.job, u.scope, u.concurrency, %(now)s, %(now)s
FROM json_to_recordset(%(rows)s::json) AS u(job text, scope text, concurrency text)
ORDER BY u.job, u.scope
ON CONFLICT (job, scope) DO UPDATE SET concurrency = EXCLUDED.concurrency
WHERE schedules.concurrency <> EXCLUDED.concurrency

-- lock_revisions --
-- One at a time changes what is in force; readers are not held up.
LOCK TABLE scheduler.config_revisions IN SHARE ROW EXCLUSIVE MODE

-- lock_all_schedules --
-- Nobody claims while this transaction lasts.
SELECT job, scope, watermark FROM scheduler.schedules ORDER BY job, scope FOR UPDATE

-- all_schedules --
-- Every schedule, with what a claim needs of it; under the lock of lock_all_schedules.
SELECT s.job, s.scope, s.watermark, s.span_run, s.span_key, o.enabled
FROM scheduler.schedules s
LEFT JOIN scheduler.overrides o ON o.job = s.job AND (o.until IS NULL OR o.until > clock_timestamp())

-- advance_watermarks --
-- What was planned until then is settled, and a span that was open goes on if its reason does. Or nothing
-- was planned until then: the job had left the plan and comes back.
UPDATE scheduler.schedules s
SET watermark = greatest(s.watermark, u.watermark),
    span_run = CASE WHEN NOT %(anew)s THEN s.span_run END,
    span_key = CASE WHEN NOT %(anew)s THEN s.span_key END
FROM json_to_recordset(%(rows)s::json) AS u(job text, scope text, watermark timestamptz)
WHERE s.job = u.job AND s.scope = u.scope

-- clear_watermark --
-- An operator's remedy for a watermark in the future: the job is accounted for anew from now on.
UPDATE scheduler.schedules s
SET watermark = %(now)s, audited_from = %(now)s, span_run = NULL, span_key = NULL
FROM (SELECT job, scope, watermark FROM scheduler.schedules WHERE job = %(job)s FOR UPDATE) AS old
WHERE s.job = old.job AND s.scope = old.scope AND s.watermark > %(now)s RETURNING old.watermark

-- unplan --
-- What stands for instants after a moment stands for them no more.
UPDATE scheduler.runs SET planned = scheduled_for <= %(now)s, last_for = least(last_for, %(now)s)
WHERE job = %(job)s AND planned AND last_for > %(now)s

-- start_waiting --
-- Compare-and-set from queued to running, for runs that only waited for a worker.
UPDATE scheduler.runs
SET status = 'running', waiting = NULL, node = %(node)s, boot_id = %(boot)s, claim_token = %(token)s
WHERE id = ANY(%(ids)s) AND status = 'queued'
RETURNING id

-- lock_key --
-- For a key under which nothing is scheduled.
SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))

-- next_waiting --
-- Runs of these keys whose turn it may be, first come, first served; under the lock of lock_schedules.
-- A startup run belongs to the daemon that asked for it.
SELECT r.id, r.job, r.scope, r.kind, r.status, r.concurrency, r.waiting, r.scheduled_for, r.not_before,
       r.parameters, r.attempt, r.first_run, r.node, r.boot_id, r.claim_token
FROM scheduler.runs r
WHERE r.concurrency = ANY(%(keys)s) AND r.status = 'queued' AND r.waiting IN ('overlap', 'retry')
  AND (r.not_before IS NULL OR r.not_before <= %(now)s) AND (r.kind <> 'startup' OR r.node = %(node)s)
ORDER BY r.id

-- keys_waiting --
-- Those of the keys under which something waits, for its turn or for its time.
SELECT DISTINCT concurrency FROM scheduler.runs
WHERE status = 'queued' AND waiting IN ('overlap', 'retry') AND concurrency = ANY(%(keys)s)

-- end_queued --
-- A run that never started is ended on purpose.
UPDATE scheduler.runs
SET status = 'cancelled', reason = %(reason)s, waiting = NULL, finished_at = %(now)s, message = %(message)s
WHERE id = ANY(%(ids)s) AND status = 'queued'
RETURNING id, concurrency

-- request_cancel --
-- For the node that has the run; it looks at least every second where there are several nodes.
UPDATE scheduler.runs SET cancel_requested = %(reason)s WHERE id = ANY(%(ids)s) AND status = 'running'

-- cancels_requested --
-- What others asked this process to cancel.
SELECT id, cancel_requested FROM scheduler.runs
WHERE status = 'running' AND boot_id = %(boot)s AND cancel_requested IS NOT NULL

-- record_started --
-- Where a run runs; its outcome may already be there.
UPDATE scheduler.runs r
SET started_at = to_timestamp(u.started_at), worker_pid = u.pid, worker_start = u.start,
    lateness_ms = (u.started_at - extract(epoch FROM coalesce(r.scheduled_for, r.not_before, r.claimed_at))) * 1000
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, token uuid, started_at double precision, pid int, start bigint)
WHERE r.id = u.id AND r.claim_token = u.token AND r.status = 'running'

-- record_outcomes --
-- How runs ended; only where the run is still ours and still running.
UPDATE scheduler.runs r
SET status = u.status, reason = u.reason, started_at = coalesce(to_timestamp(u.started_at), r.started_at),
    finished_at = to_timestamp(u.finished_at),
    lateness_ms = coalesce(
      (u.started_at - extract(epoch FROM coalesce(r.scheduled_for, r.not_before, r.claimed_at))) * 1000, r.lateness_ms),
    duration_ms = (u.finished_at - coalesce(u.started_at, extract(epoch FROM r.started_at))) * 1000,
    items_processed = u.processed, items_failed = u.failed, message = u.message, error = u.error,
    traceback = u.traceback, steps = u.steps, logs_dropped = u.logs_dropped,
    worker_pid = coalesce(u.pid, r.worker_pid), worker_start = coalesce(u.start, r.worker_start)
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, token uuid, status text, reason text,
  started_at double precision, finished_at double precision, processed bigint, failed bigint, message text,
  error text, traceback text, steps jsonb, logs_dropped int, pid int, start bigint)
WHERE r.id = u.id AND r.claim_token = u.token AND r.status = 'running'
RETURNING r.id

-- record_late_outcomes --
-- A result after a verdict of `lost` is kept beside it, never over it.
UPDATE scheduler.runs r SET late_outcome = u.outcome
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, token uuid, outcome jsonb)
WHERE r.id = u.id AND r.claim_token = u.token AND r.status = 'lost' AND r.late_outcome IS NULL

-- insert_retries --
-- A run of its own that names its first; it waits until its time.
INSERT INTO scheduler.runs (id, job, scope, kind, status, waiting, not_before, concurrency, claimed_at,
  parameters, node, boot_id, claim_token, revision, attempt, first_run)
SELECT u.id, u.job, u.scope, 'retry', 'queued', 'retry', to_timestamp(u.not_before), u.concurrency,
  clock_timestamp(), f.parameters, %(node)s, %(boot)s, u.id, f.revision, u.attempt, u.first_run
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, of uuid, job text, scope text, not_before double precision,
  concurrency text, attempt int, first_run uuid)
JOIN scheduler.runs f ON f.id = u.of

-- insert_logs --
-- What jobs and the daemon logged.
INSERT INTO scheduler.logs (at, level, module, message, run_id, job, node, fields)
SELECT to_timestamp(u.at), u.level, u.module, u.message, u.run_id, u.job, %(node)s, u.fields
FROM json_to_recordset(%(rows)s::json)
  AS u(at double precision, level text, module text, message text, run_id uuid, job text, fields jsonb)

-- register_node --
-- A daemon that starts on its state directory.
INSERT INTO scheduler.nodes (id, name, machine_id, boot_id, pid, version, revision, started_at, heartbeat_at)
VALUES (%(id)s, %(name)s, %(machine_id)s, %(boot)s, %(pid)s, %(version)s, %(revision)s, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, machine_id = EXCLUDED.machine_id, boot_id = EXCLUDED.boot_id,
  pid = EXCLUDED.pid, version = EXCLUDED.version, revision = EXCLUDED.revision,
  started_at = EXCLUDED.started_at, heartbeat_at = EXCLUDED.heartbeat_at, stopped_at = NULL

-- heartbeat --
-- This node lives; the time of its last sign of life comes back.
UPDATE scheduler.nodes SET heartbeat_at = %(now)s, revision = %(revision)s
WHERE id = %(id)s AND boot_id = %(boot)s RETURNING heartbeat_at

-- stop_node --
-- A daemon that stopped in order.
UPDATE scheduler.nodes SET stopped_at = %(now)s WHERE id = %(id)s AND boot_id = %(boot)s

-- nodes --
-- All nodes that ever were.
SELECT id, name, machine_id, boot_id, pid, version, revision, started_at, heartbeat_at, stopped_at
FROM scheduler.nodes ORDER BY name, id

-- orphans_of_node --
-- Live runs that earlier daemons of this state directory left.
SELECT id, job, scope, kind, status, concurrency, waiting, scheduled_for, not_before, parameters, attempt,
       first_run, node, boot_id, claim_token
FROM scheduler.runs
WHERE status IN ('queued', 'running') AND node = %(node)s AND boot_id <> %(boot)s
ORDER BY id

-- orphans_of_others --
-- Live runs of daemons without a sign of life since the given time, or that have stopped.
SELECT r.id, r.job, r.scope, r.kind, r.status, r.concurrency, r.waiting, r.scheduled_for, r.not_before, r.parameters,
       r.attempt, r.first_run, r.node, r.boot_id, r.claim_token
FROM scheduler.runs r JOIN scheduler.nodes n ON n.id = r.node
WHERE r.status IN ('queued', 'running') AND r.node <> %(node)s
  AND (n.heartbeat_at < %(silent_since)s OR n.stopped_at IS NOT NULL OR n.boot_id <> r.boot_id)
ORDER BY r.id

-- own_live --
-- What this very process should have in hand.
SELECT id, job, scope, kind, status, concurrency, waiting, scheduled_for, not_before, parameters, attempt,
       first_run, node, boot_id, claim_token
FROM scheduler.runs
WHERE status IN ('queued', 'running') AND boot_id = %(boot)s
ORDER BY id

-- declare_lost --
-- The verdict on running rows whose worker or node is gone; not if their daemon has been heard of since.
UPDATE scheduler.runs r
SET status = 'lost', reason = %(reason)s, finished_at = %(now)s, error = %(message)s, waiting = NULL
FROM json_to_recordset(%(rows)s::json) AS u(id uuid, token uuid)
WHERE r.id = u.id AND r.claim_token IS NOT DISTINCT FROM u.token AND r.status = 'running'
  AND NOT EXISTS (SELECT 1 FROM scheduler.nodes n WHERE n.id = r.node AND n.boot_id = r.boot_id
                  AND n.stopped_at IS NULL AND n.heartbeat_at >= %(silent_since)s)
RETURNING r.id

-- adopt_queued --
-- Queued rows of a daemon that is gone become this one's.
UPDATE scheduler.runs SET node = %(node)s, boot_id = %(boot)s, claim_token = %(token)s,
  waiting = coalesce(waiting, 'worker')
WHERE id = ANY(%(ids)s) AND status = 'queued'
RETURNING id

-- latest_revision --
-- What is in force.
SELECT id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions ORDER BY id DESC LIMIT 1

-- revisions_since --
-- Oldest first, from the one that was in force at that moment.
SELECT id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
WHERE id >= coalesce((SELECT max(id) FROM scheduler.config_revisions WHERE in_force_from <= %(since)s), 0)
ORDER BY id

-- insert_revision --
-- From now on this is in force.
INSERT INTO scheduler.config_revisions (hash, in_force_from, node, configuration)
VALUES (%(hash)s, %(now)s, %(node)s, %(configuration)s::jsonb)

-- revisions --
-- Newest first.
SELECT id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
ORDER BY id DESC LIMIT %(limit)s

-- revisions_until --
-- Every revision that was in force at some moment of the span, oldest first.
SELECT id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
WHERE in_force_from <= %(until)s ORDER BY id

-- installation --
-- Which server the ledger was accepted on, and which one it is on now.
SELECT i.system_identifier, i.database_oid, i.restored_since,
       (SELECT system_identifier FROM pg_control_system()),
       (SELECT oid FROM pg_database WHERE datname = current_database())
FROM (SELECT 1) AS one LEFT JOIN scheduler.installation i ON true

-- accept_installation --
-- This server and database are the ledger's own from now on.
INSERT INTO scheduler.installation (system_identifier, database_oid)
SELECT (SELECT system_identifier FROM pg_control_system()),
       (SELECT oid FROM pg_database WHERE datname = current_database())
ON CONFLICT (only_row) DO UPDATE SET system_identifier = EXCLUDED.system_identifier,
  database_oid = EXCLUDED.database_oid, accepted_at = now(), restored_since = NULL

-- mark_restored --
-- The ledger woke up on another server than it was written on.
UPDATE scheduler.installation SET restored_since = coalesce(restored_since, %(now)s)

-- overrides --
-- What operators decided over the file.
SELECT job, enabled, reason, actor, since, until FROM scheduler.overrides

-- set_override --
-- An operator's enable or disable.
INSERT INTO scheduler.overrides (job, enabled, reason, actor, since, until)
VALUES (%(job)s, %(enabled)s, %(reason)s, %(actor)s, %(now)s, %(until)s)
ON CONFLICT (job) DO UPDATE SET enabled = EXCLUDED.enabled, reason = EXCLUDED.reason, actor = EXCLUDED.actor,
  since = EXCLUDED.since, until = EXCLUDED.until

-- clear_override --
-- Back to what the file says.
DELETE FROM scheduler.overrides WHERE job = %(job)s RETURNING enabled

-- expired_overrides --
-- Those whose time is over.
DELETE FROM scheduler.overrides WHERE until <= %(now)s RETURNING job, enabled, reason, actor, since, until

-- record_action --
-- Who did what.
INSERT INTO scheduler.actions (node, uid, user_name, pid, action, target, before, after, error)
VALUES (%(node)s, %(uid)s, %(user_name)s, %(pid)s, %(action)s, %(target)s, %(before)s::jsonb, %(after)s::jsonb,
        %(error)s)

-- actions --
-- Newest first.
SELECT id, at, uid, user_name, pid, action, target, before, after, error FROM scheduler.actions
ORDER BY id DESC LIMIT %(limit)s

-- runs --
-- History, newest first.
SELECT * FROM scheduler.runs
WHERE (%(job)s::text IS NULL OR job = %(job)s) AND (%(status)s::text[] IS NULL OR status = ANY(%(status)s))
  AND (%(since)s::timestamptz IS NULL OR coalesce(finished_at, claimed_at) >= %(since)s)
ORDER BY id DESC LIMIT %(limit)s

-- run --
-- One run.
SELECT * FROM scheduler.runs WHERE id = %(id)s

-- runs_like --
-- Runs whose id starts so: people type the first few characters.
SELECT id FROM scheduler.runs WHERE id BETWEEN %(first)s AND %(last)s ORDER BY id DESC LIMIT 2

-- last_runs --
-- The last row of each job that is not a span.
SELECT DISTINCT ON (job) * FROM scheduler.runs
WHERE job = ANY(%(jobs)s) AND status NOT IN ('skipped', 'missed', 'queued') ORDER BY job, id DESC

-- live --
-- Everything queued or running now.
SELECT * FROM scheduler.runs WHERE status IN ('queued', 'running') ORDER BY id

-- recent_outcomes --
-- What the health of jobs is judged by.
SELECT job, status, duration_ms FROM (
  SELECT job, status, duration_ms, row_number() OVER (PARTITION BY job ORDER BY id DESC) AS n
  FROM scheduler.runs WHERE job = %(job)s AND status IN ('succeeded', 'failed', 'timed_out', 'lost')
) AS recent WHERE n <= 50

-- runs_between --
-- Every row that touches a span of time, for the timeline and for answers.
SELECT * FROM scheduler.runs
WHERE (%(job)s::text IS NULL OR job = %(job)s)
  AND coalesce(last_for, finished_at, claimed_at) >= %(start)s
  AND coalesce(scheduled_for, claimed_at) <= %(until)s
ORDER BY job, coalesce(scheduled_for, claimed_at) LIMIT %(limit)s

-- logs --
-- Log lines, newest first.
SELECT l.id, l.at, l.level, l.module, l.message, l.run_id, l.job, l.fields FROM scheduler.logs l
WHERE (%(levels)s::text[] IS NULL OR l.level = ANY(%(levels)s))
  AND (%(job)s::text IS NULL OR l.job = %(job)s)
  AND (%(run_id)s::uuid IS NULL OR l.run_id = %(run_id)s)
  AND (%(module)s::text IS NULL OR l.module LIKE %(module)s)
  AND (%(since)s::timestamptz IS NULL OR l.at >= %(since)s)
  AND (%(pattern)s::text IS NULL OR l.message ILIKE %(pattern)s)
  AND (%(after)s::bigint IS NULL OR l.id > %(after)s)
ORDER BY l.id DESC LIMIT %(limit)s

-- logs_after --
-- The lines that follow one, oldest first, for those who follow.
SELECT l.id, l.at, l.level, l.module, l.message, l.run_id, l.job, l.fields FROM scheduler.logs l
WHERE l.id > %(after)s
  AND (%(levels)s::text[] IS NULL OR l.level = ANY(%(levels)s))
  AND (%(job)s::text IS NULL OR l.job = %(job)s)
  AND (%(run_id)s::uuid IS NULL OR l.run_id = %(run_id)s)
  AND (%(module)s::text IS NULL OR l.module LIKE %(module)s)
  AND (%(pattern)s::text IS NULL OR l.message ILIKE %(pattern)s)
ORDER BY l.id LIMIT %(limit)s

-- last_log --
-- Where following starts.
SELECT coalesce(max(id), 0) AS id FROM scheduler.logs

-- app_log_columns --
-- What the application's log has of what it may have.
SELECT attname AS name, format_type(atttypid, NULL) AS kind FROM pg_attribute
WHERE attrelid = to_regclass('public.logs') AND attnum > 0 AND NOT attisdropped

-- revisions_around --
-- The one in force at a moment, the one before it and the one after it.
(SELECT 'after' AS place, id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
 WHERE in_force_from > %(at)s ORDER BY id LIMIT 1)
UNION ALL
(SELECT 'at', id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
 WHERE in_force_from <= %(at)s ORDER BY id DESC LIMIT 1)
UNION ALL
(SELECT 'before', id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
 WHERE in_force_from <= %(at)s ORDER BY id DESC OFFSET 1 LIMIT 1)

-- revisions_with_job --
-- The last one before a moment that had the job, and the first one after it that has.
(SELECT 'before' AS place, id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
 WHERE in_force_from <= %(at)s AND configuration #> '{configuration,scheduler,jobs}'
   @> jsonb_build_array(jsonb_build_object('name', %(job)s::text)) ORDER BY id DESC LIMIT 1)
UNION ALL
(SELECT 'after', id, hash, in_force_from, node, configuration::text FROM scheduler.config_revisions
 WHERE in_force_from > %(at)s AND configuration #> '{configuration,scheduler,jobs}'
   @> jsonb_build_array(jsonb_build_object('name', %(job)s::text)) ORDER BY id LIMIT 1)

-- dispositions --
-- The rows that account for a job's instants; an instant that the clock jumped over has one, too.
SELECT * FROM scheduler.runs
WHERE job = %(job)s AND scope = ANY(%(scopes)s) AND (planned OR reason = 'dst_gap')
  AND last_for >= %(first)s AND scheduled_for <= %(last)s
ORDER BY scheduled_for, id LIMIT %(limit)s

-- unplanned_runs --
-- By hand, at startup, retries.
SELECT * FROM scheduler.runs
WHERE job = %(job)s AND NOT planned AND scheduled_for IS NULL
  AND coalesce(started_at, claimed_at) BETWEEN %(start)s AND %(until)s
ORDER BY id LIMIT %(limit)s

-- next_planned_run --
-- The first planned instant after a moment that was not written off.
SELECT * FROM scheduler.runs
WHERE job = %(job)s AND scope = ANY(%(scopes)s) AND planned AND scheduled_for > %(at)s
  AND status NOT IN ('skipped', 'missed')
ORDER BY scheduled_for LIMIT 1

-- actions_on --
-- What was done to a job or a run, newest first.
SELECT id, at, uid, user_name, pid, action, target, before, after, error FROM scheduler.actions
WHERE target = %(target)s AND action = ANY(%(actions)s) AND at <= %(until)s AND error IS NULL
ORDER BY id DESC LIMIT 10

-- outages_since --
-- Starts of daemons, with the last sign of life before them, and ends of outages.
SELECT id, at, uid, user_name, pid, action, target, before, after, error FROM scheduler.actions
WHERE action IN ('start', 'outage') AND at >= %(since)s ORDER BY id LIMIT 50

-- timeline --
-- How many rows of each job and status fall into each bucket; a span of instants fills all of its buckets.
SELECT job, status, first, least(last, %(buckets)s - 1) AS last, sum(instants)::int AS number FROM (
  SELECT job, status, instants,
    greatest(0, floor(extract(epoch FROM coalesce(scheduled_for, started_at, claimed_at) - %(start)s)
                      / %(bucket_s)s))::int AS first,
    greatest(0, floor(extract(epoch FROM coalesce(last_for, started_at, claimed_at) - %(start)s)
                      / %(bucket_s)s))::int AS last
  FROM scheduler.runs
  WHERE coalesce(last_for, started_at, claimed_at) >= %(start)s
    AND coalesce(scheduled_for, started_at, claimed_at) < %(until)s
    AND (%(job)s::text IS NULL OR job = %(job)s)
) AS placed GROUP BY job, status, first, last ORDER BY job, first

-- audited_schedules --
-- From when to when each job is accounted for.
SELECT job, scope, audited_from, watermark FROM scheduler.schedules
WHERE (%(job)s::text IS NULL OR job = %(job)s) ORDER BY job, scope

-- planned_rows --
-- The dispositions of one job in a span, for the audit.
SELECT id, status, reason, scheduled_for, last_for, instants FROM scheduler.runs
WHERE job = %(job)s AND scope = %(scope)s AND planned AND last_for > %(start)s AND scheduled_for <= %(until)s
ORDER BY scheduled_for

-- prunable_runs --
-- A small batch of ended rows past their age or count; not those that the next instant may extend.
SELECT id, job, scope, planned, last_for FROM (
  SELECT id, job, scope, planned, last_for, coalesce(finished_at, claimed_at) AS ended,
         row_number() OVER (PARTITION BY job ORDER BY id DESC) AS n
  FROM scheduler.runs WHERE job = %(job)s AND status NOT IN ('queued', 'running')
    AND id NOT IN (SELECT span_run FROM scheduler.schedules WHERE job = %(job)s AND span_run IS NOT NULL)
) AS r WHERE r.n > %(max_per_job)s OR r.ended < %(before)s
ORDER BY r.id LIMIT %(batch)s

-- advance_audit --
-- What is pruned is no longer promised.
UPDATE scheduler.schedules s SET audited_from = greatest(s.audited_from, u.last)
FROM json_to_recordset(%(rows)s::json) AS u(job text, scope text, last timestamptz)
WHERE s.job = u.job AND s.scope = u.scope

-- delete_runs --
DELETE FROM scheduler.runs WHERE id = ANY(%(ids)s)

-- count_old_logs --
-- What pruning would remove.
SELECT count(*) AS number FROM scheduler.logs WHERE at < %(before)s

-- prune_logs --
-- A small batch of old log lines.
DELETE FROM scheduler.logs WHERE id IN (
  SELECT id FROM scheduler.logs WHERE at < %(before)s ORDER BY id LIMIT %(batch)s)

-- jobs_with_history --
SELECT DISTINCT job FROM scheduler.runs

-- terminate_backends --
-- A run's SQL ends with the run: its connections carry its name.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %(name)s AND pid <> pg_backend_pid()
