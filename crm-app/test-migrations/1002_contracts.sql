-- Contracts: releases from before look for the column by its old name, or do not know it at all, so what they write to a company is
-- refused. Reading works as before.

alter table crm.company rename column edition to revision;
update crm.company set revision = version;

-- Asked at the commit: the release that knows the column sets it by a statement of its own.
create function crm.company_has_revision() returns trigger language plpgsql as $$
begin
    if exists (select from crm.company c where c.id = new.id and c.revision is distinct from c.version) then
        raise exception 'a release that does not know the revision has written to a company'
            using errcode = 'check_violation', constraint = 'company_revision_is_version';
    end if;
    return null;
end
$$;
create constraint trigger company_revision_is_version after insert or update on crm.company
    deferrable initially deferred for each row execute function crm.company_has_revision();
