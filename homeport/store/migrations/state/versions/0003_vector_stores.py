"""Vector stores: files in them, their chunks, and what finds chunks by their words; how much
projects have in them, by the hour. What of a project is moderated.

What finds chunks is another thing on each database, and follows them by itself: store/keywords.py says how it is asked.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
#: SQLite numbers rows by itself only where the column is an INTEGER.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: On SQLite: an index beside the chunks, which reads their texts through a view when it needs them.
FTS5 = (
    "CREATE VIEW vector_store_texts AS SELECT seq, store_seq, coalesce(words, text) AS words FROM vector_store_chunks",
    """
    CREATE VIRTUAL TABLE vector_store_terms USING fts5(
        store_seq, words, content = 'vector_store_texts', content_rowid = 'seq',
        tokenize = "porter unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    )
    """,
    """
    CREATE TRIGGER vector_store_terms_insert AFTER INSERT ON vector_store_chunks BEGIN
        INSERT INTO vector_store_terms (rowid, store_seq, words)
        VALUES (new.seq, new.store_seq, coalesce(new.words, new.text));
    END
    """,
    """
    CREATE TRIGGER vector_store_terms_delete AFTER DELETE ON vector_store_chunks BEGIN
        INSERT INTO vector_store_terms (vector_store_terms, rowid, store_seq, words)
        VALUES ('delete', old.seq, old.store_seq, coalesce(old.words, old.text));
    END
    """,
    """
    CREATE TRIGGER vector_store_terms_update AFTER UPDATE OF seq, store_seq, text, words ON vector_store_chunks BEGIN
        INSERT INTO vector_store_terms (vector_store_terms, rowid, store_seq, words)
        VALUES ('delete', old.seq, old.store_seq, coalesce(old.words, old.text));
        INSERT INTO vector_store_terms (rowid, store_seq, words)
        VALUES (new.seq, new.store_seq, coalesce(new.words, new.text));
    END
    """,
)

#: On PostgreSQL: a row beside each chunk. Its parser takes `host/path` and `3.14` for one word; here they are several,
#: as on SQLite.
TSVECTOR = (
    """
    CREATE TABLE vector_store_terms (
        chunk_seq BIGINT NOT NULL CONSTRAINT pk_vector_store_terms PRIMARY KEY
            CONSTRAINT fk_vector_store_terms_chunk_seq REFERENCES vector_store_chunks (seq) ON DELETE CASCADE,
        store_seq BIGINT NOT NULL,
        file_seq BIGINT NOT NULL,
        terms TSVECTOR NOT NULL
    )
    """,
    "CREATE INDEX ix_vector_store_terms_store_seq ON vector_store_terms (store_seq)",
    "CREATE INDEX ix_vector_store_terms_terms ON vector_store_terms USING gin (terms)",
    r"""
    CREATE OR REPLACE FUNCTION vector_store_terms_of() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO vector_store_terms (chunk_seq, store_seq, file_seq, terms)
        VALUES (NEW.seq, NEW.store_seq, NEW.file_seq, to_tsvector('english', translate(
            coalesce(NEW.words, NEW.text), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)
        )))
        ON CONFLICT (chunk_seq) DO UPDATE
            SET store_seq = excluded.store_seq, file_seq = excluded.file_seq, terms = excluded.terms;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER vector_store_terms AFTER INSERT OR UPDATE OF seq, store_seq, file_seq, text, words
        ON vector_store_chunks FOR EACH ROW EXECUTE FUNCTION vector_store_terms_of()
    """,
)


def upgrade() -> None:
    op.add_column("projects", sa.Column("moderation", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "vector_stores",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("expires_after_days", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("answered", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_vector_stores_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_vector_stores"),
        sa.UniqueConstraint("id", name="uq_vector_stores_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_vector_stores_expires_at", "vector_stores", ["expires_at"], unique=False)
    op.create_index("ix_vector_stores_project_id", "vector_stores", ["project_id", "seq"], unique=False)
    op.create_table(
        "vector_store_file_batches",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("store_seq", SEQUENCE, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["store_seq"], ["vector_stores.seq"], name="fk_vector_store_file_batches_store_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_vector_store_file_batches"),
        sa.UniqueConstraint("id", name="uq_vector_store_file_batches_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_vector_store_file_batches_store_seq", "vector_store_file_batches", ["store_seq", "seq"], unique=False
    )
    op.create_table(
        "vector_store_files",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("store_seq", SEQUENCE, nullable=False),
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("batch_seq", SEQUENCE, nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("chunk_size", sa.Integer(), nullable=False),
        sa.Column("chunk_overlap", sa.Integer(), nullable=False),
        sa.Column("usage_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_seq"],
            ["vector_store_file_batches.seq"],
            name="fk_vector_store_files_batch_seq",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name="fk_vector_store_files_file_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["store_seq"], ["vector_stores.seq"], name="fk_vector_store_files_store_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_vector_store_files"),
        sa.UniqueConstraint("store_seq", "file_id", name="uq_vector_store_files_store_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_vector_store_files_batch_seq", "vector_store_files", ["batch_seq", "seq"], unique=False)
    op.create_index("ix_vector_store_files_file_id", "vector_store_files", ["file_id"], unique=False)
    op.create_index("ix_vector_store_files_status", "vector_store_files", ["store_seq", "status", "seq"], unique=False)
    op.create_table(
        "vector_store_chunks",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("store_seq", SEQUENCE, nullable=False),
        sa.Column("file_seq", SEQUENCE, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_seq"], ["vector_store_files.seq"], name="fk_vector_store_chunks_file_seq", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["store_seq"], ["vector_stores.seq"], name="fk_vector_store_chunks_store_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_vector_store_chunks"),
        sa.UniqueConstraint("file_seq", "number", name="uq_vector_store_chunks_file_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_vector_store_chunks_store_seq", "vector_store_chunks", ["store_seq", "seq"], unique=False)
    op.create_table(
        "vector_store_usage",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "project_id", name="pk_vector_store_usage"),
    )
    connection = op.get_bind()
    for statement in FTS5 if connection.dialect.name == "sqlite" else TSVECTOR:
        connection.exec_driver_sql(statement)
