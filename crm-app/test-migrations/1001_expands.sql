-- Expands: releases from before do not know the column, and work on.

alter table crm.company add column edition integer;
comment on column crm.company.edition is 'the version of the row as the last release that knows this column left it';
