//! Jobs that are killed as containers are: with everything that they had started, and without a chance to tidy up.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process_group};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    door::{FakeDoor, Fault, WITHIN},
    pod::Pod,
    vault::{self, Gate},
};

/// Starts it in a group of its own.
pub fn start(mut command: Command) -> Child {
    command.process_group(0).spawn().unwrap()
}

/// Kills it and what it has started.
pub async fn kill(mut running: Child) {
    let group = Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    timeout(WITHIN, running.wait()).await.expect("it cannot be killed").unwrap();
}

/// Kills it when it has asked the door for that, which does not answer.
pub async fn kill_when_asked(door: &FakeDoor, request: &'static str, command: Command) {
    door.break_with(Fault::Silence(request));
    let running = start(command);
    door.asked(request).await;
    kill(running).await;
}

/// Kills it when a program of ours, in the place of the one that it calls, waits at its gate.
pub async fn kill_at_gate(gate: &Gate, command: Command) {
    let running = start(command);
    gate.reached().await;
    kill(running).await;
}

/// A lock that somebody holds in a database.
pub struct Lock {
    holder: PgConnection,
    options: PgConnectOptions,
}

impl Lock {
    /// Takes it with this statement.
    pub async fn take(options: PgConnectOptions, statement: &str) -> Self {
        let mut holder = PgConnection::connect_with(&options).await.unwrap();
        holder.execute("begin").await.unwrap();
        holder.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        Self { holder, options }
    }

    /// Waits until somebody waits for a lock in the same database.
    pub async fn awaited(&self) {
        let db = PgPool::connect_with(self.options.clone()).await.unwrap();
        let waiting = async {
            let waits = "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                         where not l.granted and d.datname = current_database())";
            while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&db).await.unwrap() {}
        };
        timeout(WITHIN, waiting).await.expect("nobody waits");
        db.close().await;
    }

    /// Kills what waits for it, and lets go of it.
    pub async fn kill_who_waits(self, running: Child) {
        self.awaited().await;
        kill(running).await;
        self.let_go().await;
    }

    /// Takes back what was done to have it.
    pub async fn let_go(mut self) {
        self.holder.execute("rollback").await.unwrap();
    }
}

/// Kills it when it has said this in its log, and waits for somebody to read its report.
pub async fn kill_before_report(pod: &Pod, words: &str, command: Command) {
    let report = pod.file("report");
    fs::remove_file(&report).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&report).status().unwrap().success());
    let mut running = start(command);
    let mut log = BufReader::new(running.stdout.take().unwrap()).lines();
    let said = async { while !log.next_line().await.unwrap().expect("its log ended").contains(words) {} };
    timeout(WITHIN, said).await.expect("it never said so");
    kill(running).await;
    fs::remove_file(&report).unwrap();
    fs::write(&report, "").unwrap();
}

/// With a program of ours in the place of the one that it calls; the true one is next on the way.
pub fn with_program(mut command: Command, pod: &Pod, name: &str, text: &str) -> Command {
    let programs = pod.file("programs");
    fs::create_dir(&programs).unwrap();
    vault::script(&programs, name, &format!("PATH=${{PATH#*:}}\n{text}"));
    command.env("PATH", path_with(&programs));
    command
}

fn path_with(programs: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "handed on with more in front")]
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", programs.display())
}
