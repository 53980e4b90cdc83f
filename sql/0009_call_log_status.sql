-- How the log of calls stands, as the source's instance sees it; for a person to look at.
create table rowcall.call_log_status (
    source     text        primary key,
    -- Moments are said as seconds before `updated_at`: clocks differ.
    gauges     jsonb       not null,
    updated_at timestamptz not null default now()
);
