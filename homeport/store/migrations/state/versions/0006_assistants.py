"""Assistants, threads and their runs; responses and conversations; and where code runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ACTIVE = sa.text("status IN ('queued', 'in_progress', 'requires_action', 'cancelling')")


def upgrade() -> None:
    op.create_table(
        "assistants",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.Column("tool_resources", sa.JSON(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("top_p", sa.Double(), nullable=True),
        sa.Column("response_format", sa.JSON(), nullable=True),
        sa.Column("reasoning_effort", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_assistants_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_assistants"),
        sa.UniqueConstraint("id", name="uq_assistants_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_assistants_project_id", "assistants", ["project_id", "seq"], unique=False)
    op.create_table(
        "threads",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("tool_resources", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_threads_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_threads"),
        sa.UniqueConstraint("id", name="uq_threads_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_threads_project_id", "threads", ["project_id", "seq"], unique=False)
    op.create_table(
        "runs",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("thread_seq", _SEQ, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.Column("tool_resources", sa.JSON(), nullable=True),
        sa.Column("tool_choice", sa.JSON(), nullable=True),
        sa.Column("parallel_tool_calls", sa.Boolean(), nullable=False),
        sa.Column("response_format", sa.JSON(), nullable=True),
        sa.Column("reasoning_effort", sa.Text(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("top_p", sa.Double(), nullable=True),
        sa.Column("max_prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("max_completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("truncation_strategy", sa.JSON(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("last_error", sa.JSON(), nullable=True),
        sa.Column("incomplete_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_runs_project_id"),
        sa.ForeignKeyConstraint(["thread_seq"], ["threads.seq"], name="fk_runs_thread_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_runs_expires_at", "runs", ["expires_at"], unique=False, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    op.create_index("ix_runs_project_id", "runs", ["project_id"], unique=False)
    op.create_index("ix_runs_thread_seq", "runs", ["thread_seq", "seq"], unique=False)
    op.create_index(
        "uq_runs_active", "runs", ["thread_seq"], unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    op.create_table(
        "run_steps",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_seq", _SEQ, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("calls", sa.JSON(), nullable=True),
        sa.Column("last_error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_seq"], ["runs.seq"], name="fk_run_steps_run_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name="pk_run_steps"),
        sa.UniqueConstraint("id", name="uq_run_steps_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_steps_run_seq", "run_steps", ["run_seq", "seq"], unique=False)
    op.create_table(
        "responses",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("conversation_seq", _SEQ, nullable=True),
        sa.Column("previous_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("background", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("incomplete_reason", sa.Text(), nullable=True),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_responses_project_id"),
        sa.ForeignKeyConstraint(
            ["conversation_seq"], ["threads.seq"], name="fk_responses_conversation_seq", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_responses"),
        sa.UniqueConstraint("id", name="uq_responses_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_responses_conversation_seq", "responses", ["conversation_seq"], unique=False)
    op.create_index("ix_responses_previous_id", "responses", ["previous_id"], unique=False)
    op.create_index("ix_responses_project_id", "responses", ["project_id", "seq"], unique=False)
    op.create_table(
        "items",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("thread_seq", _SEQ, nullable=True),
        sa.Column("response_seq", _SEQ, nullable=True),
        sa.Column("output", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("content", sa.JSON(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("assistant_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("attachments", sa.JSON(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("incomplete_at", sa.BigInteger(), nullable=True),
        sa.Column("incomplete_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_items_project_id"),
        sa.ForeignKeyConstraint(["thread_seq"], ["threads.seq"], name="fk_items_thread_seq", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["response_seq"], ["responses.seq"], name="fk_items_response_seq", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("seq", name="pk_items"),
        sa.UniqueConstraint("id", name="uq_items_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_items_project_id", "items", ["project_id"], unique=False)
    op.create_index("ix_items_response_seq", "items", ["response_seq", "seq"], unique=False)
    op.create_index("ix_items_run_id", "items", ["run_id"], unique=False)
    op.create_index("ix_items_thread_seq", "items", ["thread_seq", "seq"], unique=False)
    op.create_table(
        "run_events",
        sa.Column("run_seq", _SEQ, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_seq"], ["runs.seq"], name="fk_run_events_run_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_seq", "number", name="pk_run_events"),
    )
    op.create_table(
        "response_events",
        sa.Column("response_seq", _SEQ, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["response_seq"], ["responses.seq"], name="fk_response_events_response_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("response_seq", "number", name="pk_response_events"),
    )
    op.create_table(
        "containers",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("thread_seq", _SEQ, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_after_minutes", sa.Integer(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_containers_project_id"),
        sa.ForeignKeyConstraint(["thread_seq"], ["threads.seq"], name="fk_containers_thread_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name="pk_containers"),
        sa.UniqueConstraint("id", name="uq_containers_id"),
        sa.UniqueConstraint("thread_seq", name="uq_containers_thread_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_containers_project_id", "containers", ["project_id", "seq"], unique=False)
    op.create_table(
        "container_files",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("container_seq", _SEQ, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(), nullable=True),
        sa.Column("before_id", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["container_seq"], ["containers.seq"], name="fk_container_files_container_seq", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_container_files_digest"),
        sa.PrimaryKeyConstraint("seq", name="pk_container_files"),
        sa.UniqueConstraint("id", name="uq_container_files_id"),
        sa.UniqueConstraint("container_seq", "path", name="uq_container_files_container_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_container_files_digest", "container_files", ["digest"], unique=False)
