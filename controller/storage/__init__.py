"""PostgreSQL: transactions, the schema as numbered SQL, one module for each aggregate.

Only this package and the functions that it hands a `Transaction` speak SQL.
"""
