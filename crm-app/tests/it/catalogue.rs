//! A whole database as text, to be compared with another.

use sqlx::{AssertSqlSafe, PgPool};

use crate::database::Database;

/// Everything that PostgreSQL knows of a database but its rows: owners, rights, settings, tables, constraints, indexes.
const CATALOGUE: &str = "
with acl as (
    select 'database' as kind, '' as name, datdba as owner, datacl as acl from pg_database where datname = current_database()
    union all select 'schema', nspname, nspowner, nspacl from pg_namespace where nspname in ('crm', 'public')
    union all select relkind::text, relname, relowner, relacl from pg_class where relnamespace = 'crm'::regnamespace
    union all select 'column', attrelid::regclass || '.' || attname, null, attacl
        from pg_attribute where attrelid in (select oid from pg_class where relnamespace = 'crm'::regnamespace)
)
select format('%s %s is of %s', kind, name, owner::regrole) from acl where owner is not null
union all select format('%s %s: %s may %s (%s)', kind, name, a.grantee::regrole, a.privilege_type, a.is_grantable)
    from acl, aclexplode(acl) a
union all select format('database: %s %s %s %s %s %s %s', pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype,
        datlocale, datconnlimit, datallowconn) from pg_database where datname = current_database()
union all select format('settings: %s', setconfig) from pg_db_role_setting
    where setdatabase = (select oid from pg_database where datname = current_database())
union all select format('%s.%s %s %s %s %s', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid))
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'crm'::regnamespace and c.relkind = 'r' and a.attnum > 0
union all select format('%s %s %s %s', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid)) from pg_constraint
    where connamespace = 'crm'::regnamespace
union all select format('%s %s', indexrelid::regclass, pg_get_indexdef(indexrelid)) from pg_index
    where indrelid in (select oid from pg_class where relnamespace = 'crm'::regnamespace)
union all select format('%s %s %s %s', seqrelid::regclass, seqtypid::regtype, seqincrement, seqcache) from pg_sequence
union all select format('%s.%s: %s', objoid::regclass, objsubid, description) from pg_description
    where objoid in (select oid from pg_class where relnamespace = 'crm'::regnamespace)
union all select format('default %s %s', defaclnamespace::regnamespace, defaclacl) from pg_default_acl
union all select format('extension %s', extname) from pg_extension
union all select format('function %s', oid::regprocedure) from pg_proc where pronamespace = 'crm'::regnamespace
union all select format('trigger %s on %s', tgname, tgrelid::regclass) from pg_trigger where not tgisinternal
order by 1";

/// Tables in which a restore changes nothing, but for the entry in the audit log that says so.
const KEPT: [&str; 4] = ["app_user", "audit_log", "company", "schema_migration"];

pub async fn catalogue(database: &Database) -> Vec<String> {
    let db = database.superuser_pool().await;
    let lines = sqlx::query_scalar(CATALOGUE).fetch_all(&db).await.unwrap();
    db.close().await;
    lines
}

/// All rows of the tables in which a restore changes nothing else, and where the sequence stands.
pub async fn content(database: &Database) -> Vec<String> {
    let db = database.superuser_pool().await;
    let mut all = Vec::new();
    for table in KEPT {
        all.extend(rows(&db, table).await);
    }
    let seq: i64 = sqlx::query_scalar("select last_value from crm.change_seq").fetch_one(&db).await.unwrap();
    all.push(format!("change_seq {seq}"));
    db.close().await;
    all
}

async fn rows(db: &PgPool, table: &str) -> Vec<String> {
    let which = if table == "audit_log" { "where action <> 'restore'" } else { "" };
    let rows = AssertSqlSafe(format!("select '{table} ' || t::text from crm.{table} t {which} order by 1"));
    sqlx::query_scalar(rows).fetch_all(db).await.unwrap()
}
