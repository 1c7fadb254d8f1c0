-- Companies, and the order of all changes for whoever follows them.

-- Taken under an advisory lock at the end of a transaction, so that numbers become visible in their order
-- and "everything after the last one I saw" misses nothing.
create sequence crm.change_seq as bigint cache 1;

create table crm.company (
    id              uuid primary key,
    version         integer not null default 1 check (version > 0),
    seq             bigint not null,
    name            text not null,
    short_name      text,
    uscc            text,
    level           text check (level in ('A', 'B', 'C')),
    industry        text,
    phone           text,
    email           text,
    website         text,
    address         text,
    annual_revenue  numeric(18, 2) check (annual_revenue >= 0),
    next_contact_on date,
    owner_id        uuid references crm.app_user,
    name_key        text not null,
    search_text     text not null,
    search_grams    text[] not null,
    created_at      timestamptz not null,
    created_by      uuid not null references crm.app_user,
    updated_at      timestamptz not null,
    updated_by      uuid not null references crm.app_user,
    constraint company_uscc_key unique (uscc),
    constraint company_seq_key unique (seq)
);
comment on column crm.company.uscc is 'unified social credit code (统一社会信用代码)';
comment on column crm.company.name_key is 'what sorting by name compares: pinyin for Chinese characters';
comment on column crm.company.search_text is 'name and short name, normalised (domain/search.rs)';
comment on column crm.company.search_grams is 'one and two character pieces of search_text, and phone tails';
create index company_updated_at on crm.company (updated_at desc, id desc);
create index company_name_key on crm.company (name_key, id);
create index company_owner_id on crm.company (owner_id);
-- No pending list: it would make some searches slow to save a little on writes that are rare.
create index company_search on crm.company using gin (search_grams) with (fastupdate = off);
