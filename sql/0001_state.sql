-- What Rowcall must remember across a crash. Everything lives in the schema `rowcall`, which no
-- publication of ours ever contains.

-- How far each source is settled, and the database it was settled against.
create table rowcall.checkpoint (
    source       text        primary key,
    system_id    text        not null,
    timeline     integer     not null,
    slot         text        not null,
    -- Every transaction that ends at or before this position is settled.
    lsn          pg_lsn      not null,
    -- When the newest settled transaction was committed.
    committed_at timestamptz,
    updated_at   timestamptz not null default now()
);

-- What is known of a key at a remote.
create table rowcall.link (
    route      text        not null,
    key        text        not null,
    saved      jsonb       not null default '{}',
    commit_lsn pg_lsn      not null,
    ordinal    bigint      not null,
    -- Deleted at the remote; the row goes once the checkpoint has passed the change.
    gone       boolean     not null default false,
    synced_at  timestamptz not null default now(),
    primary key (route, key)
) with (fillfactor = 80);
create index link_gone on rowcall.link (commit_lsn) where gone;

-- Changes taken out of the stream's way, in order per route and key.
create table rowcall.parked (
    id           bigint      not null generated always as identity unique,
    source       text        not null,
    route        text        not null,
    key          text        not null,
    commit_lsn   pg_lsn      not null,
    ordinal      bigint      not null,
    change       jsonb       not null,
    answers      jsonb       not null default '[]',
    state        text        not null check (state in ('retrying', 'queued', 'rejected', 'dead')),
    reason       text        not null,
    message      text        not null,
    attempts     integer     not null default 0,
    -- The change its call keys are made of: the oldest one that was merged into it.
    called_lsn     pg_lsn    not null,
    called_ordinal bigint    not null,
    next_attempt timestamptz,
    parked_at    timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (route, key, commit_lsn, ordinal)
);
create index parked_due on rowcall.parked (source, next_attempt) where state = 'retrying';

-- Counters a person looks at; written with the settlements, so they never run ahead of them.
create table rowcall.route_status (
    route         text        primary key,
    source        text        not null,
    applied       bigint      not null default 0,
    skipped       bigint      not null default 0,
    parked        bigint      not null default 0,
    in_flight     bigint      not null default 0,
    backing_off   bigint      not null default 0,
    last_error    text,
    last_error_at timestamptz,
    updated_at    timestamptz not null default now()
);

-- Who is at work on a source, and how it is doing.
create table rowcall.instance (
    source        text        primary key,
    name          text        not null,
    state         text        not null,
    since         timestamptz not null default now(),
    seen_at       timestamptz not null default now(),
    -- Commit time of the oldest transaction that is read but not settled.
    pending_since timestamptz,
    -- How far the stream has been read.
    received_lsn  pg_lsn
);
