"""What is kept of a vector store in memory is of one `generation`: whoever changes what is found in it raises that, in
the same transaction."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store.tables import files, vector_store_files, vector_stores


async def raise_of(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
    """which: of `vector_stores`. The caller has their rows from now on."""
    stores = vector_stores.c
    taken = sa.select(stores.seq).where(which).order_by(stores.seq).with_for_update(key_share=True)
    raised = sa.update(vector_stores).where(stores.seq.in_(taken)).values(generation=stores.generation + 1)
    await connection.execute(raised)


async def raise_of_files(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
    """Files are about to be deleted, and with them what stores have of them. which: of `files`. The caller has their
    rows from now on."""
    inside = vector_store_files.c
    await connection.execute(sa.select(files.c.seq).where(which).order_by(files.c.seq).with_for_update())
    stores = sa.select(inside.store_seq).join(files, files.c.id == inside.file_id).where(which)
    await raise_of(connection, vector_stores.c.seq.in_(stores))
