"""The first form of the state.

A released form never changes: what comes later is a file of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
#: SQLite numbers rows by itself only where the column is an INTEGER.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("project_name", sa.Text(), nullable=True),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_logs"),
        sa.UniqueConstraint("id", name="uq_audit_logs_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_logs_effective_at", "audit_logs", ["effective_at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_until", "idempotency_keys", ["until"], unique=False)
    op.create_table(
        "invites",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("projects", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_invites"),
        sa.UniqueConstraint("id", name="uq_invites_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "projects",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("model_permissions", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_projects"),
        sa.UniqueConstraint("id", name="uq_projects_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.create_table(
        "spend_limits",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("threshold_cents", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_spend_limits"),
        sa.UniqueConstraint("scope", "subject", "interval", name="uq_spend_limits_scope"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("id", name="uq_users_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "project_users",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_users_project_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_project_users_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name="pk_project_users"),
        sa.UniqueConstraint("project_id", "user_id", name="uq_project_users_project_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rate_limits",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("max_requests_per_1_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_tokens_per_1_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_images_per_1_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_audio_megabytes_per_1_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_requests_per_1_day", sa.BigInteger(), nullable=True),
        sa.Column("max_tokens_per_1_day", sa.BigInteger(), nullable=True),
        sa.Column("max_concurrent_requests", sa.BigInteger(), nullable=True),
        sa.Column("batch_1_day_max_input_tokens", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_rate_limits_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_rate_limits"),
        sa.UniqueConstraint("project_id", "model", name="uq_rate_limits_project_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "service_accounts",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_service_accounts_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_service_accounts"),
        sa.UniqueConstraint("id", name="uq_service_accounts_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "spend_alerts",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("threshold_cents", sa.BigInteger(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("notification_channel", sa.JSON(), nullable=False),
        sa.Column("told_for", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_spend_alerts_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_spend_alerts"),
        sa.UniqueConstraint("id", name="uq_spend_alerts_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "keys",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("redacted", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("service_account_id", sa.Text(), nullable=True),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("rate_limits", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("replaced_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_keys_project_id"),
        sa.ForeignKeyConstraint(
            ["service_account_id"], ["service_accounts.id"], name="fk_keys_service_account_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_keys_user_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("seq", name="pk_keys"),
        sa.UniqueConstraint("id", name="uq_keys_id"),
        sa.UniqueConstraint("sha256", name="uq_keys_sha256"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_keys_project_id", "keys", ["project_id", "seq"], unique=False)
    op.bulk_insert(
        sa.table("revision", sa.column("id", sa.Integer), sa.column("value", sa.BigInteger)), [{"id": 1, "value": 0}]
    )
