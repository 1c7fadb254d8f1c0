//! `crm-app export` when something goes wrong: nothing half has a name.

use std::fs;

use crm_app::{
    backup::{Deadline, Problem},
    exchange::file::export,
};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::{
    bundle::{command, plan, workspace},
    database::Database,
    door::WITHIN,
    vault::{self, Gate},
};

/// What was there before stays, and nothing half is left.
#[rstest]
#[case::rights("permission denied for table company", Problem::DumpFailed { status: Some(1), sqlstate: Some("42501") })]
#[case::unknown_words("something else", Problem::DumpFailed { status: Some(1), sqlstate: None })]
#[tokio::test]
async fn a_dump_that_ends_badly_is_no_bundle(#[case] words: &str, #[case] problem: Problem) {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crm.zip"), "the one before").unwrap();
    let failing = format!("head -c 300000 /dev/urandom; echo 'pg_dump: error: {words}' >&2; exit 1");
    let mut plan = plan(&app.database);
    plan.programs.dump = vault::script(folder.path(), "pg_dump", &failing);
    assert_eq!(export(&plan, &folder.path().join("crm.zip"), vault::soon()).await, Err(problem));
    assert_eq!(fs::read_to_string(folder.path().join("crm.zip")).unwrap(), "the one before");
    assert!(!folder.path().join("crm.zip.partial").exists());
}

#[tokio::test]
async fn what_cannot_be_written_or_read_is_named() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(&app.database);
    std::os::unix::fs::symlink("/dev/full", folder.path().join("crm.zip.partial")).unwrap();
    let path = folder.path().join("crm.zip");
    assert_eq!(export(&plan, &path, vault::soon()).await, Err(Problem::OutputFull));
    let nowhere = folder.path().join("nowhere/crm.zip");
    assert_eq!(export(&plan, &nowhere, vault::soon()).await, Err(Problem::OutputUnwritable));
    let empty = Database::create().await;
    plan.database = empty.login("crm_backup");
    assert_eq!(export(&plan, &path, vault::soon()).await, Err(Problem::NotMigrated));
    plan.database.port = 1;
    let deadline = Deadline::within(std::time::Duration::from_secs(5));
    assert_eq!(export(&plan, &path, deadline).await, Err(Problem::DatabaseUnreachable { sqlstate: None }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn sigterm_leaves_no_half_bundle() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    vault::script(&programs, "pg_dump", &gate.before("exit 1"));
    let mut command = command(&app.database, folder.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let mut running = command.spawn().unwrap();
    gate.reached().await;
    assert!(folder.path().join("crm.zip.partial").exists());
    let pid = Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(WITHIN, running.wait()).await.expect("SIGTERM does not end it").unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(fs::read_to_string(folder.path().join("report")).unwrap(), r#"{"code":"Interrupted"}"#);
    assert!(!folder.path().join("crm.zip.partial").exists() && !folder.path().join("crm.zip").exists());
}
