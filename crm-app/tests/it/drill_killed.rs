//! `crm-app drill` killed at each of its stages: nothing is called proven, the database that serves is as it was, and the next
//! drill proves the backup, even on a server where the one that was killed has left something.

use std::fs;

use rstest::rstest;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;

use crate::{
    catalogue::content,
    database,
    door::FakeDoor,
    killing::{Lock, kill_at_gate, kill_before_report, kill_when_asked, start, with_program},
    pod::{Pod, output},
    restore_faults::HALF,
    vault::{self, BackedUp, Gate},
};

/// Where it is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It looks for the newest backup.
    Find,
    /// It reads the manifest.
    Manifest,
    /// The scratch database is made; no data has come.
    Empty,
    /// Tables are there, and nothing is in them.
    Half,
    /// `pg_restore` is done, and nobody has heard of it.
    Restored,
    /// Rows are counted.
    Compare,
    /// The application serves it, and writes.
    Serve,
    /// Everything is done, and the report is not there.
    Report,
}

#[rstest]
#[tokio::test]
async fn nothing_is_called_proven_and_the_next_drill_proves_it(
    #[values(
        Stage::Find,
        Stage::Manifest,
        Stage::Empty,
        Stage::Half,
        Stage::Restored,
        Stage::Compare,
        Stage::Serve,
        Stage::Report
    )]
    stage: Stage,
) {
    let BackedUp { app, door, keys } = BackedUp::new().await;
    let before = (content(&app.database).await, door.objects());
    let pod = Pod::new(&keys);
    let _turn = vault::SCRATCH_TURN.lock().await;
    kill_at(stage, &door, &pod).await;
    assert_eq!(fs::read_to_string(pod.file("report")).unwrap(), "", "nothing is known, never success");

    door.heal();
    let next = Pod::new(&keys);
    let ended = output(next.drill(&door)).await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(next.report()["code"], json!("Drilled"));
    assert_eq!((content(&app.database).await, door.objects()), before);
}

/// Starts a drill, waits until it is there, and kills it.
async fn kill_at(stage: Stage, door: &FakeDoor, pod: &Pod) {
    let drill = pod.drill(door);
    let gate = Gate::new(pod.folder());
    let with_restore = |drill, text: String| with_program(drill, pod, "pg_restore", &text);
    match stage {
        Stage::Find => kill_when_asked(door, "GET list", drill).await,
        Stage::Manifest => kill_when_asked(door, "GET manifest.json", drill).await,
        Stage::Empty => kill_when_asked(door, "GET data", drill).await,
        Stage::Half => kill_at_gate(&gate, with_restore(drill, gate.after(HALF))).await,
        Stage::Restored => kill_at_gate(&gate, with_restore(drill, gate.after("pg_restore \"$@\""))).await,
        Stage::Compare | Stage::Serve => {
            let running = start(with_restore(drill, gate.after("pg_restore \"$@\"")));
            gate.reached().await;
            let scratch =
                PgConnectOptions::new().socket(database::socket()).username("postgres").database("drill");
            // Who only reads passes the second one.
            let mode = if matches!(stage, Stage::Compare) { "access exclusive" } else { "share" };
            let lock = Lock::take(scratch, &format!("lock table crm.company in {mode} mode")).await;
            gate.open().await;
            lock.kill_who_waits(running).await;
        }
        Stage::Report => kill_before_report(pod, "drill.done", drill).await,
    }
}
