"""The role that jobs connect as. It has no rights on schema `scheduler`: a guard, not a wall, since a job
runs as the daemon's own user.
"""

from __future__ import annotations

from psycopg import sql

from scheduler_daemon.database.pools import border, connect, describe

JOB_ROLE = "scheduler_jobs"
_LOCK = 0x5343_4845_524F_4C45

_GRANTS = (
    sql.SQL("GRANT CONNECT, TEMPORARY, CREATE ON DATABASE {database} TO {role}"),
    sql.SQL("GRANT ALL ON SCHEMA public TO {role}"),
    sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"),
    sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"),
    sql.SQL("GRANT ALL ON ALL ROUTINES IN SCHEMA public TO {role}"),
    sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {role}"),
    sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {role}"),
    sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON ROUTINES TO {role}"),
)


async def ensure_job_role(url: str, role: str = JOB_ROLE) -> None:
    """Make `role` where it is absent, and let it do all in schema `public`, also with tables to come.

    `url` must be of a superuser, or of the database's owner with CREATEROLE. The role gets no password: on
    a server of your own, give it one, or let pg_hba.conf admit it. Raises DatabaseUnavailableError.
    """
    async with await connect(url, application_name="scheduler-daemon roles") as connection:
        names = {"role": sql.Identifier(role), "database": sql.Identifier(connection.info.dbname)}
        with border(describe(url)):
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                cursor = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
                if await cursor.fetchone() is None:
                    await connection.execute(sql.SQL("CREATE ROLE {role} LOGIN").format(**names))
                for grant in _GRANTS:
                    await connection.execute(grant.format(**names))
                cursor = await connection.execute("SELECT to_regnamespace('scheduler') IS NOT NULL")
                if await cursor.fetchone() == (True,):
                    revoke = sql.SQL("REVOKE ALL ON SCHEMA scheduler FROM {role}")
                    await connection.execute(revoke.format(**names))
