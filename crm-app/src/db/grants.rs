//! Which role may do what: written down once, set by `migrate`, checked by `doctor`.

use sqlx::{AssertSqlSafe, PgConnection};

/// The role that owns everything.
pub const OWNER_ROLE: &str = "crm_owner";
/// The role of the serving application.
pub const APP_ROLE: &str = "crm_app";
/// The role that backups read with.
pub const BACKUP_ROLE: &str = "crm_backup";

/// What the application may do with each table. The audit log can be added to and read, never changed.
pub const TABLES: &[(&str, &[&str])] = &[
    ("app_user", &["select", "insert", "update"]),
    ("audit_log", &["select", "insert"]),
    ("company", &["select", "insert", "update"]),
    ("exit_link", &["select", "insert", "delete"]),
    ("one_time_link", &["select", "insert", "update"]),
    ("rate_limit", &["select", "insert", "update", "delete"]),
    ("schema_migration", &["select"]),
    ("session", &["select", "insert", "update", "delete"]),
];

/// Everything that can be granted on a table and matters here.
pub const PRIVILEGES: &[&str] =
    &["select", "insert", "update", "delete", "truncate", "references", "trigger"];

/// Sets the rights of both roles to exactly what this file says. Safe to run again.
pub async fn set(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let database: String = sqlx::query_scalar!(r#"select quote_ident(current_database()) as "name!""#)
        .fetch_one(&mut *db)
        .await?;
    let mut statements = vec![
        format!("revoke all on database {database} from public"),
        format!("grant connect on database {database} to {APP_ROLE}, {BACKUP_ROLE}"),
        format!("grant usage on schema crm to {APP_ROLE}, {BACKUP_ROLE}"),
        format!("grant select on all tables in schema crm to {BACKUP_ROLE}"),
        format!("grant select on all sequences in schema crm to {BACKUP_ROLE}"),
        format!("revoke all on all tables in schema crm from {APP_ROLE}"),
        // To read them as well: exit bundles that people fetch are dumped by the application.
        format!("grant usage, select on all sequences in schema crm to {APP_ROLE}"),
    ];
    let table_grants = TABLES
        .iter()
        .map(|(table, privileges)| format!("grant {} on crm.{table} to {APP_ROLE}", privileges.join(", ")));
    statements.extend(table_grants);
    // One simple query is one transaction: nobody sees the moment between revoke and grant.
    sqlx::raw_sql(AssertSqlSafe(statements.join(";\n"))).execute(db).await?;
    Ok(())
}

/// What the application's rights differ in from what this file says, one sentence each.
pub async fn findings(db: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let all: Vec<String> = PRIVILEGES.iter().map(ToString::to_string).collect();
    let held = sqlx::query!(
        r#"select c.relname::text as "table!", p.privilege as "privilege!",
                  has_table_privilege($1, c.oid, p.privilege) as "held!"
           from pg_class c, unnest($2::text[]) as p (privilege)
           where c.relnamespace = 'crm'::regnamespace and c.relkind = 'r'"#,
        APP_ROLE,
        &all,
    )
    .fetch_all(db)
    .await?;
    let wanted = |table: &str, privilege: &str| {
        TABLES.iter().any(|(name, privileges)| *name == table && privileges.contains(&privilege))
    };
    Ok(held
        .into_iter()
        .filter_map(|row| match (row.held, wanted(&row.table, &row.privilege)) {
            (true, false) => Some(format!("{APP_ROLE} may {} {} and should not", row.privilege, row.table)),
            (false, true) => Some(format!("{APP_ROLE} may not {} {} and should", row.privilege, row.table)),
            _ => None,
        })
        .collect())
}
