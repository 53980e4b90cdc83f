-- The newest change of a key that a replay has brought, with the run's number in its ordinal: when that goes on
-- after a crash, the key goes on behind it.
alter table rowcall.link add column replayed_lsn pg_lsn;
alter table rowcall.link add column replayed_ordinal bigint;
-- The run that sends a parked change again.
alter table rowcall.parked add column replayed_run bigint;
