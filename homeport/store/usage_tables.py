"""The ledger at rest: a row for each admitted request, in a file of its own on SQLite, beside the state on PostgreSQL.

No prompt, no answer, no key. Classes of tokens are disjoint: input + cached + cache write + audio in + image in is the
prompt, output + audio out + image out the answer. Money is whole picodollars (10^-12 of a US dollar); null: nobody
knows the price. A request that was answered from the cache cost nothing and has what it would have cost in
`saved_pico`. `list_pico` is what it costs at list price under the name that was asked for, whoever answered: a model of
this machine, the cache. null: no list has the name.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

from homeport.store.tables import Sequence

metadata = MetaData()

usage = Table(
    "usage",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False, unique=True),
    #: Unix seconds, of the admission and of the end.
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    #: The endpoint's name (`chat.completions`), and the page of OpenAI's usage it is counted on (`completions`).
    Column("endpoint", Text, nullable=False),
    Column("page", Text, nullable=False),
    #: Asked for, and what ran; the target that answered.
    Column("model", Text, nullable=False),
    Column("ran", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("batch", Boolean, nullable=False),
    Column("service_tier", Text, nullable=False),
    Column("cache_hit", Boolean, nullable=False),
    #: `completed`, `failed`, `left` (the client went), `killed` (the process did), and the status that was sent.
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),
    #: The counts are ours, not the backend's.
    Column("estimated", Boolean, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("input_audio_tokens", BigInteger, nullable=False),
    Column("input_image_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("output_audio_tokens", BigInteger, nullable=False),
    Column("output_image_tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    #: What it was sized or graded by where that sets the price: `1024x1024`, `hd 1024x1792`.
    Column("size", Text, nullable=False),
    Column("cost_pico", BigInteger),
    Column("saved_pico", BigInteger),
    #: How the cost came about: `[[line item, quantity, unit, price of a unit in dollars, pico], ...]`, and the rule.
    Column("price_lines", JSON),
    Column("price_rule", Text),
    Column("first_ms", Integer, nullable=False),
    Column("total_ms", Integer, nullable=False),
    #: Targets that have failed before the one that answered.
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("list_pico", BigInteger),
    Index("ix_usage_page_started_at", "page", "started_at"),
    #: The newest first, of all or of some: what they are chosen by is in it, so rows that are passed over are not read.
    Index("ix_usage_newest", "started_at", "seq", "project_id", "key_id", "model", "endpoint", "outcome"),
    sqlite_autoincrement=True,
)

#: What the requests that began in an hour add up to, kept by the writer in the transaction of the rows: pages of usage
#: over months read a few thousand of these instead of millions of rows. Minutes are read from the rows. `model` is what
#: ran, as OpenAI's usage names the snapshot and not the alias.
hours = Table(
    "usage_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    Column("page", Text, primary_key=True),
    Column("project_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("batch", Boolean, primary_key=True),
    Column("service_tier", Text, primary_key=True),
    Column("size", Text, primary_key=True),
    Column("endpoint", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("input_audio_tokens", BigInteger, nullable=False),
    Column("input_image_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("output_audio_tokens", BigInteger, nullable=False),
    Column("output_image_tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("saved_pico", BigInteger, nullable=False),
    #: Requests whose price nobody knows.
    Column("unpriced", BigInteger, nullable=False),
    Column("list_pico", BigInteger, nullable=False, server_default="0"),
    #: Those whose name no list has.
    Column("unlisted", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

#: The same for money, by line item (`gpt-4o, input`) and its unit: what OpenAI's costs are grouped by.
costs = Table(
    "usage_costs",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    Column("project_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("line_item", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
