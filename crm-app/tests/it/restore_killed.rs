//! `crm-app restore` killed at each of its stages, with everything that it had started, as a container is: the database that
//! serves is as it was, and the next run ends in the right one.

use std::{fs, path::Path};

use crm_app::backup::Mark;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    app::TestApp,
    catalogue::{catalogue, content},
    database::{self, Database},
    door::{FakeDoor, Fault, WITHIN},
    pod::{Pod, output},
    restore_faults::HALF,
    vault::{self, Gate, Keys},
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
const TURN_LOCK: i64 = 0x0043_524d_5245_5354;

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
        let app = TestApp::start().await;
        app.admin().await.company_named("杭州示例").await;
        let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
        vault::take(&app.database, &door, &keys).await;
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
            Stage::Find => self.kill_when_asked("GET list").await,
            Stage::Manifest => self.kill_when_asked("GET manifest.json").await,
            Stage::Empty => self.kill_when_asked("GET data").await,
            Stage::Half => self.kill_after(HALF).await,
            Stage::Restored => self.kill_after("pg_restore \"$@\"").await,
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
            Stage::Report => self.kill_while_reporting().await,
        }
    }

    async fn kill_when_asked(&self, request: &'static str) {
        self.door.break_with(Fault::Silence(request));
        let running = start(self.command());
        self.door.asked(request).await;
        kill(running).await;
    }

    async fn kill_after(&self, work: &str) {
        let running = start(self.gated(work));
        self.gate.reached().await;
        kill(running).await;
    }

    /// Locks something when `pg_restore` is done, and waits until somebody waits for it.
    async fn kill_while_locked(&self, database: &Database, lock: &str) {
        let running = start(self.gated("pg_restore \"$@\""));
        self.gate.reached().await;
        let mut holder = PgConnection::connect_with(&database.superuser()).await.unwrap();
        let mut held = holder.begin().await.unwrap();
        held.execute(AssertSqlSafe(lock.to_owned())).await.unwrap();
        self.gate.open().await;
        somebody_waits(database).await;
        kill(running).await;
        held.rollback().await.unwrap();
    }

    /// Nobody reads the pipe to which it would report.
    async fn kill_while_reporting(&self) {
        let report = self.pod.file("report");
        fs::remove_file(&report).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&report).status().unwrap().success());
        let running = start(self.command());
        let finished = async {
            while !matches!(self.mark().await, Some(Mark::Finished(_))) {
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, finished).await.expect("it never finished");
        kill(running).await;
        fs::remove_file(&report).unwrap();
        fs::write(&report, "").unwrap();
    }

    /// With a `pg_restore` that does something else and then waits.
    fn gated(&self, work: &str) -> Command {
        let programs = self.pod.file("programs");
        fs::create_dir(&programs).unwrap();
        // The true one is next on the way.
        vault::script(&programs, "pg_restore", &format!("PATH=${{PATH#*:}}\n{}", self.gate.after(work)));
        let mut command = self.command();
        command.env("PATH", path_with(&programs));
        command
    }
}

fn path_with(programs: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "handed on with more in front")]
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", programs.display())
}

fn start(mut command: Command) -> Child {
    command.process_group(0).spawn().unwrap()
}

async fn kill(mut running: Child) {
    let group = Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    timeout(WITHIN, running.wait()).await.expect("it cannot be killed").unwrap();
}

async fn somebody_waits(database: &Database) {
    let db = PgPool::connect_with(database.superuser()).await.unwrap();
    let waiting = async {
        let waits = "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                     where not l.granted and d.datname = $1)";
        while !sqlx::query_scalar::<_, bool>(waits).bind(database.name()).fetch_one(&db).await.unwrap() {}
    };
    timeout(WITHIN, waiting).await.expect("nobody waits");
    db.close().await;
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
