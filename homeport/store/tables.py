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
    text,
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
    #: `{"model", "input", "output", "threshold"}` (gateway/keyring.py); null: as the settings say.
    Column("moderation", JSON(none_as_null=True)),
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

#: Of people who have signed in to the dashboard: control/sessions.py. Of the cookie, and of the keys that they signed
#: in with, only the SHA-256.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("project_key", LargeBinary),
    Column("admin_key", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_sessions_expires_at", "expires_at"),
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

#: States: docs/vector-stores.md. Whether one is expired, or in progress, follows from its rows and the time.
vector_stores = Table(
    "vector_stores",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("metadata", JSON(none_as_null=True)),
    #: After it was last active it lives so many days, where somebody said so.
    Column("expires_after_days", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    #: Model that its vectors are asked of, by name; the one that answered first, and numbers of a vector, once one has.
    Column("model", Text, nullable=False),
    Column("answered", Text),
    Column("width", Integer),
    #: Counts up whenever what is found in it changes: what is kept of it in memory is of one generation.
    Column("generation", BigInteger, nullable=False),
    #: From then on nobody sees it; its rows go one block after the other.
    Column("deleted_at", BigInteger),
    Index("ix_vector_stores_project_id", "project_id", "seq"),
    Index("ix_vector_stores_expires_at", "expires_at"),
    sqlite_autoincrement=True,
)

#: Counts and status follow from its files.
vector_store_file_batches = Table(
    "vector_store_file_batches",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("store_seq", Sequence, ForeignKey("vector_stores.seq", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: Somebody asked for its end.
    Column("cancelled_at", BigInteger),
    Index("ix_vector_store_file_batches_store_seq", "store_seq", "seq"),
    sqlite_autoincrement=True,
)

#: A file in a store, under the file's id. Taken out and put in again it is another row.
vector_store_files = Table(
    "vector_store_files",
    metadata,
    _seq(),
    Column("store_seq", Sequence, ForeignKey("vector_stores.seq", ondelete="CASCADE"), nullable=False),
    #: Files that are deleted, or expire, are in no store any more.
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("batch_seq", Sequence, ForeignKey("vector_store_file_batches.seq", ondelete="SET NULL")),
    #: On whose account its vectors are made.
    Column("key_id", Text, nullable=False),
    #: `in_progress`, `completed`, `failed` or `cancelled`; and why it failed.
    Column("status", Text, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("attributes", JSON(none_as_null=True)),
    #: Tokens of a chunk, and of two neighbours in common.
    Column("chunk_size", Integer, nullable=False),
    Column("chunk_overlap", Integer, nullable=False),
    #: Of its chunks: text and vectors.
    Column("usage_bytes", BigInteger, nullable=False),
    UniqueConstraint("store_seq", "file_id"),
    Index("ix_vector_store_files_file_id", "file_id"),
    Index("ix_vector_store_files_status", "store_seq", "status", "seq"),
    Index("ix_vector_store_files_batch_seq", "batch_seq", "seq"),
    sqlite_autoincrement=True,
)

#: What is found. Of a file that is not `completed` they are not seen.
vector_store_chunks = Table(
    "vector_store_chunks",
    metadata,
    _seq(),
    Column("store_seq", Sequence, ForeignKey("vector_stores.seq", ondelete="CASCADE"), nullable=False),
    Column("file_seq", Sequence, ForeignKey("vector_store_files.seq", ondelete="CASCADE"), nullable=False),
    #: From 0, in the order of the document.
    Column("number", Integer, nullable=False),
    Column("text", Text, nullable=False),
    #: Its words, apart, where they are written without spaces between them; null: they are as in the text.
    Column("words", Text),
    Column("tokens", Integer, nullable=False),
    #: Page, slide or sheet that it begins on, from 1; and its first character and the one after its last, in the
    #: document's text.
    Column("page", Integer),
    Column("begins", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    #: float32, little-endian, of length 1: one vector, or several one after the other (of a text that is longer than
    #: its model reads at once).
    Column("vectors", LargeBinary, nullable=False),
    UniqueConstraint("file_seq", "number"),
    Index("ix_vector_store_chunks_store_seq", "store_seq", "seq"),
    sqlite_autoincrement=True,
)

#: Pictures that were made for whoever is to fetch them by an address (store/images.py).
images = Table(
    "images",
    metadata,
    #: Its address's last part, which nobody guesses: whoever knows it may see the picture.
    Column("name", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("digest", Text, ForeignKey("blobs.digest"), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: From this second on it is gone.
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_images_project_id", "project_id"),
    Index("ix_images_digest", "digest"),
    Index("ix_images_expires_at", "expires_at"),
)

#: How much the vector stores of a project had in an hour, when it was looked at last (vector_store_usage.py).
vector_store_usage = Table(
    "vector_store_usage",
    metadata,
    #: When it began.
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    #: It may be gone by now.
    Column("project_id", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)

#: States: docs/fine-tuning.md.
fine_tuning_jobs = Table(
    "fine_tuning_jobs",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: On whose account it runs.
    Column("key_id", Text, nullable=False),
    #: As the client called it, of a fine-tuned model what that was made from; and the model of this machine.
    Column("model", Text, nullable=False),
    Column("base", Text, nullable=False),
    #: Of a job that an upstream does: whose, and how far it has come there (control/fine_tuning_forwarding.py).
    Column("upstream", Text),
    Column("upstream_job", JSON(none_as_null=True)),
    #: The fine-tuned model that it goes on from, and its adapter.
    Column("start_model", Text),
    Column("start_digest", Text, ForeignKey("blobs.digest")),
    #: `supervised` or `dpo`.
    Column("method", Text, nullable=False),
    #: `n_epochs`, `batch_size`, `learning_rate_multiplier`, `beta`: as they were asked for, and once the files have
    #: been read with numbers in place of `auto`.
    Column("hyperparameters", JSON(none_as_null=True), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("suffix", Text),
    Column("training_file", Text, nullable=False),
    Column("validation_file", Text),
    #: Of the files, until the job has ended: they may be deleted meanwhile.
    Column("training_digest", Text, ForeignKey("blobs.digest")),
    Column("validation_digest", Text, ForeignKey("blobs.digest")),
    Column("metadata", JSON(none_as_null=True)),
    Column("status", Text, nullable=False),
    #: `{"code", "message", "param"}`.
    Column("error", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("estimated_finish", BigInteger),
    #: The last that was told of, and the tokens that it was trained on until then: what it costs, however it ends.
    Column("step", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    #: What the trainer goes on from, where the folder of the job is not there; until it has ended.
    Column("state_digest", Text, ForeignKey("blobs.digest")),
    #: Of one that has succeeded.
    Column("trained_tokens", BigInteger),
    Column("fine_tuned_model", Text),
    Column("result_file", Text),
    Index("ix_fine_tuning_jobs_project_id", "project_id", "seq"),
    Index("ix_fine_tuning_jobs_start_digest", "start_digest"),
    Index("ix_fine_tuning_jobs_training_digest", "training_digest"),
    Index("ix_fine_tuning_jobs_validation_digest", "validation_digest"),
    Index("ix_fine_tuning_jobs_state_digest", "state_digest"),
    sqlite_autoincrement=True,
)

#: What a job has told.
fine_tuning_events = Table(
    "fine_tuning_events",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("job_id", Text, ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: `info`, `warn` or `error`; `message` or `metrics`.
    Column("level", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON(none_as_null=True)),
    Index("ix_fine_tuning_events_job_id", "job_id", "seq"),
    sqlite_autoincrement=True,
)

#: What a job has made: its checkpoints, and the model.
fine_tuned_models = Table(
    "fine_tuned_models",
    metadata,
    _seq(),
    #: `ftckpt_...`.
    Column("id", Text, nullable=False, unique=True),
    #: `ft:...`: what requests call it.
    Column("name", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("job_id", Text, ForeignKey("fine_tuning_jobs.id"), nullable=False),
    #: As `fine_tuning_jobs` has them.
    Column("model", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("upstream", Text),
    #: The adapter's bytes; of an upstream's model none.
    Column("digest", Text, ForeignKey("blobs.digest")),
    #: Of a checkpoint; null: the finished model.
    Column("step", Integer),
    Column("metrics", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_fine_tuned_models_job_id", "job_id", "seq"),
    Index("ix_fine_tuned_models_project_id", "project_id"),
    Index("ix_fine_tuned_models_digest", "digest"),
    sqlite_autoincrement=True,
)

#: Projects that may use another project's fine-tuned model.
checkpoint_permissions = Table(
    "checkpoint_permissions",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("checkpoint", Text, ForeignKey("fine_tuned_models.name", ondelete="CASCADE"), nullable=False),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("checkpoint", "project_id"),
    Index("ix_checkpoint_permissions_project_id", "project_id"),
    sqlite_autoincrement=True,
)

assistants = Table(
    "assistants",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("name", Text),
    Column("description", Text),
    Column("instructions", Text),
    #: As the description has them, checked.
    Column("tools", JSON, nullable=False),
    Column("tool_resources", JSON(none_as_null=True)),
    Column("metadata", JSON(none_as_null=True)),
    Column("temperature", Double),
    Column("top_p", Double),
    #: `"auto"`, or an object; null: nobody said.
    Column("response_format", JSON(none_as_null=True)),
    Column("reasoning_effort", Text),
    Index("ix_assistants_project_id", "project_id", "seq"),
    sqlite_autoincrement=True,
)

#: Threads (`thread_...`), and conversations (`conv_...`): what was said, in one order, is in `items`.
threads = Table(
    "threads",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("tool_resources", JSON(none_as_null=True)),
    Index("ix_threads_project_id", "project_id", "seq"),
    sqlite_autoincrement=True,
)

#: States of a run that nobody else may begin one beside, nor say anything: docs/assistants.md.
_ACTIVE = text("status IN ('queued', 'in_progress', 'requires_action', 'cancelling')")

#: States: docs/assistants.md.
runs = Table(
    "runs",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: On whose account it runs.
    Column("key_id", Text, nullable=False),
    Column("thread_seq", Sequence, ForeignKey("threads.seq", ondelete="CASCADE"), nullable=False),
    #: It may be gone, or another by now: what holds is in this row.
    Column("assistant_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("instructions", Text, nullable=False),
    Column("tools", JSON, nullable=False),
    #: Of the assistant; the thread's are looked at as they are.
    Column("tool_resources", JSON(none_as_null=True)),
    Column("tool_choice", JSON(none_as_null=True)),
    Column("parallel_tool_calls", Boolean, nullable=False),
    Column("response_format", JSON(none_as_null=True)),
    Column("reasoning_effort", Text),
    Column("temperature", Double),
    Column("top_p", Double),
    Column("max_prompt_tokens", BigInteger),
    Column("max_completion_tokens", BigInteger),
    #: `{"type", "last_messages"}`.
    Column("truncation_strategy", JSON(none_as_null=True)),
    Column("metadata", JSON(none_as_null=True)),
    #: `{"code", "message"}`; and why it is incomplete.
    Column("last_error", JSON(none_as_null=True)),
    Column("incomplete_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("cancelled_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("completed_at", BigInteger),
    #: What all calls of the model took, as far as they have ended.
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    #: How many events it has told: the number of the next.
    Column("events", Integer, nullable=False),
    Index("ix_runs_thread_seq", "thread_seq", "seq"),
    Index("ix_runs_project_id", "project_id"),
    Index("ix_runs_expires_at", "expires_at", sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    #: The lock of a thread: whoever comes second is told by the database.
    Index("uq_runs_active", "thread_seq", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    sqlite_autoincrement=True,
)

run_steps = Table(
    "run_steps",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("run_seq", Sequence, ForeignKey("runs.seq", ondelete="CASCADE"), nullable=False),
    #: `message_creation` or `tool_calls`.
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: The message that it makes.
    Column("message_id", Text),
    #: The calls that it makes, in their order (loop/turns.py): what the model asked for, and what came of it.
    Column("calls", JSON(none_as_null=True)),
    Column("last_error", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    #: Of the call of the model that made it; null until that has ended.
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Index("ix_run_steps_run_seq", "run_seq", "seq"),
    sqlite_autoincrement=True,
)

#: States: docs/responses.md.
responses = Table(
    "responses",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: On whose account it runs.
    Column("key_id", Text, nullable=False),
    Column("conversation_seq", Sequence, ForeignKey("threads.seq", ondelete="SET NULL")),
    #: The response that it goes on from: `resp_...`. It may be gone.
    Column("previous_id", Text),
    Column("status", Text, nullable=False),
    Column("background", Boolean, nullable=False),
    Column("model", Text, nullable=False),
    #: What was asked for, without `input`, as answers say it again.
    Column("request", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("incomplete_reason", Text),
    Column("usage", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    #: How many events it has told: the number of the next.
    Column("events", Integer, nullable=False),
    Index("ix_responses_project_id", "project_id", "seq"),
    Index("ix_responses_conversation_seq", "conversation_seq"),
    Index("ix_responses_previous_id", "previous_id"),
    sqlite_autoincrement=True,
)

#: Chat completions whose request had `store`, as long as nobody deletes them.
chat_completions = Table(
    "chat_completions",
    metadata,
    _seq(),
    #: `chatcmpl-...`, or what an upstream calls it.
    Column("id", Text, nullable=False),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: As it was asked for, and what answered.
    Column("asked", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    #: The answer, and of the request what is shown with it; and the messages that it answers.
    Column("completion", JSON, nullable=False),
    Column("messages", JSON, nullable=False),
    UniqueConstraint("project_id", "id"),
    Index("ix_chat_completions_project_id", "project_id", "seq"),
    sqlite_autoincrement=True,
)

#: What was said, called and found: messages of threads, items of conversations, input and output of responses.
items = Table(
    "items",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: The thread or conversation that it is in; and the response that it came with, or came of.
    Column("thread_seq", Sequence, ForeignKey("threads.seq", ondelete="CASCADE")),
    Column("response_seq", Sequence, ForeignKey("responses.seq", ondelete="SET NULL")),
    #: Of a response's: whether it came of it; else it came with it.
    Column("output", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: As items of responses have it: `message`, `function_call`, `file_search_call`, ...
    Column("type", Text, nullable=False),
    Column("role", Text),
    Column("status", Text),
    #: Of a message of a thread its parts as threads have them, of other items as responses do.
    Column("content", JSON(none_as_null=True)),
    #: What an item of another type has beside these columns.
    Column("data", JSON(none_as_null=True)),
    #: Of messages of threads alone.
    Column("assistant_id", Text),
    Column("run_id", Text),
    Column("attachments", JSON(none_as_null=True)),
    Column("metadata", JSON(none_as_null=True)),
    Column("completed_at", BigInteger),
    Column("incomplete_at", BigInteger),
    Column("incomplete_reason", Text),
    Index("ix_items_thread_seq", "thread_seq", "seq"),
    Index("ix_items_response_seq", "response_seq", "seq"),
    Index("ix_items_project_id", "project_id"),
    Index("ix_items_run_id", "run_id"),
    sqlite_autoincrement=True,
)


def _events(name: str, of: str) -> Table:
    """What a run, or a response, has told of itself, numbered from 0: for whoever watches it (store/events.py)."""
    return Table(
        f"{name}_events",
        metadata,
        Column(f"{name}_seq", Sequence, ForeignKey(f"{of}.seq", ondelete="CASCADE"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("event", Text, nullable=False),
        #: JSON, as it is sent.
        Column("data", LargeBinary, nullable=False),
    )


run_events = _events("run", "runs")
response_events = _events("response", "responses")

#: Where code of a thread, or of responses, runs (`cntr_...`): its files stay while its process may end.
containers = Table(
    "containers",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    #: Of a thread's.
    Column("thread_seq", Sequence, ForeignKey("threads.seq", ondelete="CASCADE"), unique=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    #: After it was last active it lives so long; that of a thread lives as long as its thread.
    Column("expires_after_minutes", Integer, nullable=False),
    #: How often code has run in it: whose process has not seen the last of them has other variables, and files.
    Column("executions", BigInteger, nullable=False),
    Index("ix_containers_project_id", "project_id", "seq"),
    sqlite_autoincrement=True,
)

container_files = Table(
    "container_files",
    metadata,
    _seq(),
    #: `cfile_...`.
    Column("id", Text, nullable=False, unique=True),
    Column("container_seq", Sequence, ForeignKey("containers.seq", ondelete="CASCADE"), nullable=False),
    #: Below `/mnt/data`.
    Column("path", Text, nullable=False),
    #: The project's file that it is, where it is one; and that it was before code changed it.
    Column("file_id", Text),
    Column("before_id", Text),
    Column("digest", Text, ForeignKey("blobs.digest"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    #: `user`: somebody put it there. `assistant`: code made it.
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("container_seq", "path"),
    Index("ix_container_files_digest", "digest"),
    sqlite_autoincrement=True,
)
