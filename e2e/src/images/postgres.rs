//! The PostgreSQL that tenants run, started for tests from the files of its image, and its programs beside it.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::postgres_root;
use crate::{
    host::{
        command,
        wait::{Look, Wait},
    },
    toolchain,
};

/// User and group of the image.
const UID: u32 = 999;
const PATH: &str = "/usr/lib/postgresql/17/bin:/usr/bin:/bin";
const START: Duration = Duration::from_mins(1);
const SQL: Duration = Duration::from_mins(1);

/// Runs inside the root file system. It ends with its standard input, so also when the process that started it was killed,
/// and leaves nothing: the data are for one run, so nothing is flushed and the shutdown is immediate.
const SCRIPT: &str = r#"
set -eu
data=$1 port=$2
initdb --pgdata="$data/db" --username=postgres --auth=trust --no-sync --no-instructions \
  --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 >"$data/log" 2>&1
# As on a tenant's server, the role that backs up has to know its password.
sed -i '1i host all crm_backup all scram-sha-256' "$data/db/pg_hba.conf"
postgres -D "$data/db" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$data" -c max_connections=300 \
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c dynamic_shared_memory_type=mmap >>"$data/log" 2>&1 &
read -r _ || true
kill -QUIT $! 2>/dev/null || true
wait || true
rm -rf "$data"
"#;

/// The programs of the image that the CRM runs, and what comes with it.
const PROGRAMS: [&str; 3] = ["pg_dump", "pg_restore", "psql"];
/// Where the CRM's tests look for the directory with the server's socket.
const SOCKET_VARIABLE: &str = "SCRATCH_SOCKET";
/// And for the program that runs a command beside another PostgreSQL, as new as this one was.
const FRESH_VARIABLE: &str = "FRESH_POSTGRES";

/// Run a command beside a PostgreSQL 17 of its own, with `DATABASE_URL` set for it and its programs on PATH; the database goes
/// when it ends.
#[derive(clap::Args, Debug)]
pub struct PostgresArgs {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs a command beside a PostgreSQL of its own and returns the command's exit code.
pub async fn run_postgres(args: PostgresArgs) -> Result<ExitCode> {
    let postgres = test_postgres().await?;
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(postgres.environment().await?);
    let status = command.status().await.with_context(|| format!("cannot start {}", program.display()))?;
    // A command that a signal ended has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A PostgreSQL on 127.0.0.1 with an empty cluster, gone when this is dropped.
#[derive(Debug)]
pub struct TestPostgres {
    process: Child,
    root: PathBuf,
    port: u16,
    data: tempfile::TempDir,
    /// `bin` with the image's programs, and the socket under the name that clients look for by themselves.
    beside: tempfile::TempDir,
}

impl TestPostgres {
    /// What the CRM's tests find it by: its address, its socket, on PATH the programs of its version and `age`, and ourselves, to
    /// start another one.
    ///
    /// # Errors
    /// When `age` is not installed and cannot be, or this program's file is gone.
    pub async fn environment(&self) -> Result<[(&'static str, OsString); 4]> {
        toolchain::debian_packages(&["age"]).await?;
        #[expect(clippy::disallowed_methods, reason = "handed on to a child with more in front")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.beside.path().join("bin")).chain(std::env::split_paths(&path));
        Ok([
            ("DATABASE_URL", self.database_url().into()),
            (SOCKET_VARIABLE, self.beside.path().into()),
            (FRESH_VARIABLE, std::env::current_exe()?.into()),
            ("PATH", std::env::join_paths(folders)?),
        ])
    }

    /// Address for the superuser, who may create databases and roles.
    pub fn database_url(&self) -> String {
        self.url_of("postgres")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same for one of its databases.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL in a database as the superuser.
    ///
    /// # Errors
    /// With what psql says about the first statement that fails.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<()> {
        self.query(database, statements).await.map(drop)
    }

    /// The same, and what came of it: rows and nothing else.
    ///
    /// # Errors
    /// As for [`TestPostgres::sql`].
    pub async fn query(&self, database: &str, statements: &str) -> Result<String> {
        let mut psql = tokio::process::Command::from(inside(&self.root));
        psql.args(["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        command::run_with_input(psql.arg(self.url_of(database)), statements, SQL).await
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing can be done about a failure here, and the directory is removed either way.
        let _ = self.process.wait();
    }
}

/// Starts a PostgreSQL and waits until it answers.
pub async fn test_postgres() -> Result<TestPostgres> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "a PostgreSQL for tests is started with chroot, which needs root: run as root, or set DATABASE_URL to a PostgreSQL 17"
        );
    }
    let root = postgres_root().await?;
    let postgres = start(&root)?;
    let log = postgres.data.path().join("log");
    Wait::new("PostgreSQL for tests", START)
        .explained_by(&log)
        .until(async || {
            let mut probe = tokio::process::Command::from(inside(&root));
            probe.args(["pg_isready", "--quiet", "--host=127.0.0.1", "--port", &postgres.port.to_string()]);
            let ready = command::succeeds(&mut probe, Duration::from_secs(5)).await;
            Ok(if ready { Look::Done(()) } else { Look::NotYet("it does not answer".to_owned()) })
        })
        .await?;
    Ok(postgres)
}

fn start(root: &Path) -> Result<TestPostgres> {
    let data = tempfile::Builder::new().prefix("postgres-").tempdir_in(root.join("var/tmp"))?;
    std::os::unix::fs::chown(data.path(), Some(UID), Some(UID))?;
    let port = free_port()?;
    let name = data.path().file_name().context("a temporary directory has a name")?;
    let mut shell = inside(root);
    shell.args(["sh", "-c", SCRIPT, "sh"]).arg(Path::new("/var/tmp").join(name)).arg(port.to_string());
    // A group of its own: an interrupt from the terminal is for us, and our end is its signal.
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let beside = beside(root, &data.path().join(format!(".s.PGSQL.{port}")))?;
    let process = shell.spawn().context("cannot start chroot")?;
    Ok(TestPostgres { process, root: root.to_owned(), port, data, beside })
}

/// A directory with a short name, as sockets need it.
fn beside(root: &Path, socket: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("postgres-").tempdir()?;
    std::os::unix::fs::symlink(socket, folder.path().join(".s.PGSQL.5432"))?;
    let programs = folder.path().join("bin");
    fs::create_dir(&programs)?;
    for name in PROGRAMS {
        let file = programs.join(name);
        fs::write(&file, outside(root, name)?)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// A script that runs one of the image's programs without chroot, so that it sees our files: by the image's own loader and
/// libraries, which may be newer than ours.
fn outside(root: &Path, program: &str) -> Result<String> {
    let (loader, libraries) = match std::env::consts::ARCH {
        "x86_64" => ("lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
        "aarch64" => ("lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
        other => bail!("the programs of the image postgres cannot be run on {other}"),
    };
    let [loader, libraries, file] =
        [loader, libraries, &format!("usr/lib/postgresql/17/bin/{program}")].map(|path| root.join(path));
    Ok(format!(
        "#!/bin/sh\nexec '{}' --library-path '{}' --argv0 {program} '{}' \"$@\"\n",
        loader.display(),
        libraries.display(),
        file.display()
    ))
}

/// A command that runs in the image's root file system as its user, with nothing of our environment.
fn inside(root: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={UID}:{UID}")).arg(root);
    command.env_clear().env("PATH", format!("{PATH}:/usr/sbin:/sbin")).env("LANG", "C.UTF-8");
    command
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}
