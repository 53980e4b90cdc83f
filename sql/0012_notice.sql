-- What was told to each target of `notify` of how things stand, so that a restart neither tells a problem again nor
-- forgets its end. It is in the state database of the first source.
create table rowcall.notice (
    target  text        not null,
    -- A check, such as `remote.bank`.
    name    text        not null,
    state   text        not null check (state in ('ok', 'warn', 'fail')),
    since   timestamptz not null,
    told_at timestamptz not null,
    primary key (target, name)
);

-- The runs whose end was told to a target. Run 0 stands for when the target was first there: of runs that ended
-- before it hears nothing.
create table rowcall.notice_run (
    target  text        not null,
    source  text        not null,
    run     bigint      not null,
    told_at timestamptz not null default now(),
    primary key (target, source, run)
);
