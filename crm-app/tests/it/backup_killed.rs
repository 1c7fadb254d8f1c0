//! `crm-app backup` killed at each of its stages: what is in the store can be restored, whatever was there stays, and the next
//! one is made.

use std::fs;

use rstest::rstest;
use serde_json::json;

use crate::{
    app::TestApp,
    catalogue::content,
    door::{FakeDoor, Fault},
    killing::{Lock, kill, kill_at_gate, kill_before_report, kill_when_asked, start, with_program},
    pod::{Pod, output},
    vault::{self, BackedUp, Gate},
};

/// Where it is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It takes its snapshot.
    Snapshot,
    /// `pg_dump` is started, and has read nothing.
    Begin,
    /// It counts rows, and `pg_dump` waits for its first table.
    Count,
    /// Some of the dump is sent.
    Half,
    /// All of the dump is sent, and its end is not.
    Dumped,
    /// The data is stored; the manifest is not.
    Manifest,
    /// The manifest is stored, and nobody has heard of it.
    Stored,
    /// Everything is done, and the report is not there.
    Report,
}

#[rstest]
#[tokio::test]
async fn nothing_is_called_a_backup_that_is_none_and_the_next_one_is_made(
    #[values(
        Stage::Snapshot,
        Stage::Begin,
        Stage::Count,
        Stage::Half,
        Stage::Dumped,
        Stage::Manifest,
        Stage::Stored,
        Stage::Report
    )]
    stage: Stage,
) {
    let BackedUp { app, door, keys } = BackedUp::new().await;
    let before = content(&app.database).await;
    let pod = Pod::new(&keys);
    kill_at(stage, &app, &door, &pod).await;

    assert_eq!(fs::read_to_string(pod.file("report")).unwrap(), "", "nothing is known, never success");
    assert_eq!(content(&app.database).await, before);
    let is_made = matches!(stage, Stage::Stored | Stage::Report);
    assert_eq!(manifests(&door), 1 + usize::from(is_made));
    door.heal();
    // Whatever the newest is.
    vault::drilled(&vault::drill_plan(&door, &keys), vault::soon()).await.unwrap();

    let next = Pod::new(&keys);
    let ended = output(next.backup(&app.database, &door)).await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(next.report()["code"], json!("BackedUp"));
    assert_eq!(manifests(&door), 2 + usize::from(is_made));
    vault::drilled(&vault::drill_plan(&door, &keys), vault::soon()).await.unwrap();
}

fn manifests(door: &FakeDoor) -> usize {
    door.objects().iter().filter(|name| name.ends_with("/manifest.json")).count()
}

/// Starts a backup, waits until it is there, and kills it.
async fn kill_at(stage: Stage, app: &TestApp, door: &FakeDoor, pod: &Pod) {
    let backup = pod.backup(&app.database, door);
    let gate = Gate::new(pod.folder());
    let with_dump = |backup, text: String| with_program(backup, pod, "pg_dump", &text);
    let locked = async |table: &str| {
        let statement = format!("lock table crm.{table} in access exclusive mode");
        Lock::take(app.database.superuser(), &statement).await
    };
    match stage {
        Stage::Snapshot => locked("schema_migration").await.kill_who_waits(start(backup)).await,
        Stage::Begin => kill_at_gate(&gate, with_dump(backup, gate.before("exec pg_dump \"$@\""))).await,
        Stage::Count => locked("company").await.kill_who_waits(start(backup)).await,
        Stage::Half => {
            let much = "pg_dump \"$@\" | head -c 4000; head -c 300000 /dev/urandom";
            kill_at_gate(&gate, with_dump(backup, gate.after(much))).await;
        }
        Stage::Dumped => kill_at_gate(&gate, with_dump(backup, gate.after("pg_dump \"$@\""))).await,
        Stage::Manifest => kill_when_asked(door, "PUT manifest.json", backup).await,
        Stage::Stored => {
            door.break_with(Fault::Withhold("PUT manifest.json"));
            let running = start(backup);
            door.has("/manifest.json", 2).await;
            kill(running).await;
        }
        Stage::Report => kill_before_report(pod, "backup.done", backup).await,
    }
}
