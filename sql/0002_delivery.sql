-- What delivery against slow, limited and failing remotes must remember. One section for each
-- capability.

-- Parking: a change may wait for its parent.
alter table rowcall.parked drop constraint parked_state_check;
alter table rowcall.parked add constraint parked_state_check
    check (state in ('retrying', 'queued', 'waiting', 'rejected', 'dead'));

-- Skipping what is unchanged: what the remote was told last, where that is certain.
alter table rowcall.link add column content bigint;

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
