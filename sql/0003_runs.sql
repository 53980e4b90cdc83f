-- Bounded pieces of work that the service carries out beside the stream: snapshots, prunes, replays
-- and audits. Whoever wants one puts a row in here; the service that holds the source's lease begins
-- it. People pause, resume and cancel it by its state.
create table rowcall.run (
    id           bigint      primary key generated always as identity,
    source       text        not null,
    kind         text        not null check (kind in ('snapshot', 'prune', 'replay', 'audit')),
    -- Left out by a replay of all of the source's entities.
    entity       text,
    options      jsonb       not null default '{}',
    -- Who asked, such as command, initial or schedule.
    origin       text        not null,
    state        text        not null default 'requested'
        check (state in ('requested', 'running', 'paused', 'done', 'failed', 'cancelled')),
    -- Where it goes on after a restart: everything before is settled.
    cursor       jsonb,
    read         bigint      not null default 0,
    applied      bigint      not null default 0,
    skipped      bigint      not null default 0,
    parked       bigint      not null default 0,
    -- How many it will have read in the end, about.
    expected     bigint,
    -- Where the log stood when it began; never changed after that.
    base_lsn     pg_lsn,
    error        text,
    requested_at timestamptz not null default now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    updated_at   timestamptz not null default now(),
    constraint run_is_over check ((finished_at is not null) = (state in ('done', 'failed', 'cancelled'))),
    constraint run_has_begun check ((started_at is null) = (base_lsn is null))
) with (fillfactor = 50);
create index run_open on rowcall.run (source, id) where finished_at is null;

-- Pruning goes through the keys that have a link, page by page and in the order of their bytes.
create index link_keys on rowcall.link (route, key collate "C") where not gone;
