-- What delivery against slow, limited and failing remotes must remember. One section for each
-- capability.

-- Parking: a change may wait for its parent.
alter table rowcall.parked drop constraint parked_state_check;
alter table rowcall.parked add constraint parked_state_check
    check (state in ('retrying', 'queued', 'waiting', 'rejected', 'dead'));

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
