"""What alembic runs; the connection is given by `catalogs.upgrade`."""

from alembic import context

from catalogs.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
