"""Giving a new cluster its one row: done once, by whoever sets the cluster up."""

import psycopg2

from controller import names


def initialise(owner_url: str, service_domain: str) -> None:
    """Name the service domain of the cluster (R17). A cluster that has its row keeps it.

    ``owner_url`` connects as the owner of the database: the running controller may not make or
    remove a cluster. Raises `CommandError` where the name is not a domain name.
    """
    name = names.domain_name(service_domain, field="service_domain")
    connection = psycopg2.connect(owner_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO cluster (service_domain) VALUES (%s) ON CONFLICT DO NOTHING", (name,)
            )
    finally:
        connection.close()
