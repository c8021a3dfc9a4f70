-- The application's tables that the jobs of this extension read and clean.
--
-- A database that the application made has them already, perhaps older, with other columns and without some
-- indexes: there this file touches nothing. Each block makes one table with its indexes, or leaves it alone.
-- Where the application keeps its own migrations (extension_migrations), the optional tables, which it makes
-- when the parts that need them are installed and which are fuller than ours, are left to it altogether.

DO $$
BEGIN
    IF to_regclass('public.users') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.users (
        id text PRIMARY KEY,
        name varchar(255) NOT NULL UNIQUE,
        email varchar(255) NOT NULL UNIQUE,
        full_name text,
        display_name text,
        status text NOT NULL DEFAULT 'active'
            CHECK (status IN ('active', 'inactive', 'suspended', 'pending', 'deleted', 'temporary')),
        email_verified boolean NOT NULL DEFAULT false,
        roles text[] NOT NULL DEFAULT '{user}',
        is_bot boolean NOT NULL DEFAULT false,
        is_scanner boolean NOT NULL DEFAULT false,
        avatar_url text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX users_anonymous_created_at ON public.users (created_at) WHERE roles = '{anonymous}'::text[];
END
$$;

DO $$
BEGIN
    IF to_regclass('public.user_sessions') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.user_sessions (
        session_id text PRIMARY KEY,
        user_id varchar(255) REFERENCES public.users (id) ON DELETE SET NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        last_activity_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz,
        duration_seconds integer,
        user_type varchar(255) NOT NULL DEFAULT 'anon' CHECK (user_type IN ('anon', 'registered')),
        converted_at timestamptz,
        expires_at timestamptz DEFAULT now() + interval '7 days',
        client_id varchar(255) DEFAULT 'sp_web',
        client_type varchar(255),
        request_count integer NOT NULL DEFAULT 0,
        task_count integer NOT NULL DEFAULT 0,
        message_count integer NOT NULL DEFAULT 0,
        ai_request_count integer NOT NULL DEFAULT 0,
        total_tokens_used integer NOT NULL DEFAULT 0,
        ip_address text,
        user_agent text,
        device_type varchar(255),
        browser varchar(255),
        os varchar(255),
        country varchar(255),
        region varchar(255),
        city varchar(255),
        referrer_source text,
        referrer_url text,
        landing_page text,
        entry_url text,
        utm_source text,
        utm_medium text,
        utm_campaign text,
        utm_content text,
        utm_term text,
        fingerprint_hash varchar(255),
        is_bot boolean NOT NULL DEFAULT false,
        is_ai_crawler boolean NOT NULL DEFAULT false,
        is_scanner boolean NOT NULL DEFAULT false,
        is_behavioral_bot boolean NOT NULL DEFAULT false,
        behavioral_bot_reason text,
        behavioral_bot_score integer NOT NULL DEFAULT 0,
        session_source varchar(50) NOT NULL DEFAULT 'unknown'
            CHECK (session_source IN ('web', 'api', 'cli', 'oauth', 'mcp', 'bridge', 'unknown')),
        revoked_at timestamptz
    );
    CREATE INDEX user_sessions_user_id ON public.user_sessions (user_id);
    CREATE INDEX user_sessions_started_at ON public.user_sessions (started_at);
    CREATE INDEX user_sessions_ended_at ON public.user_sessions (ended_at);
    CREATE INDEX user_sessions_open ON public.user_sessions (last_activity_at) WHERE ended_at IS NULL;

    IF to_regclass('public.v_clean_traffic') IS NULL THEN
        CREATE VIEW public.v_clean_traffic AS
            SELECT * FROM public.user_sessions
            WHERE NOT is_bot AND NOT is_ai_crawler AND NOT is_scanner AND NOT is_behavioral_bot;
    END IF;
    IF to_regclass('public.v_engaged_traffic') IS NULL THEN
        CREATE VIEW public.v_engaged_traffic AS
            SELECT * FROM public.user_sessions
            WHERE NOT is_bot AND NOT is_ai_crawler AND NOT is_scanner AND NOT is_behavioral_bot
                AND landing_page IS NOT NULL AND request_count > 0;
    END IF;
END
$$;

DO $$
BEGIN
    IF to_regclass('public.user_contexts') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.user_contexts (
        context_id text PRIMARY KEY,
        user_id varchar(255) NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
        session_id text REFERENCES public.user_sessions (session_id) ON DELETE SET NULL,
        name text NOT NULL DEFAULT '',
        kind text NOT NULL DEFAULT 'user',
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX user_contexts_user_id ON public.user_contexts (user_id);
    CREATE INDEX user_contexts_session_id ON public.user_contexts (session_id);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.agent_tasks') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.agent_tasks (
        task_id text PRIMARY KEY,
        context_id text NOT NULL REFERENCES public.user_contexts (context_id) ON DELETE CASCADE,
        status text NOT NULL DEFAULT 'submitted',
        user_id varchar(255),
        session_id text,
        agent_name text,
        started_at timestamptz,
        completed_at timestamptz,
        execution_time_ms integer,
        error_message text,
        metadata jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX agent_tasks_context_id ON public.agent_tasks (context_id);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.task_messages') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.task_messages (
        id serial PRIMARY KEY,
        task_id text NOT NULL REFERENCES public.agent_tasks (task_id) ON DELETE CASCADE,
        message_id text NOT NULL,
        role text NOT NULL CHECK (role IN ('user', 'agent')),
        context_id text NOT NULL,
        user_id varchar(255),
        session_id text,
        sequence_number integer NOT NULL DEFAULT 0,
        metadata jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX task_messages_task_id ON public.task_messages (task_id);
    CREATE INDEX task_messages_context_id ON public.task_messages (context_id);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.mcp_tool_executions') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.mcp_tool_executions (
        mcp_execution_id text PRIMARY KEY,
        tool_name varchar(255) NOT NULL,
        server_name varchar(255) NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        status varchar(255) NOT NULL DEFAULT 'pending',
        user_id varchar(255),
        session_id text,
        context_id text,
        task_id text,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX mcp_tool_executions_context_id ON public.mcp_tool_executions (context_id);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.governance_decisions') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.governance_decisions (
        id text PRIMARY KEY,
        user_id varchar(255),
        session_id text,
        tool_name text,
        decision text NOT NULL CHECK (decision IN ('allow', 'deny')),
        policy text,
        reason text,
        context_id text,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX governance_decisions_context_id ON public.governance_decisions (context_id);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.logs') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.logs (
        id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
        timestamp timestamptz NOT NULL DEFAULT now(),
        level varchar(50) NOT NULL CHECK (level IN ('ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE')),
        module varchar(255) NOT NULL,
        message text NOT NULL,
        metadata text,
        user_id varchar(255),
        session_id varchar(255),
        task_id varchar(255),
        trace_id varchar(255),
        context_id varchar(255),
        client_id varchar(255)
    );
    CREATE INDEX logs_timestamp ON public.logs (timestamp);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.oauth_refresh_tokens') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.oauth_refresh_tokens (
        token_id text PRIMARY KEY,
        expires_at timestamptz NOT NULL
    );
    CREATE INDEX oauth_refresh_tokens_expires_at ON public.oauth_refresh_tokens (expires_at);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.oauth_auth_codes') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.oauth_auth_codes (
        code text PRIMARY KEY,
        expires_at timestamptz NOT NULL,
        used_at timestamptz
    );
    CREATE INDEX oauth_auth_codes_expires_at ON public.oauth_auth_codes (expires_at);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.oauth_state_bindings') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.oauth_state_bindings (
        state_token_hash text PRIMARY KEY,
        expires_at timestamptz NOT NULL
    );
    CREATE INDEX oauth_state_bindings_expires_at ON public.oauth_state_bindings (expires_at);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.oauth_jti_revocations') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.oauth_jti_revocations (
        jti text PRIMARY KEY,
        exp timestamptz NOT NULL
    );
    CREATE INDEX oauth_jti_revocations_exp ON public.oauth_jti_revocations (exp);
END
$$;

DO $$
BEGIN
    IF to_regclass('public.mcp_sessions') IS NOT NULL OR to_regclass('public.extension_migrations') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE public.mcp_sessions (
        session_id text PRIMARY KEY,
        status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed', 'expired')),
        expires_at timestamptz,
        last_activity_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX mcp_sessions_expires_at ON public.mcp_sessions (expires_at);
END
$$;
