-- Links by which an administrator fetches an exit bundle. A row goes when its link is used or replaced.

create table crm.exit_link (
    token_hash bytea primary key check (octet_length(token_hash) = 32),
    user_id    uuid not null references crm.app_user,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
comment on column crm.exit_link.token_hash is 'SHA-256 of the token: a copy of this table fetches nothing';
