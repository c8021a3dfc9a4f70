-- lock --
-- One pass at a time, whatever the number of daemons; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('scheduler_web.analytics', 0))

-- state --
SELECT watermark::text, cluster, today, open_from, definitions, contents, captured FROM public.analytics_state

-- horizon --
-- Every transaction below this one has ended: what they wrote is visible to the statements that follow.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text, (SELECT system_identifier FROM pg_control_system())

-- save_state --
UPDATE public.analytics_state SET watermark = %(watermark)s::text::xid8, cluster = %(cluster)s, today = %(today)s,
    open_from = %(open_from)s, definitions = %(definitions)s, contents = %(contents)s, captured = %(captured)s,
    passed_at = now()

-- columns --
-- The columns of a table of the application; none where the table is absent.
SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass('public.' || %(table)s) AND attnum > 0 AND NOT attisdropped
    AND has_table_privilege(attrelid, 'SELECT')

-- capture --
-- The trigger that notes deletions, if all that notes changes is in place.
SELECT t.oid::bigint FROM pg_trigger t
WHERE t.tgrelid = 'public.engagement_events'::regclass AND t.tgname = 'analytics_delete' AND t.tgenabled IN ('O', 'A')
    AND EXISTS (SELECT FROM pg_trigger u WHERE u.tgrelid = t.tgrelid AND u.tgname = 'analytics_update'
                AND u.tgenabled IN ('O', 'A'))
    AND EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('public.engagement_events_arrived')
                AND i.indisvalid)
    AND (to_regclass('public.user_sessions') IS NULL OR EXISTS (
        SELECT FROM pg_trigger s WHERE s.tgrelid = to_regclass('public.user_sessions')
            AND s.tgname = 'analytics_session' AND s.tgenabled IN ('O', 'A')))

-- arrived --
-- Sessions with events that were written since the watermark.
SELECT DISTINCT session_id FROM public.engagement_events WHERE arrived >= %(watermark)s::text::xid8

-- too_late --
-- Events written since the watermark for days that are closed.
SELECT count(*) FILTER (WHERE created_at < %(open_start)s) FROM public.engagement_events
WHERE arrived >= %(watermark)s::text::xid8

-- changed --
-- Sessions that a trigger noted; the notes are used up.
DELETE FROM public.analytics_changes RETURNING session_id

-- met --
-- Sessions that were not known when their events were counted, and now are.
SELECT o.session_id FROM public.analytics_sessions o JOIN public.user_sessions s USING (session_id) WHERE NOT o.known

-- sessions_of --
-- What is known of these sessions: (id, met, agent, whether a crawler, flagged as a robot, visitor).
SELECT t.session_id, s.session_id IS NOT NULL, s.agent, a.crawler, coalesce(s.flagged, false),
    hashtextextended(coalesce(s.fingerprint, t.session_id), 0)
FROM unnest(%(sessions)s::text[]) AS t (session_id)
LEFT JOIN ({sessions}) AS s USING (session_id) LEFT JOIN public.analytics_agents a USING (agent)

-- views_of --
-- What these sessions viewed on open days. OFFSET 0 keeps the planner from reading all open days by their index.
-- Here as in stage_open and stage_closed, instants that no clock shows count nowhere: an event at "infinity" would
-- stop every pass.
SELECT e.session_id, e.created_at, e.local::date, floor(extract(epoch FROM e.local::time))::integer,
    least(e.ms, %(longest_ms)s), c.page, CASE WHEN c.page IS NULL THEN e.url END
FROM (
    SELECT session_id, created_at AT TIME ZONE %(zone)s AS local, content_id, event_type,
        split_part(split_part(page_url, '#', 1), '?', 1) AS url, greatest(time_on_page_ms, 0) AS ms, created_at
    FROM public.engagement_events WHERE session_id = ANY(%(sessions)s) OFFSET 0
) AS e LEFT JOIN public.analytics_pages c USING (content_id)
WHERE e.created_at >= %(open_start)s AND e.created_at < '2200-01-01' AND e.event_type = ANY(%(view_events)s)

-- old_sessions --
SELECT session_id, day, visitor, bot, known, seen_at, pages, times FROM public.analytics_sessions
WHERE session_id = ANY(%(sessions)s)

-- visitor_days --
-- All remembered days of these visitors on these pages.
SELECT v.page, v.visitor, v.day, v.visits
FROM unnest(%(pages)s::integer[], %(visitors)s::bigint[]) AS t (page, visitor)
JOIN public.analytics_visitor_days v USING (page, visitor)

-- drop_sessions --
DELETE FROM public.analytics_sessions o USING unnest(%(sessions)s::text[], %(days)s::date[]) AS t (session_id, day)
WHERE o.session_id = t.session_id AND o.day = t.day

-- add_sessions --
INSERT INTO public.analytics_sessions (session_id, day, visitor, bot, known, seen_at, pages, times)
SELECT session_id, day, visitor, bot, known, seen_at::integer[], pages::integer[], times::integer[]
FROM unnest(%(sessions)s::text[], %(days)s::date[], %(visitors)s::bigint[], %(bots)s::boolean[], %(known)s::boolean[],
    %(seen_at)s::text[], %(pages)s::text[], %(times)s::text[])
    AS t (session_id, day, visitor, bot, known, seen_at, pages, times)

-- add_visitor_days --
INSERT INTO public.analytics_visitor_days (page, visitor, day, visits)
SELECT * FROM unnest(%(pages)s::integer[], %(visitors)s::bigint[], %(days)s::date[], %(visits)s::integer[])

-- change_visitor_days --
-- Set how many sessions a visitor had on a page on a day.
UPDATE public.analytics_visitor_days o SET visits = t.visits
FROM unnest(%(pages)s::integer[], %(visitors)s::bigint[], %(days)s::date[], %(visits)s::integer[])
    AS t (page, visitor, day, visits)
WHERE o.page = t.page AND o.visitor = t.visitor AND o.day = t.day

-- drop_visitor_days --
DELETE FROM public.analytics_visitor_days o
USING unnest(%(pages)s::integer[], %(visitors)s::bigint[], %(days)s::date[]) AS t (page, visitor, day)
WHERE o.page = t.page AND o.visitor = t.visitor AND o.day = t.day

-- drop_empty_page_days --
DELETE FROM public.analytics_page_days o USING unnest(%(pages)s::integer[], %(days)s::date[]) AS t (page, day)
WHERE o.page = t.page AND o.day = t.day AND o.views = 0

-- add_totals --
INSERT INTO public.analytics_totals AS o (page, views, timed, time_ms, visitors, views_7d, views_30d, visitors_7d,
    visitors_30d, trend_now, trend_before)
SELECT * FROM unnest(%(pages)s::integer[], %(views)s::bigint[], %(timed)s::bigint[], %(time_ms)s::bigint[],
    %(visitors)s::bigint[], %(views_7d)s::bigint[], %(views_30d)s::bigint[], %(visitors_7d)s::bigint[],
    %(visitors_30d)s::bigint[], %(trend_now)s::bigint[], %(trend_before)s::bigint[])
ON CONFLICT (page) DO UPDATE SET views = o.views + excluded.views, timed = o.timed + excluded.timed,
    time_ms = o.time_ms + excluded.time_ms, visitors = o.visitors + excluded.visitors,
    views_7d = o.views_7d + excluded.views_7d, views_30d = o.views_30d + excluded.views_30d,
    visitors_7d = o.visitors_7d + excluded.visitors_7d, visitors_30d = o.visitors_30d + excluded.visitors_30d,
    trend_now = o.trend_now + excluded.trend_now, trend_before = o.trend_before + excluded.trend_before

-- drop_empty_totals --
DELETE FROM public.analytics_totals WHERE page = ANY(%(pages)s) AND views = 0 AND visitors = 0

-- metrics --
-- What the application's own table is told. New content has no trend: it needs 14 whole days to compare.
SELECT c.id AS content_id, coalesce(t.views, 0) AS views, coalesce(t.visitors, 0) AS visitors,
    coalesce(t.time_ms / nullif(t.timed, 0)::float8 / 1000, 0) AS mean_s, coalesce(t.views_7d, 0) AS views_7d,
    coalesce(t.views_30d, 0) AS views_30d,
    CASE
        WHEN t.page IS NULL OR abs(t.trend_now - t.trend_before) < %(trend_views)s
            OR abs(t.trend_now - t.trend_before) * 100 < t.trend_before * %(trend_percent)s
            OR (SELECT min(day) FROM public.analytics_page_days d WHERE d.page = t.page) > %(today)s::date - 14
        THEN 'stable'
        WHEN t.trend_now > t.trend_before THEN 'up' ELSE 'down'
    END AS trend
FROM public.markdown_content c
JOIN public.analytics_pages p ON p.content_id = c.id
LEFT JOIN public.analytics_totals t ON t.page = p.page
WHERE %(pages)s::integer[] IS NULL OR p.page = ANY(%(pages)s::integer[])

-- change_metrics --
UPDATE public.content_performance_metrics o SET total_views = n.views, unique_visitors = n.visitors,
    avg_time_on_page_seconds = n.mean_s, views_last_7_days = n.views_7d, views_last_30_days = n.views_30d,
    trend_direction = n.trend, updated_at = now()
FROM ({metrics}) AS n
WHERE o.content_id = n.content_id AND (o.total_views, o.unique_visitors, o.avg_time_on_page_seconds,
    o.views_last_7_days, o.views_last_30_days, o.trend_direction)
    IS DISTINCT FROM (n.views, n.visitors, n.mean_s, n.views_7d, n.views_30d, n.trend)

-- add_metrics --
INSERT INTO public.content_performance_metrics (id, content_id, total_views, unique_visitors,
    avg_time_on_page_seconds, views_last_7_days, views_last_30_days, trend_direction)
SELECT gen_random_uuid()::text, n.* FROM ({metrics}) AS n
WHERE n.views > 0
    AND NOT EXISTS (SELECT FROM public.content_performance_metrics o WHERE o.content_id = n.content_id)
ON CONFLICT (content_id) DO NOTHING

-- close_counts --
-- From how much each closing day was computed.
SELECT (e.created_at AT TIME ZONE %(zone)s)::date, count(*), count(o.session_id)
FROM public.engagement_events e
LEFT JOIN public.analytics_sessions o ON o.session_id = e.session_id
    AND o.day = (e.created_at AT TIME ZONE %(zone)s)::date AND o.known
WHERE e.created_at >= %(start)s AND e.created_at < %(end)s AND e.event_type = ANY(%(view_events)s)
GROUP BY 1

-- close_medians --
UPDATE public.analytics_page_days d SET median_ms = v.median_ms
FROM public.analytics_daily v WHERE d.day < %(open_from)s AND d.median_ms IS NULL AND d.timed > 0
    AND v.page = d.page AND v.day = d.day

-- close_sessions --
DELETE FROM public.analytics_sessions WHERE day < %(open_from)s

-- contents_digest --
-- Changes whenever a row of the next statement is written: rows carry the transaction that wrote them.
SELECT count(*) || ' ' || coalesce(sum(hashtextextended(c.id || ' ' || c.xmin::text || ' ' || {stamp}, 0)), 0)
FROM public.markdown_content c {joins}

-- languages --
SELECT DISTINCT lower(locale) FROM public.markdown_content

-- contents --
-- Every content with the addresses that publishing gave it.
SELECT c.id, c.slug, c.locale, c.source_id, c.title, {addresses} FROM public.markdown_content c {joins} ORDER BY c.id

-- pages --
SELECT content_id, page, title, path FROM public.analytics_pages WHERE content_id IS NOT NULL

-- put_pages --
INSERT INTO public.analytics_pages AS o (content_id, path, title)
SELECT * FROM unnest(%(contents)s::text[], %(paths)s::text[], %(titles)s::text[])
ON CONFLICT (content_id) DO UPDATE SET path = excluded.path, title = excluded.title
RETURNING content_id, page

-- paths --
SELECT a.path, a.page, p.content_id IS NOT NULL FROM public.analytics_paths a JOIN public.analytics_pages p USING (page)

-- put_paths --
INSERT INTO public.analytics_paths (path, page) SELECT * FROM unnest(%(paths)s::text[], %(pages)s::integer[])
ON CONFLICT (path) DO UPDATE SET page = excluded.page

-- add_other_pages --
-- Pages of the site that are no content.
INSERT INTO public.analytics_pages (path) SELECT unnest(%(paths)s::text[]) RETURNING path, page

-- urls --
SELECT url, path, page FROM public.analytics_urls

-- urls_of --
SELECT u.url, u.page FROM unnest(%(urls)s::text[]) AS t (url) JOIN public.analytics_urls u USING (url)

-- put_urls --
INSERT INTO public.analytics_urls (url, path, page)
SELECT * FROM unnest(%(urls)s::text[], %(paths)s::text[], %(pages)s::integer[])

-- move_urls --
UPDATE public.analytics_urls u SET page = t.page
FROM unnest(%(urls)s::text[], %(pages)s::integer[]) AS t (url, page) WHERE u.url = t.url

-- days_of_pages --
SELECT DISTINCT day FROM public.analytics_page_days WHERE page = ANY(%(pages)s)

-- put_agents --
INSERT INTO public.analytics_agents (agent, crawler) SELECT * FROM unnest(%(agents)s::text[], %(crawlers)s::boolean[])
ON CONFLICT DO NOTHING

-- forget_agents --
TRUNCATE public.analytics_agents

-- add_page_days --
-- Add differences to the roll-up.
INSERT INTO public.analytics_page_days AS o (page, day, views, visits, visitors, newcomers, bounces, timed, time_ms)
SELECT * FROM unnest(%(pages)s::integer[], %(days)s::date[], %(views)s::bigint[], %(visits)s::bigint[],
    %(visitors)s::bigint[], %(newcomers)s::bigint[], %(bounces)s::bigint[], %(timed)s::bigint[], %(time_ms)s::bigint[])
ON CONFLICT (page, day) DO UPDATE SET views = o.views + excluded.views, visits = o.visits + excluded.visits,
    visitors = o.visitors + excluded.visitors, newcomers = o.newcomers + excluded.newcomers,
    bounces = o.bounces + excluded.bounces, timed = o.timed + excluded.timed, time_ms = o.time_ms + excluded.time_ms

-- sum_totals --
-- All sums anew from the roll-up, for windows that end today.
WITH days AS (
    SELECT page, sum(views) AS views, sum(timed) AS timed, sum(time_ms) AS time_ms, sum(newcomers) AS visitors,
        sum(views) FILTER (WHERE day BETWEEN %(today)s::date - 6 AND %(today)s) AS views_7d,
        sum(views) FILTER (WHERE day BETWEEN %(today)s::date - 29 AND %(today)s) AS views_30d,
        sum(views) FILTER (WHERE day BETWEEN %(today)s::date - 7 AND %(today)s::date - 1) AS trend_now,
        sum(views) FILTER (WHERE day BETWEEN %(today)s::date - 14 AND %(today)s::date - 8) AS trend_before
    FROM public.analytics_page_days GROUP BY page
), seen AS (
    SELECT page, count(*) FILTER (WHERE last >= %(today)s::date - 6) AS visitors_7d, count(*) AS visitors_30d
    FROM (
        SELECT page, visitor, max(day) AS last FROM public.analytics_visitor_days
        WHERE day BETWEEN %(today)s::date - 29 AND %(today)s GROUP BY page, visitor
    ) AS visitors GROUP BY page
), gone AS (
    DELETE FROM public.analytics_totals t WHERE NOT EXISTS (SELECT FROM days WHERE days.page = t.page)
)
INSERT INTO public.analytics_totals AS o (page, views, timed, time_ms, visitors, views_7d, views_30d, visitors_7d,
    visitors_30d, trend_now, trend_before)
SELECT page, views, timed, time_ms, visitors, coalesce(views_7d, 0), coalesce(views_30d, 0),
    coalesce(visitors_7d, 0), coalesce(visitors_30d, 0), coalesce(trend_now, 0), coalesce(trend_before, 0)
FROM days LEFT JOIN seen USING (page)
ON CONFLICT (page) DO UPDATE SET views = excluded.views, timed = excluded.timed, time_ms = excluded.time_ms,
    visitors = excluded.visitors, views_7d = excluded.views_7d, views_30d = excluded.views_30d,
    visitors_7d = excluded.visitors_7d, visitors_30d = excluded.visitors_30d,
    trend_now = excluded.trend_now, trend_before = excluded.trend_before

-- forget_visitors --
DELETE FROM public.analytics_visitor_days WHERE day < %(before)s

-- stage_open --
-- The views of open days: an event that came twice is one view, of the longer time. A session that the application
-- has removed since stays what it was.
CREATE TEMPORARY TABLE analytics_open ON COMMIT DROP AS
SELECT session_id, day, floor(extract(epoch FROM local::time))::integer AS at, page, visitor, bot, known, max(ms) AS ms,
    count(*)::integer AS events
FROM (
    SELECT e.session_id, e.local::date AS day, e.local, e.created_at, coalesce(c.page, u.page) AS page,
        coalesce(s.visitor, o.visitor, hashtextextended(e.session_id, 0)) AS visitor,
        CASE WHEN s.session_id IS NULL THEN coalesce(o.bot, false) ELSE s.bot END AS bot,
        (s.session_id IS NOT NULL OR o.session_id IS NOT NULL) AS known, e.ms
    FROM (
        SELECT session_id, created_at, created_at AT TIME ZONE %(zone)s AS local, content_id, page_url,
            least(greatest(time_on_page_ms, 0), %(longest_ms)s) AS ms
        FROM public.engagement_events
        WHERE event_type = ANY(%(view_events)s) AND created_at >= %(open_start)s AND created_at < '2200-01-01'
    ) AS e
    LEFT JOIN public.analytics_pages c ON c.content_id = e.content_id
    LEFT JOIN public.analytics_urls u
        ON u.url = CASE WHEN c.page IS NULL THEN split_part(split_part(e.page_url, '#', 1), '?', 1) END
    LEFT JOIN analytics_people s ON s.session_id = e.session_id
    LEFT JOIN (
        SELECT DISTINCT ON (session_id) session_id, visitor, bot FROM public.analytics_sessions
        WHERE known ORDER BY session_id, day DESC
    ) AS o ON o.session_id = CASE WHEN s.session_id IS NULL THEN e.session_id END
) AS seen
GROUP BY session_id, day, local, created_at, page, visitor, bot, known

-- stage_closed --
-- The same for all closed days, as narrow as it can be: most of a full recomputation's time is sorting this.
CREATE TEMPORARY TABLE analytics_staged ON COMMIT DROP AS
SELECT page, visitor, day, session, bot, known, count(*)::integer AS views, sum(events)::integer AS events,
    count(*) FILTER (WHERE ms > 0)::integer AS timed, sum(ms)::bigint AS time_ms,
    array_agg(ms) FILTER (WHERE ms > 0) AS times, NULL::integer AS landing
FROM (
    SELECT coalesce(c.page, u.page) AS page, coalesce(s.visitor, hashtextextended(e.session_id, 0)) AS visitor,
        (e.created_at AT TIME ZONE %(zone)s)::date AS day, hashtextextended(e.session_id, 0) AS session,
        CASE WHEN s.session_id IS NULL THEN false ELSE s.bot END AS bot, s.session_id IS NOT NULL AS known, e.created_at,
        max(least(greatest(e.time_on_page_ms, 0), %(longest_ms)s)) AS ms, count(*) AS events
    FROM public.engagement_events e
    LEFT JOIN public.analytics_pages c ON c.content_id = e.content_id
    LEFT JOIN public.analytics_urls u
        ON u.url = CASE WHEN c.page IS NULL THEN split_part(split_part(e.page_url, '#', 1), '?', 1) END
    LEFT JOIN analytics_people s ON s.session_id = e.session_id
    WHERE e.event_type = ANY(%(view_events)s) AND e.created_at < %(open_start)s AND e.created_at >= '1970-01-02'
        AND %(closed_too)s
    GROUP BY 1, 2, 3, 4, 5, 6, 7
) AS seen
GROUP BY 1, 2, 3, 4, 5, 6

-- stage_people --
-- Who each session is; `bot` is null where the agent has not been looked up.
CREATE TEMPORARY TABLE analytics_people ON COMMIT DROP AS
SELECT s.session_id, hashtextextended(coalesce(s.fingerprint, s.session_id), 0) AS visitor,
    CASE WHEN s.flagged THEN true WHEN s.agent IS NULL THEN false ELSE a.crawler END AS bot
FROM ({sessions}) AS s LEFT JOIN public.analytics_agents a USING (agent)
WHERE {which}

-- active --
-- A condition: sessions with events on open days.
s.session_id IN (SELECT session_id FROM public.engagement_events WHERE created_at >= {open_start})

-- analyze_people --
ANALYZE analytics_people

-- unresolved --
-- Whether an address, whether an agent is not known yet.
SELECT coalesce(bool_or(page IS NULL), false), coalesce(bool_or(bot IS NULL), false) FROM (
    SELECT page, bot FROM analytics_open UNION ALL SELECT page, bot FROM analytics_staged
) AS s

-- unstage --
DROP TABLE analytics_people, analytics_open, analytics_staged

-- new_urls --
SELECT DISTINCT split_part(split_part(e.page_url, '#', 1), '?', 1) FROM public.engagement_events e
LEFT JOIN public.analytics_pages c ON c.content_id = e.content_id
LEFT JOIN public.analytics_urls u ON u.url = split_part(split_part(e.page_url, '#', 1), '?', 1)
WHERE c.page IS NULL AND u.page IS NULL AND e.event_type = ANY(%(view_events)s)
    AND (%(closed_too)s OR e.created_at >= %(open_start)s)

-- new_agents --
SELECT DISTINCT s.agent FROM ({sessions}) AS s LEFT JOIN public.analytics_agents a USING (agent)
WHERE s.agent IS NOT NULL AND a.agent IS NULL

-- stage_counts --
SELECT day, sum(events)::bigint, coalesce(sum(events) FILTER (WHERE known), 0)::bigint
FROM analytics_staged GROUP BY day

-- days --
SELECT day, events, known FROM public.analytics_days

-- put_days --
INSERT INTO public.analytics_days (day, events, known)
SELECT * FROM unnest(%(days)s::date[], %(events)s::bigint[], %(known)s::bigint[])
ON CONFLICT (day) DO UPDATE SET events = excluded.events, known = excluded.known

-- drop_days --
DELETE FROM public.analytics_days WHERE day >= %(open_from)s

-- unstage_days --
DELETE FROM analytics_staged WHERE day = ANY(%(days)s)

-- empty_open --
TRUNCATE public.analytics_sessions

-- fill_sessions --
INSERT INTO public.analytics_sessions (session_id, day, visitor, bot, known, seen_at, pages, times)
SELECT session_id, day, visitor, bot, known, array_agg(at ORDER BY at, page, ms), array_agg(page ORDER BY at, page, ms),
    array_agg(ms ORDER BY at, page, ms)
FROM analytics_open GROUP BY session_id, day, visitor, bot, known

-- stage_open_days --
INSERT INTO analytics_staged (page, visitor, day, session, bot, known, views, events, timed, time_ms)
SELECT page, visitor, day, hashtextextended(session_id, 0), bot, known, count(*), sum(events),
    count(*) FILTER (WHERE ms > 0), sum(ms)
FROM analytics_open GROUP BY page, visitor, day, session_id, bot, known

-- stage_site --
-- The whole site is page 0; `landing` is the page of a visit that saw no other.
INSERT INTO analytics_staged (page, visitor, day, session, bot, known, views, timed, time_ms, landing)
SELECT 0, visitor, day, session, false, true, sum(views), sum(timed), sum(time_ms),
    CASE WHEN sum(views) = 1 THEN min(page) END
FROM analytics_staged WHERE NOT bot GROUP BY visitor, day, session

-- analyze_staged --
ANALYZE analytics_staged

-- keep_newcomers --
-- Days whose past has been pruned cannot tell any more who was new.
CREATE TEMPORARY TABLE analytics_kept ON COMMIT DROP AS
SELECT page, day, newcomers FROM public.analytics_page_days WHERE day < %(before)s AND NOT day = ANY(%(kept)s)

-- restore_newcomers --
UPDATE public.analytics_page_days d SET newcomers = k.newcomers FROM analytics_kept k
WHERE k.page = d.page AND k.day = d.day

-- empty_page_days --
DELETE FROM public.analytics_page_days WHERE NOT day = ANY(%(kept)s) AND (%(closed_too)s OR day >= %(open_from)s)

-- save_visitor_days --
-- What is known of visitors on days that are not computed anew.
CREATE TEMPORARY TABLE analytics_before ON COMMIT DROP AS
SELECT page, visitor, day, visits FROM public.analytics_visitor_days WHERE day = ANY(%(kept)s)

-- empty_visitor_days --
TRUNCATE public.analytics_visitor_days

-- recall_visitor_days --
-- The past of the visitors of the open days.
CREATE TEMPORARY TABLE analytics_before ON COMMIT DROP AS
SELECT page, visitor, day, visits FROM public.analytics_visitor_days v
WHERE day < %(open_from)s AND EXISTS (
    SELECT FROM analytics_staged s WHERE s.page = v.page AND s.visitor = v.visitor AND NOT s.bot)

-- drop_open_visitor_days --
DELETE FROM public.analytics_visitor_days WHERE day >= %(open_from)s

-- fill_page_days --
-- One sort by page, visitor and day tells who was there the first time that day, and in 30 days; all else is sums.
WITH arrivals AS MATERIALIZED (
    SELECT page, visitor, day, views, timed, time_ms, lag(day) OVER past AS last,
        sum(visits) OVER (past RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS visits
    FROM (
        SELECT page, visitor, day, 1 AS visits, views, timed, time_ms FROM analytics_staged WHERE NOT bot
        UNION ALL
        SELECT page, visitor, day, visits, NULL, NULL, NULL FROM analytics_before
    ) AS days
    WINDOW past AS (PARTITION BY page, visitor ORDER BY day)
), remembered AS (
    INSERT INTO public.analytics_visitor_days (page, visitor, day, visits)
    SELECT page, visitor, day, visits FROM arrivals
    WHERE last IS DISTINCT FROM day AND day >= %(memory)s AND (views IS NOT NULL OR %(closed_too)s)
), bounces AS (
    SELECT unnest(ARRAY[0, landing]) AS page, day, count(*) AS bounces
    FROM analytics_staged WHERE landing IS NOT NULL GROUP BY 1, 2
), medians AS (
    SELECT CASE WHEN grouping(page) = 1 THEN 0 ELSE page END AS page, day,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median_ms
    FROM analytics_staged, unnest(times) AS v (ms)
    WHERE NOT bot AND day < %(open_from)s GROUP BY GROUPING SETS ((page, day), (day))
)
INSERT INTO public.analytics_page_days (page, day, views, visits, visitors, newcomers, bounces, timed, time_ms,
    median_ms)
SELECT page, day, a.views, a.visits, a.visitors, a.newcomers, coalesce(b.bounces, 0), a.timed, a.time_ms, m.median_ms
FROM (
    SELECT page, day, sum(views) AS views, count(*) AS visits, count(*) FILTER (WHERE last IS DISTINCT FROM day) AS visitors,
        count(*) FILTER (WHERE last IS NULL OR last < day - 30) AS newcomers, sum(timed) AS timed, sum(time_ms) AS time_ms
    FROM arrivals WHERE views IS NOT NULL GROUP BY page, day
) AS a LEFT JOIN bounces b USING (page, day) LEFT JOIN medians m USING (page, day)

-- settings --
SET LOCAL work_mem = '64MB'

-- open_counts --
SELECT coalesce(sum(events), 0)::bigint, count(DISTINCT day) FROM analytics_open

-- drop_kept --
DROP TABLE analytics_kept

-- drop_before --
DROP TABLE analytics_before

-- other_pages --
-- Views in 30 days that belong to no content: (pages, views), then the most viewed.
SELECT count(*) OVER (), (sum(t.views_30d) OVER ())::bigint, p.path, t.views_30d
FROM public.analytics_totals t JOIN public.analytics_pages p USING (page)
WHERE p.content_id IS NULL AND p.page <> 0 AND t.views_30d > 0 ORDER BY t.views_30d DESC, p.path LIMIT 5

-- analyze --
ANALYZE public.analytics_page_days, public.analytics_visitor_days, public.analytics_sessions, public.analytics_totals,
    public.analytics_pages, public.analytics_urls, public.analytics_agents
