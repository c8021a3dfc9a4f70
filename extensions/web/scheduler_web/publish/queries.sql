-- stamp --
-- A text that changes when a row of ours is written by anyone: rows carry the transaction that wrote them.
SELECT coalesce(md5(string_agg(xid || ':' || rows, ' ' ORDER BY xid)), '')
FROM (SELECT xmin::text AS xid, count(*) AS rows FROM public.markdown_content
      WHERE source_id = ANY(%(source_ids)s) GROUP BY xmin) AS writers

-- records --
SELECT content_id, source, path, hash, meta, extract(epoch FROM changed_at)::float8, withdrawn_at IS NOT NULL
FROM public.web_documents

-- rows --
SELECT id, source_id, slug, locale FROM public.markdown_content

-- shared_slugs --
-- Whether a slug belongs to the whole site (a table that an older application made) and not to a source.
SELECT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = 'public.markdown_content'::regclass AND i.indisunique AND i.indnkeyatts = 2
      AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a
           WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)) = ARRAY['locale', 'slug']
)

-- free_slug --
-- Documents may exchange their slugs within one run.
UPDATE public.markdown_content SET slug = slug || ' (moving ' || id || ')' WHERE id = %(id)s AND slug <> %(slug)s

-- put_content --
INSERT INTO public.markdown_content AS old (id, slug, locale, title, description, body, author, published_at,
    keywords, kind, image, category_id, source_id, version_hash, public, links, updated_at)
VALUES (%(id)s, %(slug)s, %(locale)s, %(title)s, %(description)s, %(body)s, %(author)s,
    to_timestamp(%(published_at)s), %(keywords)s, %(kind)s, %(image)s, %(category_id)s, %(source_id)s,
    %(version_hash)s, %(public)s, %(links)s::jsonb, to_timestamp(%(now)s))
ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, locale = excluded.locale, title = excluded.title,
    description = excluded.description, body = excluded.body, author = excluded.author,
    published_at = excluded.published_at, keywords = excluded.keywords, kind = excluded.kind,
    image = excluded.image, category_id = excluded.category_id, source_id = excluded.source_id,
    version_hash = excluded.version_hash, public = excluded.public, links = excluded.links,
    updated_at = excluded.updated_at
WHERE (old.slug, old.locale, old.title, old.description, old.body, old.author, old.published_at, old.keywords,
       old.kind, old.image, old.category_id, old.source_id, old.version_hash, old.public, old.links)
    IS DISTINCT FROM
      (excluded.slug, excluded.locale, excluded.title, excluded.description, excluded.body, excluded.author,
       excluded.published_at, excluded.keywords, excluded.kind, excluded.image, excluded.category_id,
       excluded.source_id, excluded.version_hash, excluded.public, excluded.links)

-- put_record --
INSERT INTO public.web_documents AS old (content_id, source, path, hash, meta, changed_at, withdrawn_at)
VALUES (%(id)s, %(source)s, %(path)s, %(hash)s, %(meta)s::jsonb, to_timestamp(%(changed_at)s), NULL)
ON CONFLICT (content_id) DO UPDATE SET source = excluded.source, path = excluded.path, hash = excluded.hash,
    meta = excluded.meta, changed_at = excluded.changed_at, withdrawn_at = NULL
WHERE (old.source, old.path, old.hash, old.meta, old.changed_at, old.withdrawn_at) IS DISTINCT FROM
      (excluded.source, excluded.path, excluded.hash, excluded.meta, excluded.changed_at, NULL::timestamptz)

-- withdraw_content --
UPDATE public.markdown_content SET public = false, updated_at = to_timestamp(%(now)s)
WHERE id = ANY(%(ids)s) AND public

-- withdraw_records --
UPDATE public.web_documents SET withdrawn_at = to_timestamp(%(now)s)
WHERE content_id = ANY(%(ids)s) AND withdrawn_at IS NULL

-- forget --
DELETE FROM public.markdown_content c USING public.web_documents d
WHERE d.content_id = c.id AND d.withdrawn_at < to_timestamp(%(before)s)

-- bodies --
SELECT id, body FROM public.markdown_content WHERE id = ANY(%(ids)s)
