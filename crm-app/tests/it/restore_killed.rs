//! `crm-app restore` killed at each of its stages, with everything that it had started, as a container is: the database that
//! serves is as it was, and the next run ends in the right one.

use crm_app::backup::Mark;
use rstest::rstest;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

use crate::{
    app::TestApp,
    catalogue::{catalogue, content},
    database::{self, Database},
    door::FakeDoor,
    killing::{Lock, kill_at_gate, kill_before_report, kill_when_asked, start, with_program},
    pod::{Pod, output},
    restore_faults::HALF,
    vault::{BackedUp, Gate},
};

/// Where it is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It looks for the newest backup.
    Find,
    /// It reads the manifest.
    Manifest,
    /// The database is made and marked as begun; no data has come.
    Empty,
    /// Tables are there, and nothing is in them.
    Half,
    /// `pg_restore` is done, and nobody has heard of it.
    Restored,
    /// Rows are counted.
    Compare,
    /// Rows were right; rights are set, sessions ended.
    Settle,
    /// Everything is done but the mark.
    Mark,
    /// The mark is there, and the report is not.
    Report,
}

struct World {
    app: TestApp,
    door: FakeDoor,
    pod: Pod,
    target: Database,
    in_place: bool,
    gate: Gate,
}

/// As in the product; what is held here is waited for there.
pub const TURN_LOCK: i64 = 0x0043_524d_5245_5354;

#[rstest]
#[tokio::test]
async fn the_next_run_ends_well(
    #[values(
        Stage::Find,
        Stage::Manifest,
        Stage::Empty,
        Stage::Half,
        Stage::Restored,
        Stage::Compare,
        Stage::Settle,
        Stage::Mark,
        Stage::Report
    )]
    stage: Stage,
    #[values(false, true)] in_place: bool,
) {
    let world = World::new(in_place).await;
    let before = content(&world.app.database).await;
    world.kill_at(stage).await;
    assert_eq!(content(&world.app.database).await, before, "the database that serves");
    let is_finished = matches!(world.mark().await, Some(Mark::Finished(_)));
    assert_eq!(is_finished, matches!(stage, Stage::Report), "{:?}", world.mark().await);

    world.door.heal();
    let ended = output(world.command()).await;
    assert!(ended.status.success(), "{ended:?}");
    let manifest = world.door.manifest();
    let report = world.pod.report();
    assert_eq!((&report["code"], &report["backup"]), (&json!("Restored"), &manifest["id"]));
    assert_eq!(content(&world.target).await, before);
    assert_eq!(catalogue(&world.target).await, catalogue(&world.app.database).await);
    assert_eq!(content(&world.app.database).await, before, "the database that serves");
}

impl World {
    async fn new(in_place: bool) -> Self {
        let BackedUp { app, door, keys } = BackedUp::new().await;
        let pod = Pod::new(&keys);
        let gate = Gate::new(pod.folder());
        let target = if in_place { Database::create().await } else { app.database.planned() };
        Self { app, door, pod, target, in_place, gate }
    }

    /// Of the target's server.
    fn serving(&self) -> &Database {
        if self.in_place { &self.target } else { &self.app.database }
    }

    fn command(&self) -> Command {
        self.pod.restore(self.serving(), &self.target, &self.door)
    }

    async fn mark(&self) -> Option<Mark> {
        self.target.comment().await.flatten().as_deref().and_then(Mark::read)
    }

    /// Starts a restore, waits until it is there, and kills it.
    async fn kill_at(&self, stage: Stage) {
        match stage {
            Stage::Find => kill_when_asked(&self.door, "GET list", self.command()).await,
            Stage::Manifest => kill_when_asked(&self.door, "GET manifest.json", self.command()).await,
            Stage::Empty => kill_when_asked(&self.door, "GET data", self.command()).await,
            Stage::Half => kill_at_gate(&self.gate, self.gated(HALF)).await,
            Stage::Restored => kill_at_gate(&self.gate, self.gated("pg_restore \"$@\"")).await,
            Stage::Compare => {
                self.kill_while_locked(&self.target, "lock table crm.company in access exclusive mode").await;
            }
            Stage::Settle => {
                self.kill_while_locked(&self.target, "lock table crm.session in share mode").await;
            }
            Stage::Mark => {
                self.kill_while_locked(self.serving(), &format!("select pg_advisory_xact_lock({TURN_LOCK})"))
                    .await;
            }
            Stage::Report => kill_before_report(&self.pod, "restore.done", self.command()).await,
        }
    }

    /// Locks something when `pg_restore` is done, and waits until somebody waits for it.
    async fn kill_while_locked(&self, database: &Database, lock: &str) {
        let running = start(self.gated("pg_restore \"$@\""));
        self.gate.reached().await;
        let lock = Lock::take(database.superuser(), lock).await;
        self.gate.open().await;
        lock.kill_who_waits(running).await;
    }

    /// With a `pg_restore` that does something else and then waits.
    fn gated(&self, work: &str) -> Command {
        with_program(self.command(), &self.pod, "pg_restore", &self.gate.after(work))
    }
}

/// What an earlier process left open in the database to restore into is ended, not waited for.
#[tokio::test]
async fn a_program_that_looks_alive_is_in_nobodys_way() {
    let world = World::new(false).await;
    world.kill_at(Stage::Half).await;
    let mut left = PgConnection::connect_with(&world.target.options("crm_owner")).await.unwrap();
    let ended = output(world.command()).await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(left.ping().await.is_err());
    database::execute_as_superuser(&world.target, "select 1").await;
}
