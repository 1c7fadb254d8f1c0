//! `crm-app drop-database` killed at each of its stages: the database that serves is as it was, and the next run ends it.

use std::fs;

use rstest::rstest;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::{process::Command, time::timeout};

use crate::{
    catalogue::content,
    database::{self, Database},
    door::WITHIN,
    killing::{Lock, kill, kill_before_report, start},
    pod::{Pod, output},
    restore_killed::TURN_LOCK,
    vault::Keys,
};

/// Where it is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It waits for its turn.
    Turn,
    /// It drops the database, in which somebody still is.
    InUse,
    /// The database is gone, and the report is not there.
    Report,
}

#[rstest]
#[tokio::test]
async fn the_next_run_drops_it_and_nothing_else(
    #[values(Stage::Turn, Stage::InUse, Stage::Report)] stage: Stage,
) {
    let [old, serving] = [database::migrated().await, database::migrated().await];
    let before = content(&serving).await;
    let pod = Pod::new(&Keys::generate());
    kill_at(stage, &old, &serving, &pod).await;
    assert_eq!(fs::read_to_string(pod.file("report")).unwrap(), "", "nothing is known, never success");

    let ended = output(dropping(&old, &serving, &pod)).await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(pod.report(), json!({"code": "Dropped"}));
    assert!(!old.exists().await);
    assert_eq!(content(&serving).await, before);
}

fn dropping(old: &Database, serving: &Database, pod: &Pod) -> Command {
    let mut command = pod.alone("drop-database");
    pod.own(&mut command, serving, old);
    command
}

/// Starts it, waits until it is there, and kills it.
async fn kill_at(stage: Stage, old: &Database, serving: &Database, pod: &Pod) {
    let command = dropping(old, serving, pod);
    match stage {
        Stage::Turn => {
            let turn = format!("select pg_advisory_xact_lock({TURN_LOCK})");
            Lock::take(serving.superuser(), &turn).await.kill_who_waits(start(command)).await;
        }
        Stage::InUse => {
            let somebody = PgConnection::connect_with(&old.options("crm_app")).await.unwrap();
            let running = start(command);
            until_dropping(old, serving).await;
            kill(running).await;
            somebody.close().await.unwrap();
        }
        Stage::Report => kill_before_report(pod, "drop.done", command).await,
    }
}

async fn until_dropping(old: &Database, serving: &Database) {
    let db = PgPool::connect_with(serving.superuser()).await.unwrap();
    let asked = format!("drop database if exists %{}%", old.name());
    let dropping = async {
        let runs = "select exists (select from pg_stat_activity
                    where state = 'active' and datname = current_database() and query ilike $1)";
        while !sqlx::query_scalar::<_, bool>(runs).bind(&asked).fetch_one(&db).await.unwrap() {}
    };
    timeout(WITHIN, dropping).await.expect("nobody drops it");
    db.close().await;
}
