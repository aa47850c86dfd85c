"""What alembic runs: on the connection, and in the transaction, that `migrate.py` hands over."""

from alembic import context

from puzzle_monitor.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
