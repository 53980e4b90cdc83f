-- What operators did on the admin address, or by `rowcall pause` and `resume`: written down before it is done,
-- and again when it has ended.
create table rowcall.operation (
    id       bigint      generated always as identity primary key,
    at       timestamptz not null default now(),
    -- `token` or `local`, or `command` and the user who gave it.
    who      text        not null,
    -- The other end of the connection, if it came over one.
    address  text,
    -- Such as `parked.discard`.
    action   text        not null,
    -- What was asked, with its reason.
    asked    jsonb       not null,
    -- `done`, `refused`, or null if it has not ended, or the process died meanwhile.
    outcome  text,
    -- The answer, or why not.
    answer   jsonb,
    ended_at timestamptz
);

-- A route or remote that a person has paused: nothing is sent for it. It is in every state database that it
-- concerns.
create table rowcall.halt (
    what   text        not null check (what in ('route', 'remote')),
    name   text        not null,
    since  timestamptz not null default now(),
    who    text        not null,
    reason text,
    primary key (what, name)
);
