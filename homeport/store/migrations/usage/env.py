"""What Alembic runs: the steps that are missing, in the transaction that `migrate` has begun."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    transactional_ddl=False,  # the transaction is ours
)
context.run_migrations()
