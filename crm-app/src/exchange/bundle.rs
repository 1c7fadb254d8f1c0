//! The exit bundle: dump, open files, what is known about them, and what starts the CRM from them, of one snapshot. Nothing of it
//! is kept in memory, and it has its name only when it is whole.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncReadExt as _, process::Command};

use super::{
    archive::{Archive, Entry},
    tables::{ROWS_NOT_DUMPED, TABLES, TABLES_LEFT_OUT, Table},
};
use crate::{
    backup::{self, Deadline, Outcome, Problem, Programs, Running, Step, Tenant},
    db::{
        Login,
        audit::{self, Verdict},
        export::{self, Form},
        snapshot::Snapshot,
    },
    entitlement::{Entitlement, State},
};

/// Of the bundle's format.
const VERSION: u32 = 1;
/// Read from `pg_dump` at a time.
const PORTION: usize = 64 * 1024;
/// By this Excel knows UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

const COMPOSE: &str = include_str!("bundle/compose.yaml");
/// What is the same in every bundle.
const FILES: [(&str, &str); 4] = [
    ("README.md", include_str!("bundle/README.md")),
    ("README.zh-CN.md", include_str!("bundle/README.zh-CN.md")),
    ("make-passwords.sh", include_str!("bundle/make-passwords.sh")),
    ("database/restore.sh", include_str!("bundle/restore.sh")),
];

/// What is exported, and where to.
pub struct Plan {
    /// The database, as a role that may read all of it.
    pub database: Login,
    /// Whose data it is.
    pub tenant: Tenant,
    /// The CRM's image, as others can get it.
    pub image: String,
    /// Who the tenant is.
    pub entitlement: Entitlement,
    /// The archive; what was there before is replaced when the new one is whole.
    pub output: PathBuf,
    /// What dumps.
    pub programs: Programs,
}

/// Writes the bundle. What fails leaves no file.
pub async fn export(plan: &Plan, deadline: Deadline) -> Result<Outcome, Problem> {
    let snapshot = deadline.hold(Step::Snapshot, backup::snapshot(&plan.database, deadline)).await?;
    let mut name = OsString::from(&plan.output);
    name.push(".partial");
    let partial = Partial(name.into());
    let outcome = deadline.hold(Step::Export, write(plan, snapshot, &partial.0)).await?;
    tokio::fs::rename(&partial.0, &plan.output).await.map_err(|error| unwritable(&error))?;
    Ok(outcome)
}

/// A file that goes away with this value, unless it has another name by then.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

async fn write(plan: &Plan, mut snapshot: Snapshot, path: &Path) -> Result<Outcome, Problem> {
    let Some(schema_version) = snapshot.schema_version else { return Err(Problem::NotMigrated) };
    let taken_at = snapshot.taken_at;
    let folder = format!("crm-{}-{}", plan.tenant.name, taken_at.strftime("%Y%m%dT%H%M%SZ"));
    let modified = u64::try_from(taken_at.as_second()).unwrap_or_default();
    let mut archive = Archive::create(path, folder, modified).await.map_err(|error| unwritable(&error))?;

    let compose = COMPOSE.replace("{{image}}", &plan.image);
    for (path, text) in FILES.into_iter().chain([("compose.yaml", compose.as_str())]) {
        archive.add(path, text.as_bytes()).await.map_err(|error| unwritable(&error))?;
    }
    add_json(&mut archive, "entitlement.json", &own(&plan.entitlement)).await?;
    dump(plan, &snapshot.name, &mut archive).await?;
    for table in TABLES {
        open_file(&mut snapshot, table, Form::Csv, &mut archive).await?;
        open_file(&mut snapshot, table, Form::JsonLines, &mut archive).await?;
    }
    add_json(&mut archive, "schema.json", &schema(&mut snapshot, schema_version).await?).await?;
    let rows = snapshot.rows().await.map_err(|error| Problem::database(&error))?;
    let rows: Vec<_> =
        rows.into_iter().filter(|rows| TABLES.iter().any(|table| table.name == rows.name)).collect();
    let manifest = json!({
        "version": VERSION,
        "tenant": plan.tenant,
        "displayName": plan.entitlement.profile.display_name,
        "createdAt": taken_at,
        "app": {"version": env!("CARGO_PKG_VERSION"), "image": plan.image},
        "schemaVersion": schema_version,
        "postgresVersion": snapshot.postgres_version,
        "lsn": snapshot.lsn,
        "tables": rows,
        "audit": chain(&mut snapshot).await?,
        "files": archive.entries().iter().map(described).collect::<Vec<_>>(),
    });
    // Whether the goodbye is heard changes nothing.
    _ = snapshot.end().await;
    add_json(&mut archive, "manifest.json", &manifest).await?;
    let sums = sums(archive.entries());
    archive.add("SHA256SUMS", sums.as_bytes()).await.map_err(|error| unwritable(&error))?;
    Ok(Outcome::Exported {
        created_at: taken_at,
        rows: rows.iter().map(|table| table.rows).sum(),
        schema_version,
        sha256: hex::encode(Sha256::digest(sums)),
        size: archive.end().await.map_err(|error| unwritable(&error))?,
    })
}

/// Nobody's state but the customer's own decides from now on.
fn own(entitlement: &Entitlement) -> Entitlement {
    Entitlement { revision: 1, state: State::Active, ..entitlement.clone() }
}

/// All tables, and the rows of those that mean something elsewhere. In PostgreSQL's usual compression, which every build of it
/// can read.
async fn dump(plan: &Plan, snapshot: &str, archive: &mut Archive) -> Result<(), Problem> {
    let mut command = Command::new(&plan.programs.dump);
    command.arg("--format=custom").arg(format!("--snapshot={snapshot}"));
    command.args(ROWS_NOT_DUMPED.map(|table| format!("--exclude-table-data=crm.{table}")));
    let mut running = Running::start("pg_dump", command, &plan.database, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout()?;
    let mut writing = archive.begin("database/crm.dump").await.map_err(|error| unwritable(&error))?;
    let mut portion = vec![0; PORTION];
    loop {
        let read = stdout
            .read(&mut portion)
            .await
            .map_err(|_| Problem::DumpFailed { status: None, sqlstate: None })?;
        if read == 0 {
            break;
        }
        writing.write(&portion[..read]).await.map_err(|error| unwritable(&error))?;
    }
    running.end().await.map_err(|failed| backup::dump_problem(&failed))?;
    writing.end().await.map_err(|error| unwritable(&error))
}

async fn open_file(
    snapshot: &mut Snapshot,
    table: &Table,
    form: Form,
    archive: &mut Archive,
) -> Result<(), Problem> {
    let (kind, beginning) = match form {
        Form::Csv => ("csv", BYTE_ORDER_MARK),
        Form::JsonLines => ("jsonl", ""),
    };
    let path = format!("data/{}.{kind}", table.name);
    let mut writing = archive.begin(&path).await.map_err(|error| unwritable(&error))?;
    writing.write(beginning.as_bytes()).await.map_err(|error| unwritable(&error))?;
    let failed = |error: sqlx::Error| Problem::database(&error);
    let rows = export::rows(snapshot.db(), table.name, table.columns, table.order, form);
    let mut rows = rows.await.map_err(failed)?;
    while let Some(piece) = rows.try_next().await.map_err(failed)? {
        writing.write(&piece).await.map_err(|error| unwritable(&error))?;
    }
    writing.end().await.map_err(|error| unwritable(&error))
}

async fn schema(snapshot: &mut Snapshot, version: i64) -> Result<Value, Problem> {
    let left_out = |all: &[super::tables::LeftOut]| -> Vec<Value> {
        all.iter().map(|one| json!({"name": one.name, "why": one.why})).collect()
    };
    let mut tables = Vec::new();
    for table in TABLES {
        let columns = export::columns(snapshot.db(), table.name).await;
        let columns = columns.map_err(|error| Problem::database(&error))?;
        let shown: Vec<_> =
            columns.into_iter().filter(|column| table.columns.contains(&column.name.as_str())).collect();
        tables.push(json!({
            "name": table.name, "about": table.about, "columns": shown, "leftOut": left_out(table.left_out),
        }));
    }
    Ok(json!({"schemaVersion": version, "tables": tables, "leftOut": left_out(TABLES_LEFT_OUT)}))
}

/// A chain that is broken is exported as it is, and said to be.
async fn chain(snapshot: &mut Snapshot) -> Result<Value, Problem> {
    let failed = |error: sqlx::Error| Problem::database(&error);
    Ok(match audit::verify(snapshot.db()).await.map_err(failed)? {
        Verdict::Whole(entries) => {
            let last = audit::last_hash(snapshot.db()).await.map_err(failed)?;
            json!({"entries": entries, "lastHash": hex::encode(last)})
        }
        Verdict::BrokenAt(entry) => json!({"brokenAt": entry}),
    })
}

fn described(entry: &Entry) -> Value {
    json!({"path": entry.path, "size": entry.sum.size, "sha256": entry.sum.sha256})
}

/// As `sha256sum` writes it.
fn sums(entries: &[Entry]) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        _ = writeln!(text, "{}  {}", entry.sum.sha256, entry.path);
        text
    })
}

async fn add_json(archive: &mut Archive, path: &str, value: &impl Serialize) -> Result<(), Problem> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|_| Problem::ManifestInvalid)?;
    text.push(b'\n');
    archive.add(path, &text).await.map_err(|error| unwritable(&error))
}

fn unwritable(error: &io::Error) -> Problem {
    tracing::error!(%error, "output.unwritable");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Problem::OutputFull
        }
        _ => Problem::OutputUnwritable,
    }
}
