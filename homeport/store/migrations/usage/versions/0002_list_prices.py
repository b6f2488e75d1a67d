"""What a request costs at list price, the targets that failed before one answered, and an index for the newest first.

Of requests of before nobody knows the list price: their hours count them as unlisted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("usage", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("usage", sa.Column("list_pico", sa.BigInteger(), nullable=True))
    for name in ("list_pico", "unlisted"):
        op.add_column("usage_hours", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE usage_hours SET unlisted = requests")
    chosen_by = ["started_at", "seq", "project_id", "key_id", "model", "endpoint", "outcome"]
    op.create_index("ix_usage_newest", "usage", chosen_by, unique=False)
    op.drop_index("ix_usage_started_at", "usage")
