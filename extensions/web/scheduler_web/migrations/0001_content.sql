-- The application's table of published Markdown (names and columns as the application expects them),
-- created only where it is absent, and our record of the file that each row came from.
DO $$
BEGIN
    IF to_regclass('public.markdown_content') IS NULL THEN
        CREATE TABLE public.markdown_content (
            id text PRIMARY KEY,
            slug text NOT NULL,
            locale text NOT NULL DEFAULT 'en',
            title text NOT NULL,
            description text NOT NULL DEFAULT '',
            body text NOT NULL,
            author text NOT NULL DEFAULT '',
            published_at timestamptz,
            keywords text NOT NULL DEFAULT '',
            kind text NOT NULL DEFAULT 'article',
            image text,
            category_id text,
            source_id text NOT NULL,
            version_hash text NOT NULL,
            public boolean NOT NULL DEFAULT true,
            links jsonb NOT NULL DEFAULT '[]',
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT markdown_content_source_slug_locale_key UNIQUE (source_id, slug, locale)
        );
        -- Bodies are read whole or not at all: compressing them is most of a first ingestion's time.
        ALTER TABLE public.markdown_content ALTER COLUMN body SET STORAGE EXTERNAL;
        CREATE INDEX markdown_content_published_at_idx ON public.markdown_content (published_at);
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS public.web_documents (
    content_id text PRIMARY KEY REFERENCES public.markdown_content (id) ON DELETE CASCADE,
    source text NOT NULL,
    path text NOT NULL,
    hash text NOT NULL,
    meta jsonb NOT NULL,
    changed_at timestamptz,
    withdrawn_at timestamptz
);
CREATE INDEX IF NOT EXISTS web_documents_path_idx ON public.web_documents (source, path);
CREATE INDEX IF NOT EXISTS web_documents_withdrawn_idx ON public.web_documents (withdrawn_at) WHERE withdrawn_at IS NOT NULL;
