-- What delivery against slow, limited and failing remotes must remember. One section for each
-- capability.

-- Parking: a change may wait for its parent.
alter table rowcall.parked drop constraint parked_state_check;
alter table rowcall.parked add constraint parked_state_check
    check (state in ('retrying', 'queued', 'waiting', 'rejected', 'dead'));

-- Skipping what is unchanged: what the remote was told last, where that is certain.
alter table rowcall.link add column content bigint;

-- Writing back: what is still to be written into the source's rows. It comes with the settlement of
-- the change that brought it, and goes when the row has it.
create table rowcall.write_back (
    source       text        not null,
    route        text        not null,
    key          text        not null,
    -- By column.
    "values"     jsonb       not null,
    -- The transaction that made the row what it is, which others may not see yet.
    transaction  bigint,
    -- Tells it from what was owed to the row before.
    version      bigint      not null generated always as identity,
    attempts     integer     not null default 0,
    error        text,
    next_attempt timestamptz not null default now(),
    primary key (route, key)
) with (fillfactor = 70);
create index write_back_due on rowcall.write_back (source, next_attempt);
