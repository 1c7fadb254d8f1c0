-- Who did what: one table, append only (the app has no right to change it), each row chained to the one
-- before it. The chain covers a salted digest of the values, not the values, so that a person's values can
-- be erased later and the chain still verifies.

create table crm.audit_log (
    id        bigint primary key check (id > 0),
    at        timestamptz not null,
    actor_id  uuid references crm.app_user,
    action    text not null,
    object    text not null,
    record_id uuid not null,
    changes   jsonb not null,
    salt      bytea not null check (octet_length(salt) = 16),
    digest    bytea not null check (octet_length(digest) = 32),
    hash      bytea not null check (octet_length(hash) = 32)
);
comment on column crm.audit_log.id is 'position in the chain: 1, 2, 3, without gaps';
comment on column crm.audit_log.changes is 'field -> [old, new], as text';
create index audit_log_record on crm.audit_log (object, record_id, id desc);
