"""Stored chat completions."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "chat_completions",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("completion", sa.JSON(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_chat_completions_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_chat_completions"),
        sa.UniqueConstraint("project_id", "id", name="uq_chat_completions_project_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_chat_completions_project_id", "chat_completions", ["project_id", "seq"], unique=False)
