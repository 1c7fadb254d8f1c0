//! `crm-app drop-database` killed at each of its stages: the database that serves is as it was, and the next run ends it, also
//! when the server was left in the middle of dropping it.

use std::{fs, path::Path};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
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
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// It reads the password with which it would sign in.
    SignIn,
    /// It waits for its turn.
    Turn,
    /// It drops the database, of which somebody else just now changes something.
    Locked,
    /// It drops the database, in which somebody still is.
    InUse,
    /// The server has said for good that the database is none any more, and its files are there. It ends as well.
    HalfDropped,
    /// The database is gone, and the report is not there.
    Report,
}

#[rstest]
#[tokio::test]
async fn the_next_run_drops_it_and_nothing_else(
    #[values(Stage::SignIn, Stage::Turn, Stage::Locked, Stage::InUse, Stage::HalfDropped, Stage::Report)]
    stage: Stage,
) {
    let [old, serving] = [database::migrated().await, database::migrated().await];
    let before = content(&serving).await;
    let pod = Pod::new(&Keys::generate());
    kill_at(stage, &old, &serving, &pod).await;
    assert_eq!(fs::read_to_string(pod.file("report")).unwrap(), "", "nothing is known, never success");
    assert_eq!(content(&serving).await, before);

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
        Stage::SignIn => kill_while_it_reads(&pod.file("password"), command).await,
        Stage::Turn => {
            let turn = format!("select pg_advisory_xact_lock({TURN_LOCK})");
            Lock::take(serving.superuser(), &turn).await.kill_who_waits(start(command)).await;
        }
        Stage::Locked => {
            let change = format!("comment on database {} is 'being looked at'", old.name());
            let lock = Lock::take(serving.superuser(), &change).await;
            let running = start(command);
            until_dropping(old, serving, "Lock").await;
            kill(running).await;
            lock.let_go().await;
        }
        Stage::InUse => {
            let somebody = PgConnection::connect_with(&old.options("crm_app")).await.unwrap();
            let running = start(command);
            until_dropping(old, serving, "").await;
            kill(running).await;
            somebody.close().await.unwrap();
        }
        Stage::HalfDropped => {
            // All of the server's processes are to let go of the files; one of them does not answer.
            let mut busy = PgConnection::connect_with(&serving.superuser()).await.unwrap();
            let stopped = Stopped::stop(&mut busy).await;
            let running = start(command);
            until_dropping(old, serving, "ProcSignalBarrier").await;
            kill(running).await;
            end_dropping(old, serving).await;
            drop(stopped);
            assert!(is_broken(old, serving).await, "it was to be left half dropped");
        }
        Stage::Report => kill_before_report(pod, "drop.done", command).await,
    }
}

/// Kills it while it waits for what somebody writes into this file, which is then as it was.
async fn kill_while_it_reads(file: &Path, command: Command) {
    let text = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
    let running = start(command);
    let writing = async { tokio::fs::OpenOptions::new().write(true).open(file).await };
    let held = timeout(WITHIN, writing).await.expect("nobody reads it").unwrap();
    kill(running).await;
    drop(held);
    fs::remove_file(file).unwrap();
    fs::write(file, text).unwrap();
}

/// A process of the server that is stopped until this value goes.
struct Stopped(Pid);

impl Stopped {
    async fn stop(connection: &mut PgConnection) -> Self {
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may be gone with its server.
        _ = kill_process(self.0, Signal::CONT);
    }
}

/// How the server's process that drops the database is known.
const DROPPING: &str =
    "state = 'active' and datname = current_database() and pid <> pg_backend_pid() and query ilike $1";

fn statement(old: &Database) -> String {
    format!("drop database if exists %{}%", old.name())
}

/// Waits until the server drops it, and for this event or kind of event, if one is named.
async fn until_dropping(old: &Database, serving: &Database, event: &str) {
    let runs = format!(
        "select exists (select from pg_stat_activity
         where {DROPPING} and ($2 = '' or $2 in (wait_event_type, wait_event)))"
    );
    until(serving, &runs, &[&statement(old), event], "nobody drops it").await;
}

/// Ends the server's process that drops it.
async fn end_dropping(old: &Database, serving: &Database) {
    let ended = format!("select count(pg_terminate_backend(pid)) = 0 from pg_stat_activity where {DROPPING}");
    until(serving, &ended, &[&statement(old)], "it goes on to be dropped").await;
}

async fn is_broken(old: &Database, serving: &Database) -> bool {
    let db = PgPool::connect_with(serving.superuser()).await.unwrap();
    let limit = "select datconnlimit = -2 from pg_database where datname = $1";
    sqlx::query_scalar(limit).bind(old.name()).fetch_one(&db).await.unwrap()
}

async fn until(database: &Database, question: &str, values: &[&str], else_: &str) {
    let db = PgPool::connect_with(database.superuser()).await.unwrap();
    let asked = async {
        loop {
            let query = sqlx::query_scalar::<_, bool>(AssertSqlSafe(question.to_owned()));
            let query = values.iter().fold(query, |query, value| query.bind((*value).to_owned()));
            if query.fetch_one(&db).await.unwrap() {
                break;
            }
        }
    };
    timeout(WITHIN, asked).await.unwrap_or_else(|_| panic!("{else_}"));
    db.close().await;
}
