-- For which time each schedule has asked for its run last, so that what was missed while nobody was at
-- work is caught up, once.
create table rowcall.schedule (
    source  text        not null,
    -- The entity, the kind of run and when it comes: another time is another schedule.
    name    text        not null,
    last_at timestamptz not null,
    primary key (source, name)
);
