//! `crm-app export` killed at each of its stages on the way to the door: what is there is whole and opens with the customer's
//! key, or is not there at all; backups and data are as they were, and the next export arrives.

use std::fs;

use rstest::rstest;
use tokio::process::Child;

use crate::{
    app::TestApp,
    bundle::{Bundle, workspace},
    catalogue::content,
    door::{FakeDoor, Fault},
    killing::{Lock, kill, kill_at_gate, kill_before_report, start, with_program},
    pod::{Pod, output},
    vault::{BackedUp, Gate},
};

/// Where it is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// It takes its snapshot.
    Snapshot,
    /// `pg_dump` is started, and has read nothing.
    Begin,
    /// Some of the dump is sent.
    Half,
    /// All of the dump is sent, and nothing after it.
    Dumped,
    /// It reads a table for its open file.
    OpenFile,
    /// The open files are sent, and rows are counted for the manifest.
    Count,
    /// The bundle is stored, and nobody has heard of it.
    Stored,
    /// Everything is done, and the report is not there.
    Report,
}

#[rstest]
#[tokio::test]
async fn nothing_arrives_that_is_not_whole_and_the_next_export_does(
    #[values(
        Stage::Snapshot,
        Stage::Begin,
        Stage::Half,
        Stage::Dumped,
        Stage::OpenFile,
        Stage::Count,
        Stage::Stored,
        Stage::Report
    )]
    stage: Stage,
) {
    let BackedUp { app, door, keys } = BackedUp::of(workspace().await).await;
    let (before, backups) = (content(&app.database).await, door.objects());
    let pod = Pod::new(&keys);
    kill_at(stage, &app, &door, &pod).await;

    assert_eq!(fs::read_to_string(pod.file("report")).unwrap(), "", "nothing is known, never success");
    let is_there = matches!(stage, Stage::Stored | Stage::Report);
    assert_eq!(bundles(&door).len(), usize::from(is_there));

    door.heal();
    let next = Pod::new(&keys);
    let ended = output(next.export(&app.database, &door)).await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(next.report()["code"], "Delivered");
    let arrived = bundles(&door);
    assert_eq!(arrived.len(), 1 + usize::from(is_there));
    for bundle in &arrived {
        let opened = opened(&next, door.object(bundle));
        assert_eq!(opened.text("data/company.jsonl").lines().count(), 1, "{bundle}");
    }
    assert_eq!(content(&app.database).await, before);
    let others: Vec<_> = door.objects().into_iter().filter(|name| !arrived.contains(name)).collect();
    assert_eq!(others, backups, "the backups");
}

fn bundles(door: &FakeDoor) -> Vec<String> {
    door.objects().into_iter().filter(|name| name.ends_with(".zip.age")).collect()
}

/// By the stock programs.
fn opened(pod: &Pod, bundle: Vec<u8>) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crm.zip.age"), bundle).unwrap();
    fs::copy(pod.file("report"), folder.path().join("report")).unwrap();
    let mut age = std::process::Command::new("age");
    age.args(["--decrypt", "--output", "crm.zip", "--identity"]).arg(pod.file("identity")).arg("crm.zip.age");
    assert!(age.current_dir(&folder).status().unwrap().success());
    Bundle::extracted(folder)
}

/// Starts an export, waits until it is there, and kills it.
async fn kill_at(stage: Stage, app: &TestApp, door: &FakeDoor, pod: &Pod) {
    let export = pod.export(&app.database, door);
    let gate = Gate::new(pod.folder());
    let with_dump = |export, text: String| with_program(export, pod, "pg_dump", &text);
    let locked = async |table: &str| {
        let statement = format!("lock table crm.{table} in access exclusive mode");
        Lock::take(app.database.superuser(), &statement).await
    };
    // What waits for a table after the dump is the export itself.
    let while_locked = async |export, table: &str| {
        let running = start(with_dump(export, gate.after("pg_dump \"$@\"")));
        gate.reached().await;
        let lock = locked(table).await;
        gate.open().await;
        lock.awaited().await;
        break_off(door, running).await;
        lock.let_go().await;
    };
    match stage {
        Stage::Snapshot => locked("schema_migration").await.kill_who_waits(start(export)).await,
        Stage::Begin => kill_at_gate(&gate, with_dump(export, gate.before("exec pg_dump \"$@\""))).await,
        Stage::Half | Stage::Dumped => {
            let much = "pg_dump \"$@\" | head -c 4000; head -c 3000000 /dev/urandom";
            let work = if stage == Stage::Half { much } else { "pg_dump \"$@\"" };
            let running = start(with_dump(export, gate.after(work)));
            gate.reached().await;
            break_off(door, running).await;
        }
        Stage::OpenFile => while_locked(export, "company").await,
        // Sessions are in no open file, and are counted.
        Stage::Count => while_locked(export, "session").await,
        Stage::Stored => {
            door.break_with(Fault::Withhold("PUT bundle"));
            let running = start(export);
            door.has(".zip.age", 1).await;
            kill(running).await;
        }
        Stage::Report => kill_before_report(pod, "export.done", export).await,
    }
}

/// Kills it while the door takes what it sends, and waits until the door has seen that no more will come.
async fn break_off(door: &FakeDoor, running: Child) {
    door.asked("PUT bundle").await;
    kill(running).await;
    door.broke_off("PUT bundle").await;
}
