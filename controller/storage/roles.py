"""The two database roles: the owner, who migrates, and `hs_runtime`, as whom all work is done."""

import psycopg2
from psycopg2 import extensions

RUNTIME_ROLE = "hs_runtime"
OWNER_ROLE = "hs_owner"

CREATE_RUNTIME_ROLE = (
    f"CREATE ROLE {RUNTIME_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;"
)


class RoleError(Exception):
    """The database's roles are not as they must be; the text names the SQL that mends it."""


def ensure_runtime_role(connection: extensions.connection, database: str) -> None:
    """Make sure that `hs_runtime` exists, is harmless, and may be taken on by the owner.

    ``connection`` is the owner's, in autocommit mode. Raises `RoleError` with the statements for a
    database administrator where the owner may not do it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone() or ("",)
        by_hand = f'{CREATE_RUNTIME_ROLE} GRANT {RUNTIME_ROLE} TO "{owner}";'
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = %s",
            (RUNTIME_ROLE,),
        )
        found = cursor.fetchone()
        if found is None:
            try:
                cursor.execute(CREATE_RUNTIME_ROLE)
            except psycopg2.errors.InsufficientPrivilege as error:
                raise RoleError(
                    f"the role {RUNTIME_ROLE} is missing and {owner} may not create it;"
                    f" run as a database administrator: {by_hand}"
                ) from error
            except psycopg2.errors.DuplicateObject:
                pass  # another controller was faster
        elif found[0]:
            raise RoleError(
                f"the role {RUNTIME_ROLE} may pass by row security; run as a database"
                f" administrator: ALTER ROLE {RUNTIME_ROLE} NOSUPERUSER NOBYPASSRLS NOCREATEROLE;"
            )
        cursor.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", (RUNTIME_ROLE,))
        (member,) = cursor.fetchone() or (False,)
        if not member:
            try:
                cursor.execute(f'GRANT {RUNTIME_ROLE} TO "{owner}"')
            except psycopg2.errors.InsufficientPrivilege as error:
                raise RoleError(
                    f"{owner} may not act as {RUNTIME_ROLE}; run as a database administrator:"
                    f' GRANT {RUNTIME_ROLE} TO "{owner}";'
                ) from error
        quoted = database.replace('"', '""')
        cursor.execute(f'GRANT CONNECT ON DATABASE "{quoted}" TO {RUNTIME_ROLE}')
