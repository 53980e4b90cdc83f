-- Requests that were sent for the present call of a parked change, by which its records are numbered.

alter table rowcall.parked add column requests integer not null default 0;
