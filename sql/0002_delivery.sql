-- What delivery against slow, limited and failing remotes must remember. One section for each
-- capability.

-- Parking: a change may wait for its parent.
alter table rowcall.parked drop constraint parked_state_check;
alter table rowcall.parked add constraint parked_state_check
    check (state in ('retrying', 'queued', 'waiting', 'rejected', 'dead'));

alter table rowcall.parked
    -- Once it has given up, later changes of the key go on (`on_dead: continue`).
    add column lets_pass boolean not null default false,
    add column holds     boolean not null
        generated always as (state in ('retrying', 'queued', 'waiting') or not lets_pass) stored,
    -- While it is queued it may merge with a newer change of its key: it was never sent.
    add column merges    boolean not null default false,
    -- The key came to be with it, or with a change that was merged into it.
    add column born      boolean not null default false,
    -- Its present call may have been made without our knowing the answer.
    add column doubt     boolean not null default true;

-- What is due, route by route, in the order in which it is taken up.
drop index rowcall.parked_due;
create index parked_due on rowcall.parked (source, route, next_attempt, commit_lsn, ordinal, key)
    where state = 'retrying';
-- The delete half of a key change, which its insert half waits for.
create index parked_halves on rowcall.parked (route, commit_lsn, ordinal) where change ->> 'op' = 'delete';

-- Dependencies: what a link depends on, as `["route/key", …]`, found from there by the index.
alter table rowcall.link add column parents jsonb;
create index link_parents on rowcall.link using gin (parents) with (fastupdate = off)
    where parents is not null;

-- What a waiting change waits for: this key's link for reason `parent`, the end of its children's
-- links for reason `children`.
alter table rowcall.parked
    -- What its row depends on, as in the link; of changes that hold up the delete of a parent.
    add column parents jsonb,
    add column waits_for_route text,
    add column waits_for_key text,
    add column deletes boolean not null generated always as (coalesce(change ->> 'op' = 'delete', false)) stored;
create index parked_parents on rowcall.parked using gin (parents) with (fastupdate = off)
    where parents is not null;
create index parked_waiting on rowcall.parked (waits_for_route, waits_for_key) where state = 'waiting';
create index parked_deletes on rowcall.parked (route, key, commit_lsn, ordinal) where deletes;

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

-- Limits: how each remote stands, as the source's instance sees it; for a person to look at.
create table rowcall.remote_status (
    source      text        not null,
    remote      text        not null,
    -- ready, paused, open or half_open
    gate        text        not null,
    since       timestamptz,
    until       timestamptz,
    why         text,
    -- What the remote last said of its quota.
    quota_limit bigint,
    quota_left  bigint,
    -- How many changes may be under way at once now, and at most.
    width       integer     not null,
    concurrency integer     not null,
    in_flight   integer     not null,
    waiting     bigint      not null,
    updated_at  timestamptz not null default now(),
    primary key (source, remote)
);
