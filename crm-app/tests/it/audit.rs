//! The audit chain, and the order of changes.

use std::collections::BTreeSet;

use crm_app::db::audit::{Verdict, verify};
use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};

use crate::app::TestApp;

async fn verdict(app: &TestApp) -> Verdict {
    let mut db = app.app.db.acquire().await.unwrap();
    verify(&mut db).await.unwrap()
}

#[tokio::test]
async fn fifty_writers_make_one_chain() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let Verdict::Whole(before) = verdict(&app).await else { panic!("broken from the start") };
    let write = |n: i32| {
        let admin = admin.clone();
        async move {
            let id = admin.company_named(&format!("公司{n}")).await;
            admin.update_company(id, 1, json!({"level": "A"})).await.expect(200);
        }
    };
    join_all((0..50).map(write)).await;
    assert_eq!(verdict(&app).await, Verdict::Whole(before + 100));
}

#[tokio::test]
async fn whoever_follows_the_changes_misses_none() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let db = app.database.superuser_pool().await;
    let write = move |n: i32| {
        let admin = admin.clone();
        async move { admin.company_named(&format!("公司{n}")).await }
    };
    // More at once would wait for a connection longer than the CRM lets anybody wait.
    let writing = tokio::spawn(stream::iter(0..100).map(write).buffer_unordered(8).collect::<Vec<_>>());
    let mut followed: BTreeSet<i64> = BTreeSet::new();
    let mut last = 0_i64;
    loop {
        let done = writing.is_finished();
        let news = sqlx::query("select seq from crm.company where seq > $1 order by seq")
            .bind(last)
            .fetch_all(&db)
            .await
            .unwrap();
        for row in news {
            last = row.get("seq");
            followed.insert(last);
        }
        if done {
            break;
        }
    }
    assert_eq!(followed.len(), 100);
}

#[tokio::test]
async fn any_change_behind_our_back_is_noticed() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("示例").await;
    admin.update_company(id, 1, json!({"level": "A"})).await.expect(200);
    let Verdict::Whole(last) = verdict(&app).await else { panic!("broken from the start") };
    let db = app.database.superuser_pool().await;
    let entry = last - 1;
    for damage in [
        format!("update crm.audit_log set changes = '{{\"name\": [null, \"x\"]}}' where id = {entry}"),
        format!("update crm.audit_log set changes = changes - 'name' where id = {entry}"),
        format!("update crm.audit_log set at = at + interval '1 microsecond' where id = {entry}"),
        format!("update crm.audit_log set actor_id = null where id = {entry}"),
        format!("update crm.audit_log set action = 'delete' where id = {entry}"),
        format!("update crm.audit_log set record_id = gen_random_uuid() where id = {entry}"),
        format!("update crm.audit_log set salt = substr(sha256('x'), 1, 16) where id = {entry}"),
        format!("delete from crm.audit_log where id = {entry}"),
    ] {
        let mut tx = db.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(damage.clone())).execute(&mut *tx).await.unwrap();
        let broken = verify(&mut tx).await.unwrap();
        assert!(matches!(broken, Verdict::BrokenAt(_)), "{damage}");
        tx.rollback().await.unwrap();
    }
    assert_eq!(verdict(&app).await, Verdict::Whole(last));
}

#[tokio::test]
async fn the_application_cannot_rewrite_history() {
    let app = TestApp::start().await;
    app.admin().await;
    for sql in [
        "update crm.audit_log set action = 'x'",
        "delete from crm.audit_log",
        "truncate crm.audit_log",
        "drop table crm.audit_log",
        "alter table crm.company add column x text",
        "create table crm.x (id int)",
        "create table public.x (id int)",
        "create temporary table company (id int)",
        "delete from crm.company",
        "delete from crm.schema_migration",
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&app.app.db).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{sql}");
    }
}

#[tokio::test]
async fn signing_in_and_people_are_in_the_log() {
    let app = TestApp::start().await;
    let mut admin = app.admin().await;
    app.member(&admin, "lilei@acme.example").await;
    let id = admin.user_id("lilei@acme.example").await;
    admin.update_user(&id, json!({"status": "deactivated"})).await.expect(200);
    admin.sign_out().await.expect(204);
    let db = app.database.superuser_pool().await;
    let actions: Vec<String> =
        sqlx::query_scalar("select action from crm.audit_log where object = 'user' order by id")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(actions, ["create", "new-link", "spend-link", "create", "spend-link", "update", "sign-out"]);
    let secrets: i64 =
        sqlx::query_scalar("select count(*) from crm.audit_log where changes::text ~ 'argon2|welcome'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(secrets, 0);
}
