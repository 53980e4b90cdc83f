-- Named checkpoints: each is a replication slot of the source that nobody streams from, so that the
-- server keeps the log from there on. The row is written before the slot is made and goes after it,
-- so that no slot is forgotten.
create table rowcall.checkpoint_mark (
    source     text        not null,
    name       text        not null,
    -- The replication slot, a copy of the source's.
    slot       text        not null,
    -- Every transaction that ends after this can be read from it.
    lsn        pg_lsn      not null,
    created_at timestamptz not null default now(),
    -- Why the service gave it up; its slot is dropped then.
    given_up   text,
    primary key (source, name)
);
