"""The tables of the state, once, for SQLite and PostgreSQL. The log of usage has its own (usage_tables.py).

Order is `seq`, which only grows: a `created_at` has one second's grain. Times are unix seconds. Money is whole
picodollars (10^-12 of a US dollar), so that the price of one token is a whole number.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite numbers rows by itself only where the column is an INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


def _seq() -> Column[int]:
    return Column("seq", Sequence, primary_key=True, autoincrement=True)


#: One row: a number that every change of the rows below raises. Replicas look at it to see that something changed.
revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    #: `trial`, `1` to `5`; null: the tier of the settings.
    Column("tier", Text),
    #: `{"mode": "allow_list" | "deny_list", "model_ids": [...]}`; null: every model.
    Column("model_permissions", JSON(none_as_null=True)),
    sqlite_autoincrement=True,
)

users = Table(
    "users",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text),
    Column("email", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

project_users = Table(
    "project_users",
    metadata,
    _seq(),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("role", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    UniqueConstraint("project_id", "user_id"),
    sqlite_autoincrement=True,
)

invites = Table(
    "invites",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger),
    #: `[{"id", "role"}]`.
    Column("projects", JSON, nullable=False),
    sqlite_autoincrement=True,
)

service_accounts = Table(
    "service_accounts",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

#: Keys at rest: never the key, only its SHA-256 and what may be shown of it.
keys = Table(
    "keys",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    #: `project`: for the API. `admin`: for the Admin API alone. `owner`: the operator's own, for both.
    Column("kind", Text, nullable=False),
    Column("project_id", Text, ForeignKey("projects.id")),
    Column("name", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("redacted", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: From this second on it is refused: a key that was given a life, or one that was rotated and overlaps.
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("user_id", Text, ForeignKey("users.id", ondelete="SET NULL")),
    Column("service_account_id", Text, ForeignKey("service_accounts.id", ondelete="CASCADE")),
    #: What it may do, as OpenAI names it (`model.request`, ...); null: everything.
    Column("scopes", JSON(none_as_null=True)),
    #: Models that it may use; null: every one that its project may.
    Column("models", JSON(none_as_null=True)),
    #: Limits of its own beside its project's: a subset of the fields of `project.rate_limit`; null: none.
    Column("rate_limits", JSON(none_as_null=True)),
    #: The key that it was rotated into; it ends at `expires_at`.
    Column("replaced_by", Text),
    Index("ix_keys_project_id", "project_id", "seq"),
    sqlite_autoincrement=True,
)

#: A project's own limits for a model; a null is the tier's.
rate_limits = Table(
    "rate_limits",
    metadata,
    _seq(),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("max_requests_per_1_minute", BigInteger),
    Column("max_tokens_per_1_minute", BigInteger),
    Column("max_images_per_1_minute", BigInteger),
    Column("max_audio_megabytes_per_1_minute", BigInteger),
    Column("max_requests_per_1_day", BigInteger),
    Column("max_tokens_per_1_day", BigInteger),
    Column("max_concurrent_requests", BigInteger),
    Column("batch_1_day_max_input_tokens", BigInteger),
    UniqueConstraint("project_id", "model"),
    sqlite_autoincrement=True,
)

#: Budgets. `scope`: `organization`, `project` or `key`, and the id of it; `interval`: `month` or `total`.
spend_limits = Table(
    "spend_limits",
    metadata,
    _seq(),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("interval", Text, nullable=False),
    Column("threshold_cents", BigInteger, nullable=False),
    UniqueConstraint("scope", "subject", "interval"),
    sqlite_autoincrement=True,
)

#: Requests that came with an `Idempotency-Key`: control/idempotency.py. `owner`: of one that runs; `until`: its lease,
#: or how long the answer is kept.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("owner", Text),
    Column("request_id", Text),
    Column("content_type", Text),
    Column("body", LargeBinary),
    Column("until", BigInteger, nullable=False),
    Index("ix_idempotency_keys_until", "until"),
)

spend_alerts = Table(
    "spend_alerts",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    #: Null: of the organization.
    Column("project_id", Text, ForeignKey("projects.id")),
    Column("threshold_cents", BigInteger, nullable=False),
    Column("interval", Text, nullable=False),
    Column("notification_channel", JSON, nullable=False),
    #: The month (`2026-11`) in which it was told last, or who is telling it: control/alerting.py.
    Column("told_for", Text),
    sqlite_autoincrement=True,
)

audit_logs = Table(
    "audit_logs",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("effective_at", BigInteger, nullable=False),
    #: `{"type": "api_key" | "session", ...}` as the description has it.
    Column("actor", JSON, nullable=False),
    Column("actor_id", Text),
    Column("project_id", Text),
    Column("project_name", Text),
    #: What was changed: the id of it, and the member that OpenAI's object has under the name of the type.
    Column("resource_id", Text),
    Column("details", JSON, nullable=False),
    Index("ix_audit_logs_effective_at", "effective_at"),
    sqlite_autoincrement=True,
)


#: Bytes at rest, by the SHA-256 of them (hexadecimal). Whoever refers to one has a foreign key to it, and that is all
#: that the collector of garbage looks at: store/blobs.py.
blobs = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: Backups that run, and until when (unix seconds) nothing is collected for them: store/holds.py.
backups = Table(
    "backups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: As the client calls it: shown, and never a part of a path.
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("digest", Text, ForeignKey("blobs.digest"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: From this second on it is gone.
    Column("expires_at", BigInteger),
    #: `uploaded`, `processed` or `error`; and why.
    Column("status", Text, nullable=False),
    Column("status_details", Text),
    Index("ix_files_project_id", "project_id", "seq"),
    Index("ix_files_purpose", "project_id", "purpose", "seq"),
    #: What a project keeps is summed up whenever something is added.
    Index("ix_files_bytes", "project_id", "bytes"),
    Index("ix_files_digest", "digest"),
    Index("ix_files_expires_at", "expires_at"),
    sqlite_autoincrement=True,
)

#: States: docs/files.md.
uploads = Table(
    "uploads",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    #: That are to come.
    Column("bytes", BigInteger, nullable=False),
    Column("mime_type", Text, nullable=False),
    #: Of the file that it becomes: seconds after which it expires.
    Column("expires_after", BigInteger),
    Column("status", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    #: Of a completed one. The file may be deleted later.
    Column("file_id", Text),
    Index("ix_uploads_expires_at", "status", "expires_at"),
    sqlite_autoincrement=True,
)

upload_parts = Table(
    "upload_parts",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("upload_id", Text, ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False),
    Column("digest", Text, ForeignKey("blobs.digest"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_upload_parts_upload_id", "upload_id", "seq"),
    Index("ix_upload_parts_digest", "digest"),
    sqlite_autoincrement=True,
)

#: The durable queue: store/queue.py. A job that has ended has no row. Times are seconds with their fractions, by the
#: database's clock.
jobs = Table(
    "jobs",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    #: Who works on it (`batch`, `housekeeping`, ...), what is to be done, and to what.
    Column("lane", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    #: `queued` or `running`.
    Column("status", Text, nullable=False),
    #: The lowest goes first.
    Column("priority", Integer, nullable=False),
    #: From then on a worker may take it: its time, and of one that runs the end of its lease.
    Column("run_at", Double, nullable=False),
    #: Who took it last, and how often it was taken: the number that the writes of whoever has it must carry.
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False),
    #: How often it was taken since it last came further.
    Column("attempt", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    #: How far it has come, as its handler writes it.
    Column("checkpoint", JSON(none_as_null=True)),
    Column("last_error", Text),
    Index("ix_jobs_due", "kind", "priority", "run_at", "seq"),
    Index("ix_jobs_subject", "subject"),
    sqlite_autoincrement=True,
)

#: States: docs/batches.md.
batches = Table(
    "batches",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: On whose account its lines run.
    Column("key_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    #: Of the input, until the batch has ended: the file may be deleted meanwhile.
    Column("digest", Text, ForeignKey("blobs.digest")),
    Column("completion_window", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: What it becomes once its files are written: `completed`, `expired` or `cancelled`.
    Column("ending", Text),
    Column("model", Text),
    #: `[{"code", "line", "message", "param"}]`.
    Column("errors", JSON(none_as_null=True)),
    Column("metadata", JSON(none_as_null=True)),
    Column("output_expires_after", BigInteger),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("in_progress_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Column("finalizing_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("expired_at", BigInteger),
    Column("cancelling_at", BigInteger),
    Column("cancelled_at", BigInteger),
    #: Lines: of all, answered, answered with an error.
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    #: Jobs of its lines that have not ended.
    Column("chunks", Integer, nullable=False),
    #: What it takes of `batch_1_day_max_input_tokens`, as it was reckoned.
    Column("enqueued_tokens", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Index("ix_batches_project_id", "project_id", "seq"),
    Index("ix_batches_status", "status"),
    Index("ix_batches_digest", "digest"),
    sqlite_autoincrement=True,
)

#: What has come out of a batch, until its files are written. line: from 1, of the input.
batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    #: Whether it goes to the output file; else to the error file.
    Column("succeeded", Boolean, nullable=False),
    #: The line of that file, without its end.
    Column("output", LargeBinary, nullable=False),
)
