"""Alembic's entry: the engine comes from the settings, or from whoever called."""

from alembic import context

from app.core.db import get_engine
from app.core.migrate import alone
from app.tables import metadata

engine = context.config.attributes.get("engine") or get_engine()

with alone(engine) as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=engine.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
