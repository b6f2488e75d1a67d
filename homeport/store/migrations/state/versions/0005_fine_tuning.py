"""Fine-tuning jobs, what they tell, what they make, and who else may use that."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=True),
        sa.Column("upstream_job", sa.JSON(), nullable=True),
        sa.Column("start_model", sa.Text(), nullable=True),
        sa.Column("start_digest", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("suffix", sa.Text(), nullable=True),
        sa.Column("training_file", sa.Text(), nullable=False),
        sa.Column("validation_file", sa.Text(), nullable=True),
        sa.Column("training_digest", sa.Text(), nullable=True),
        sa.Column("validation_digest", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("estimated_finish", sa.BigInteger(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("state_digest", sa.Text(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("fine_tuned_model", sa.Text(), nullable=True),
        sa.Column("result_file", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_fine_tuning_jobs_project_id"),
        sa.ForeignKeyConstraint(["start_digest"], ["blobs.digest"], name="fk_fine_tuning_jobs_start_digest"),
        sa.ForeignKeyConstraint(["training_digest"], ["blobs.digest"], name="fk_fine_tuning_jobs_training_digest"),
        sa.ForeignKeyConstraint(["validation_digest"], ["blobs.digest"], name="fk_fine_tuning_jobs_validation_digest"),
        sa.ForeignKeyConstraint(["state_digest"], ["blobs.digest"], name="fk_fine_tuning_jobs_state_digest"),
        sa.PrimaryKeyConstraint("seq", name="pk_fine_tuning_jobs"),
        sa.UniqueConstraint("id", name="uq_fine_tuning_jobs_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fine_tuning_jobs_project_id", "fine_tuning_jobs", ["project_id", "seq"], unique=False)
    for digest in ("start_digest", "training_digest", "validation_digest", "state_digest"):
        op.create_index(f"ix_fine_tuning_jobs_{digest}", "fine_tuning_jobs", [digest], unique=False)
    op.create_table(
        "fine_tuning_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["fine_tuning_jobs.id"], name="fk_fine_tuning_events_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_fine_tuning_events"),
        sa.UniqueConstraint("id", name="uq_fine_tuning_events_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fine_tuning_events_job_id", "fine_tuning_events", ["job_id", "seq"], unique=False)
    op.create_table(
        "fine_tuned_models",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_fine_tuned_models_project_id"),
        sa.ForeignKeyConstraint(["job_id"], ["fine_tuning_jobs.id"], name="fk_fine_tuned_models_job_id"),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_fine_tuned_models_digest"),
        sa.PrimaryKeyConstraint("seq", name="pk_fine_tuned_models"),
        sa.UniqueConstraint("id", name="uq_fine_tuned_models_id"),
        sa.UniqueConstraint("name", name="uq_fine_tuned_models_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fine_tuned_models_job_id", "fine_tuned_models", ["job_id", "seq"], unique=False)
    op.create_index("ix_fine_tuned_models_project_id", "fine_tuned_models", ["project_id"], unique=False)
    op.create_index("ix_fine_tuned_models_digest", "fine_tuned_models", ["digest"], unique=False)
    op.create_table(
        "checkpoint_permissions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint"],
            ["fine_tuned_models.name"],
            name="fk_checkpoint_permissions_checkpoint",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_checkpoint_permissions_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_checkpoint_permissions"),
        sa.UniqueConstraint("id", name="uq_checkpoint_permissions_id"),
        sa.UniqueConstraint("checkpoint", "project_id", name="uq_checkpoint_permissions_checkpoint"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_checkpoint_permissions_project_id", "checkpoint_permissions", ["project_id"], unique=False)
