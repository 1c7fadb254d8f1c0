-- Works on most data, and not where the name of a company has this word.

alter table crm.company add constraint company_name_is_migratable check (name not like '%unmigratable%');
