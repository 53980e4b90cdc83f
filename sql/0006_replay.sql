-- A parked change may be one that a replay sends again: unless something was applied from this position
-- on, the link is no reason to leave it out.
alter table rowcall.parked add column replayed_to pg_lsn;

-- Where the log stood at some times, for the slot that trails behind (`replay.keep`): whatever is
-- committed from that time on comes at or after that position.
create table rowcall.replay_point (
    source text        not null,
    lsn    pg_lsn      not null,
    -- By the clock of the source.
    at     timestamptz not null,
    primary key (source, lsn)
);
