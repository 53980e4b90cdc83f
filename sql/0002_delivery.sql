-- What delivery against slow, limited and failing remotes must remember. One section for each
-- capability.

-- Parking: a change may wait for its parent.
alter table rowcall.parked drop constraint parked_state_check;
alter table rowcall.parked add constraint parked_state_check
    check (state in ('retrying', 'queued', 'waiting', 'rejected', 'dead'));
