-- hours --
-- People's traffic of each day until a time of the day (seconds after midnight on the site's clocks).
SELECT day, count(*), coalesce(sum(views), 0)::bigint, count(DISTINCT visitor), count(*) FILTER (WHERE views = 1)
FROM (
    SELECT day, visitor, width_bucket(%(until_s)s - 1, seen_at) AS views FROM public.analytics_sessions
    WHERE NOT bot AND day BETWEEN %(first)s AND %(today)s
) AS visits WHERE views > 0 GROUP BY day

-- medians --
-- Time on page of the same views, in milliseconds: (day, median, mean).
SELECT s.day, percentile_cont(0.5) WITHIN GROUP (ORDER BY v.ms), avg(v.ms)::float8
FROM public.analytics_sessions s, unnest(s.seen_at, s.times) AS v (at, ms)
WHERE NOT s.bot AND s.day BETWEEN %(first)s AND %(today)s AND v.at < %(until_s)s AND v.ms > 0 GROUP BY s.day

-- robots --
SELECT count(*) FROM public.analytics_sessions
WHERE bot AND day = %(today)s AND width_bucket(%(until_s)s - 1, seen_at) > 0

-- measured --
-- The first day that was measured at all, and the first of which it is known what happened at which hour.
SELECT min(d.day), (SELECT s.open_from FROM public.analytics_state s)
FROM public.analytics_page_days d WHERE d.page = 0

-- site_days --
SELECT day, views, visits, visitors, bounces, timed, time_ms FROM public.analytics_page_days
WHERE page = 0 AND day BETWEEN %(first)s AND %(last)s

-- top_content --
-- The most viewed contents of the same views: (content, title, path, views, visitors, median, trend). What has been
-- deleted since has no path any more.
SELECT p.content_id, coalesce(p.title, p.content_id), CASE WHEN c.id IS NOT NULL THEN p.path END, v.views, v.visitors,
    v.median_ms, coalesce(m.trend_direction, 'stable')
FROM (
    SELECT v.page, count(*) AS views, count(DISTINCT s.visitor) AS visitors,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY v.ms) FILTER (WHERE v.ms > 0) AS median_ms
    FROM public.analytics_sessions s, unnest(s.seen_at, s.pages, s.times) AS v (at, page, ms)
    WHERE NOT s.bot AND s.day = %(today)s AND v.at < %(until_s)s GROUP BY v.page
) AS v
JOIN public.analytics_pages p USING (page)
LEFT JOIN public.markdown_content c ON c.id = p.content_id
LEFT JOIN public.content_performance_metrics m ON m.content_id = p.content_id
WHERE p.content_id IS NOT NULL ORDER BY v.views DESC, p.content_id LIMIT 15

-- breakdown --
-- People's sessions of the day by a property of theirs.
SELECT coalesce(nullif({property}, ''), %(otherwise)s), count(*)
FROM public.analytics_sessions o JOIN public.user_sessions s USING (session_id)
WHERE NOT o.bot AND o.day = %(today)s AND width_bucket(%(until_s)s - 1, o.seen_at) > 0
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10

-- signups --
SELECT count(*) FROM public.users
WHERE created_at >= %(start)s AND created_at < %(end)s AND roles <> '{anonymous}'::text[]

-- columns --
-- The columns of a table that there is and that we may read.
SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass('public.' || %(table)s) AND attnum > 0 AND NOT attisdropped
    AND has_table_privilege(attrelid, 'SELECT')

-- put_traffic --
INSERT INTO public.admin_traffic_reports (id, report_date, report_period, report_data, generated_at)
VALUES (gen_random_uuid()::text, %(day)s, %(period)s, %(data)s, now())
ON CONFLICT (report_date, report_period) DO UPDATE SET report_data = excluded.report_data, generated_at = now()

-- put_report --
INSERT INTO public.web_reports (report, day, period, data) VALUES (%(report)s, %(day)s, %(period)s, %(data)s)
ON CONFLICT (report, day, period) DO UPDATE SET data = excluded.data, generated_at = now()

-- claim --
-- Only one run gets to send, and only what was never tried or surely never arrived; or what its schedule asks for now,
-- where the message before it told of an earlier time, as after a run by hand.
UPDATE public.web_reports SET delivery = 'sending', run_id = %(run)s, told_until = %(until)s, delivered_at = NULL,
    message_id = NULL
WHERE report = %(report)s AND day = %(day)s AND period = %(period)s
    AND (delivery IN ('none', 'failed') OR %(again)s OR (%(planned)s AND told_until < %(until)s))
RETURNING report

-- delivery --
SELECT delivery, delivered_at, run_id FROM public.web_reports
WHERE report = %(report)s AND day = %(day)s AND period = %(period)s

-- settle --
UPDATE public.web_reports SET delivery = %(delivery)s, message_id = %(message)s,
    delivered_at = CASE WHEN %(delivery)s = 'sent' THEN now() END
WHERE report = %(report)s AND day = %(day)s AND period = %(period)s AND run_id = %(run)s

-- last_size --
-- The database's size in the latest earlier summary: (day, bytes).
SELECT day, (data -> 'database' ->> 'bytes')::bigint FROM public.web_reports
WHERE report = 'activity' AND day < %(day)s AND data -> 'database' ? 'bytes' ORDER BY day DESC LIMIT 1

-- size --
SELECT pg_database_size(current_database())

-- contents --
-- What was published and what was changed after it had been: (published, title), newest first.
SELECT published_at >= %(start)s, title FROM public.markdown_content
WHERE public AND published_at < %(end)s
    AND (published_at >= %(start)s OR (updated_at >= %(start)s AND updated_at < %(end)s))
ORDER BY greatest(published_at, updated_at) DESC, id

-- new_users --
-- (registered, anonymous)
SELECT count(*) FILTER (WHERE roles <> '{anonymous}'::text[]), count(*) FILTER (WHERE roles = '{anonymous}'::text[])
FROM public.users WHERE created_at >= %(start)s AND created_at < %(end)s

-- upgraded --
-- Anonymous visitors who made an account of theirs.
SELECT count(DISTINCT coalesce(user_id, session_id)) FROM public.user_sessions
WHERE converted_at >= %(start)s AND converted_at < %(end)s

-- contexts --
SELECT count(*) FROM public.user_contexts WHERE created_at >= %(start)s AND created_at < %(end)s

-- messages --
-- (from people, from agents)
SELECT count(*) FILTER (WHERE role = 'user'), count(*) FILTER (WHERE role = 'agent') FROM public.task_messages
WHERE created_at >= %(start)s AND created_at < %(end)s

-- jobs --
-- Of each job: (job, runs, failed, late, missed instants).
SELECT job, count(*) FILTER (WHERE status IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost')),
    count(*) FILTER (WHERE status IN ('failed', 'timed_out', 'lost')),
    count(*) FILTER (WHERE lateness_ms > %(late_ms)s AND started_at IS NOT NULL),
    coalesce(sum(instants) FILTER (WHERE status = 'missed'), 0)::bigint
FROM public.scheduler_job_runs
WHERE coalesce(finished_at, started_at, scheduled_for) >= %(start)s
    AND coalesce(finished_at, started_at, scheduled_for) < %(end)s
GROUP BY job ORDER BY 3 DESC, 5 DESC, 4 DESC, job

-- errors --
-- Errors in the application's log, alike but for numbers and names of things: (module, message, how many, of all).
SELECT module, min(message), count(*), (sum(count(*)) OVER ())::bigint FROM public.logs
WHERE level = 'ERROR' AND timestamp >= %(start)s AND timestamp < %(end)s
GROUP BY module, regexp_replace(left(message, 300), '[0-9a-f]{8}-[0-9a-f-]{27}|\d+|"[^"]*"|''[^'']*''', '#', 'g')
ORDER BY 3 DESC, 1, 2 LIMIT 8
