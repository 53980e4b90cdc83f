-- What a run has found so far: an audit says how many objects are not what the rows say, and which first.

alter table rowcall.run add column report jsonb;
