//! `crm-app doctor`

use crm_app::{command::doctor::examine, db};
use rstest::rstest;
use sqlx::AssertSqlSafe;

use crate::app::TestApp;

async fn findings(app: &TestApp) -> Vec<(&'static str, usize)> {
    let examined = examine(&app.app.db).await.unwrap();
    examined.into_iter().map(|one| (one.check, one.findings.len())).collect()
}

#[rstest]
#[case::a_grant_too_many("grant delete on crm.audit_log to crm_app", "grants")]
#[case::a_grant_too_few("revoke insert on crm.company from crm_app", "grants")]
#[case::the_chain(
    "alter table crm.audit_log disable trigger all; delete from crm.audit_log where id = 1",
    "audit-chain"
)]
#[case::search("update crm.company set name = 'other'", "search-index")]
#[case::search_pieces("update crm.company set search_grams = '{}'", "search-index")]
#[tokio::test]
async fn damage_is_found_where_it_is(#[case] damage: &'static str, #[case] check: &str) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.company_named("示例").await;
    let well = [("schema", 0), ("grants", 0), ("audit-chain", 0), ("search-index", 0)];
    assert_eq!(findings(&app).await, well);
    let db = app.database.superuser_pool().await;
    sqlx::raw_sql(AssertSqlSafe(damage)).execute(&db).await.unwrap();
    for (found, count) in findings(&app).await {
        assert_eq!(count, usize::from(found == check), "{found}");
    }
}

#[tokio::test]
async fn an_old_schema_is_a_finding() {
    let app = TestApp::start().await;
    let db = app.database.superuser_pool().await;
    sqlx::raw_sql("delete from crm.schema_migration where version = 4").execute(&db).await.unwrap();
    assert_eq!(findings(&app).await, [("schema", 1)]);
}

/// A table of any size is walked by one statement.
#[tokio::test]
async fn no_statement_of_it_is_cut_off() {
    let database = crate::database::migrated().await;
    let pool = db::unhurried_pool(database.options("crm_app"));
    let timeout: String = sqlx::query_scalar("show statement_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(timeout, "0");
}
