//! `crm-app migrate`

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use crm_app::{
    clock::Clock,
    command::{Outcome, Problem, migrate::migrate},
    db::{grants, schema},
};
use futures_util::future::join_all;
use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::database::{self, Database};

const WITHIN: Duration = Duration::from_mins(1);

async fn run(database: &Database, migrator: &Migrator, within: Duration) -> Result<Outcome, Problem> {
    migrate(database.options("crm_owner"), migrator, None, within, &Clock::system()).await
}

/// The product's migrations and one more.
fn with_another(version: i64, sql: &'static str) -> Migrator {
    let mut migrations: Vec<Migration> = schema::MIGRATOR.iter().cloned().collect();
    migrations.push(Migration::new(version, "test".into(), MigrationType::Simple, sql.into_sql_str(), false));
    Migrator {
        migrations: Cow::Owned(migrations),
        table_name: schema::MIGRATOR.table_name.clone(),
        ..Migrator::DEFAULT
    }
}

async fn dump(database: &Database) -> Vec<String> {
    let db = database.superuser_pool().await;
    sqlx::query_scalar(
        "select format('%s.%s %s %s', table_name, column_name, data_type, is_nullable) from information_schema.columns
         where table_schema = 'crm'
         union all select format('%s', relacl) from pg_class where relnamespace = 'crm'::regnamespace order by 1",
    )
    .fetch_all(&db)
    .await
    .unwrap()
}

#[tokio::test]
async fn running_again_changes_nothing() {
    let database = Database::create().await;
    let outcome = Ok(Outcome::Migrated { schema_version: schema::needed() });
    assert_eq!(run(&database, &schema::MIGRATOR, WITHIN).await, outcome);
    let before = dump(&database).await;
    assert_eq!(run(&database, &schema::MIGRATOR, WITHIN).await, outcome);
    assert_eq!(dump(&database).await, before);
}

#[tokio::test]
async fn runs_at_the_same_time_take_turns() {
    let database = Database::create().await;
    let outcomes = join_all((0..8).map(|_| run(&database, &schema::MIGRATOR, WITHIN))).await;
    for outcome in outcomes {
        assert_eq!(outcome, Ok(Outcome::Migrated { schema_version: schema::needed() }));
    }
}

#[tokio::test]
async fn a_failure_is_named_without_values_and_leaves_nothing_behind() {
    let database = database::migrated().await;
    let before = dump(&database).await;
    let broken = with_another(
        9_001,
        "create table crm.thing (name text constraint thing_name_key unique);
         insert into crm.thing values ('secret'), ('secret')",
    );
    let problem = run(&database, &broken, WITHIN).await.unwrap_err();
    let expected = Problem::MigrationFailed {
        migration: Some(9_001),
        sqlstate: Some("23505".to_owned()),
        constraint: Some("thing_name_key".to_owned()),
    };
    assert_eq!(problem, expected);
    assert_eq!(dump(&database).await, before);
}

#[tokio::test]
async fn a_lock_is_waited_for_in_small_portions() {
    let database = database::migrated().await;
    let db = database.superuser_pool().await;
    let mut holder = db.begin().await.unwrap();
    sqlx::query("lock table crm.company in access share mode").execute(&mut *holder).await.unwrap();
    let migrator = with_another(9_001, "alter table crm.company add column later text");
    assert_eq!(run(&database, &migrator, Duration::from_millis(2_500)).await, Err(Problem::Locked));
    let migrating = run(&database, &migrator, WITHIN);
    let releasing = async {
        // While the migration waits, the application still reads: nobody queues behind it for longer than its
        // lock timeout.
        for _ in 0..3 {
            let reading = sqlx::query("select count(*) from crm.company").execute(&db);
            tokio::time::timeout(Duration::from_secs(10), reading).await.expect("reading waits").unwrap();
        }
        holder.rollback().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(migrating, releasing);
    assert_eq!(outcome, Ok(Outcome::Migrated { schema_version: 9_001 }));
}

#[tokio::test]
async fn the_deadline_holds_during_a_migration() {
    let database = database::migrated().await;
    let started = Instant::now();
    let slow = with_another(9_001, "select pg_sleep(60)");
    assert_eq!(run(&database, &slow, Duration::from_secs(1)).await, Err(Problem::DeadlineExceeded));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_older_release_leaves_a_newer_schema_alone() {
    let database = Database::create().await;
    let newer = with_another(9_001, "select 1");
    let mut newer = newer;
    newer.create_schemas = schema::MIGRATOR.create_schemas.clone();
    run(&database, &newer, WITHIN).await.unwrap();
    let problem = run(&database, &schema::MIGRATOR, WITHIN).await.unwrap_err();
    assert_eq!(problem, Problem::SchemaTooNew { schema_version: 9_001, known: schema::needed() });
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    let database = Database::create().await;
    let mut first = with_another(9_001, "select 1");
    first.create_schemas = schema::MIGRATOR.create_schemas.clone();
    run(&database, &first, WITHIN).await.unwrap();
    let problem = run(&database, &with_another(9_001, "select 2"), WITHIN).await.unwrap_err();
    assert_eq!(problem, Problem::MigrationChanged { migration: 9_001 });
}

#[tokio::test]
async fn nobody_listening_is_said_at_the_deadline() {
    let database = Database::create().await;
    let options = database.options("crm_owner").host("127.0.0.1").port(1);
    let started = Instant::now();
    let problem = migrate(options, &schema::MIGRATOR, None, Duration::from_millis(700), &Clock::system())
        .await
        .unwrap_err();
    assert_eq!(problem, Problem::DatabaseUnreachable { sqlstate: None });
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_database_that_is_never_made_is_named_by_its_code() {
    let database = Database::create().await;
    let missing = database.options("crm_owner").database("crm_test_that_is_not_there");
    let problem = migrate(missing, &schema::MIGRATOR, None, Duration::from_millis(1_500), &Clock::system())
        .await
        .unwrap_err();
    assert_eq!(problem, Problem::DatabaseUnreachable { sqlstate: Some("3D000".to_owned()) });
}

#[tokio::test]
async fn every_table_has_its_rights_written_down() {
    let database = database::migrated().await;
    let db = database.superuser_pool().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'crm'::regnamespace and relkind = 'r' order by 1",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let written: Vec<&str> = grants::TABLES.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, written);
    let readable: bool = sqlx::query_scalar(
        "select bool_and(has_table_privilege('crm_backup', c.oid, 'select')) from pg_class c
         where relnamespace = 'crm'::regnamespace and relkind in ('r', 'S')",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert!(readable, "a backup must be able to read everything");
}
