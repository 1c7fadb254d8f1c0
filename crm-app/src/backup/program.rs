//! `pg_dump` and `pg_restore` as child processes.
//!
//! The password reaches them by a file that only exists in memory: in the environment of a process it could be read from
//! `/proc` for as long as the process runs, and a file on disk would need a place that can be written, which the pods do
//! not have, and would outlive a process that is killed.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::Stdio,
};

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
};

use super::Problem;
use crate::db::Login;

/// Of what a program says: errors come at the end, but what is wrong stands in their first lines.
const LONGEST_COMPLAINT: u64 = 64 * 1024;

/// Words of PostgreSQL and of its client library, and the SQLSTATE that they stand for: the programs print no codes.
const WORDS: &[(&str, &str)] = &[
    ("password authentication failed", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("permission denied for", "42501"),
    ("remaining connection slots are reserved", "53300"),
    ("too many clients already", "53300"),
    ("terminating connection due to administrator command", "57P01"),
    ("the database system is", "57P03"),
    ("No space left on device", "53100"),
    ("could not read block", "XX001"),
    ("invalid page in block", "XX001"),
    ("server closed the connection unexpectedly", "08006"),
    ("connection to server", "08001"),
    ("does not exist", "42704"),
];

/// Where PostgreSQL's programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `pg_dump`
    pub dump: PathBuf,
    /// `pg_restore`
    pub restore: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { dump: "pg_dump".into(), restore: "pg_restore".into() }
    }
}

/// A program that runs; it is killed when this goes.
pub(crate) struct Running {
    name: &'static str,
    pub(super) child: Child,
    complaint: JoinHandle<String>,
}

/// How a program ended badly.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(super) status: Option<i32>,
    pub(super) sqlstate: Option<&'static str>,
}

impl Running {
    /// Starts a program that works on a database.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        login: &Login,
        stdin: Stdio,
        stdout: Stdio,
    ) -> Result<Self, Problem> {
        let started = || {
            let password = login.password.as_deref().map(password_file).transpose()?;
            command.arg("--no-password").arg(format!("--dbname={}", connection(login, password.as_ref())));
            // Its words are read, so they should be in one language.
            command.env("LC_ALL", "C").stdin(stdin).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
            command.spawn()
        };
        let mut child = started().map_err(|error| {
            tracing::error!(%error, program = name, "program.not_started");
            Problem::ProgramMissing { program: name }
        })?;
        let complaint = tokio::spawn(read_complaint(child.stderr.take()));
        Ok(Self { name, child, complaint })
    }

    /// What it writes. There is only one who reads it.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout, Problem> {
        self.child.stdout.take().ok_or(Problem::ProgramMissing { program: self.name })
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Result<(), Failed> {
        let ended = self.child.wait().await.ok();
        if ended.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let complaint = self.complaint.await.unwrap_or_default();
        let status = ended.and_then(|status| status.code());
        let failed = Failed { status, sqlstate: sqlstate(&complaint) };
        // Not the words themselves: those of a failed COPY quote rows.
        tracing::error!(status = failed.status, sqlstate = failed.sqlstate, "program.failed");
        Err(failed)
    }
}

/// All that it says is read, so that it never waits for us; the first part is kept.
async fn read_complaint(stderr: Option<ChildStderr>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stderr) = stderr {
        _ = (&mut stderr).take(LONGEST_COMPLAINT).read_to_end(&mut kept).await;
        _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn sqlstate(complaint: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| complaint.contains(words)).map(|(_, code)| *code)
}

/// A password file that lives as long as the programs that inherit it. It may be closed here once they are started.
fn password_file(password: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("password", MemfdFlags::empty())?);
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    let escaped = password.replace('\\', r"\\").replace(':', r"\:");
    file.write_all(format!("*:*:*:*:{escaped}\n").as_bytes())?;
    Ok(file)
}

/// A connection string: nothing is left to the environment.
fn connection(login: &Login, password: Option<&File>) -> String {
    let mut words = vec![
        ("host", login.host.clone()),
        ("port", login.port.to_string()),
        ("user", login.user.clone()),
        ("dbname", login.database.clone()),
        ("sslmode", "disable".to_owned()),
        ("connect_timeout", "10".to_owned()),
    ];
    if let Some(file) = password {
        // Through /proc, each opens it anew and reads from its beginning.
        words.push(("passfile", format!("/proc/self/fd/{}", file.as_raw_fd())));
    }
    let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
    words.iter().map(|(key, value)| format!("{key}='{}'", quoted(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use tokio::time::timeout;

    use super::*;

    fn login(password: Option<&str>) -> Login {
        Login {
            host: "database".to_owned(),
            port: 5432,
            database: "o'hare".to_owned(),
            user: "crm_backup".to_owned(),
            password: password.map(str::to_owned),
        }
    }

    /// Runs a shell in place of a program, which gets the connection string as its last argument.
    fn shell(script: &str, password: Option<&str>) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        Running::start("sh", command, &login(password), Stdio::null(), Stdio::piped()).unwrap()
    }

    async fn output(mut running: Running) -> String {
        let mut text = String::new();
        running.child.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(running.end().await, Ok(()));
        text
    }

    #[tokio::test]
    async fn the_password_is_in_a_private_file_in_memory_and_nowhere_else() {
        let script = r#"
            file=$(printf '%s' "$2" | sed -n "s/.*passfile='\([^']*\)'.*/\1/p")
            cat "$file"; stat -L -c %a "$file"; readlink "$file"; tr '\0' '\n' </proc/self/environ | grep -c secret
            printf '%s\n' "$2" | grep -c secret; true"#;
        let lines = output(shell(script, Some(r"se:cr\et-secret"))).await;
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[..2], [r"*:*:*:*:se\:cr\\et-secret", "600"]);
        assert!(lines[2].starts_with("/memfd:password"), "{}", lines[2]);
        assert_eq!(lines[3..], ["0", "0"]);
    }

    #[test]
    fn without_a_password_no_file_is_named() {
        let text = connection(&login(None), None);
        assert_eq!(
            text,
            r"host='database' port='5432' user='crm_backup' dbname='o\'hare' sslmode='disable' connect_timeout='10'"
        );
    }

    #[rstest]
    #[case(
        "echo 'pg_dump: error: query failed: ERROR:  permission denied for table company' >&2; exit 1",
        Some("42501")
    )]
    #[case("echo 'pg_restore: error: COPY failed for table \"x\": ERROR:  boo' >&2; exit 1", None)]
    #[tokio::test]
    async fn a_failure_has_its_status_and_the_code_that_its_words_stand_for(
        #[case] script: &str,
        #[case] sqlstate: Option<&'static str>,
    ) {
        assert_eq!(shell(script, None).end().await, Err(Failed { status: Some(1), sqlstate }));
    }

    #[tokio::test]
    async fn long_complaints_hold_nobody_up() {
        let running = shell("head -c 1000000 /dev/zero >&2; exit 3", None);
        let ended = timeout(Duration::from_secs(20), running.end()).await.unwrap();
        assert_eq!(ended, Err(Failed { status: Some(3), sqlstate: None }));
    }

    #[tokio::test]
    async fn a_signal_leaves_no_status() {
        let ended = shell("kill -KILL $$", None).end().await;
        assert_eq!(ended, Err(Failed { status: None, sqlstate: None }));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let command = Command::new("/nowhere/pg_dump");
        let started = Running::start("pg_dump", command, &login(None), Stdio::null(), Stdio::null());
        assert_eq!(started.err(), Some(Problem::ProgramMissing { program: "pg_dump" }));
    }
}
