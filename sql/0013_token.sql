-- The access token that calls to a remote carry: since when there has been this one, and until when it is good.
alter table rowcall.remote_status
    add column token_since timestamptz,
    add column token_until timestamptz;
