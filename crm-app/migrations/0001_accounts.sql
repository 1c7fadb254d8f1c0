-- People, how they prove who they are, and for how long that holds.
-- Migrations are only ever added to, and first expand, later contract: the release before this one keeps
-- serving while and after this runs. The schema itself is made by the migrator (sqlx.toml).

create table crm.app_user (
    id            uuid primary key,
    name          text not null,
    email         text not null,
    role          text not null check (role in ('admin', 'member')),
    status        text not null check (status in ('invited', 'active', 'deactivated')),
    password_hash text,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    constraint app_user_email_key unique (email),
    constraint app_user_active_has_password check (status <> 'active' or password_hash is not null)
);
comment on column crm.app_user.email is 'lower case, so that the unique constraint means what people mean';

create table crm.session (
    token_hash   bytea primary key check (octet_length(token_hash) = 32),
    user_id      uuid not null references crm.app_user,
    created_at   timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at   timestamptz not null
);
comment on column crm.session.token_hash is 'SHA-256 of the cookie: a copy of this table signs nobody in';
create index session_user_id on crm.session (user_id);
create index session_expires_at on crm.session (expires_at);

create table crm.one_time_link (
    token_hash bytea primary key check (octet_length(token_hash) = 32),
    user_id    uuid not null references crm.app_user,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    spent_at   timestamptz
);
create index one_time_link_user_id on crm.one_time_link (user_id);

create table crm.rate_limit (
    key        bytea primary key,
    drained_at timestamptz not null
);
comment on table crm.rate_limit is 'leaky buckets, shared by all replicas; the key is a hash, so no address or e-mail is kept';
comment on column crm.rate_limit.drained_at is 'when the bucket will be empty again';
