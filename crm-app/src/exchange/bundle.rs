//! The exit bundle: dump, open files, what is known about them, and what starts the CRM from them, of one snapshot. It goes where it
//! is to go while it is made: nothing of it is kept, neither in memory nor on a disk.

use std::{fmt::Write as _, process::Stdio};

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncReadExt as _, process::Command};

use super::{
    archive::{Archive, Entry, Output},
    tables::{ROWS_NOT_DUMPED, TABLES, TABLES_LEFT_OUT, Table},
};
use crate::{
    backup::{self, Problem, Programs, Running},
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

/// Whose data a bundle holds.
#[derive(Clone, Debug, Serialize)]
pub struct Whose {
    /// Name of the Tenant.
    pub name: String,
    /// Its uid, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What is exported.
pub struct Plan {
    /// The database, as a role that may read all of it.
    pub database: Login,
    /// Whose data it is.
    pub tenant: Whose,
    /// The CRM's image, as others can get it.
    pub image: String,
    /// Who the tenant is.
    pub entitlement: Entitlement,
    /// What dumps.
    pub programs: Programs,
}

/// What is in a bundle that is whole.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The snapshot's time.
    pub(crate) created_at: Timestamp,
    /// Rows of all tables in it.
    pub(crate) rows: u64,
    /// The newest migration in it.
    pub(crate) schema_version: i64,
    /// SHA-256 of the file `SHA256SUMS` in it, and so of everything in it.
    pub(crate) sha256: String,
    /// Of the archive, in bytes.
    pub(crate) size: u64,
}

/// The name of the folder in it, which is one for the file as well.
pub(crate) fn name(tenant: &str, taken_at: Timestamp) -> String {
    format!("crm-{tenant}-{}", taken_at.strftime("%Y%m%dT%H%M%SZ"))
}

/// Writes the bundle of a snapshot, and gives back where it went. What went there is a bundle only when this says so.
pub(crate) async fn write<O: Output>(
    plan: &Plan,
    mut snapshot: Snapshot,
    output: O,
) -> Result<(Contents, O), Problem> {
    let Some(schema_version) = snapshot.schema_version else { return Err(Problem::NotMigrated) };
    let taken_at = snapshot.taken_at;
    let mut archive = Archive::new(output, name(&plan.tenant.name, taken_at), taken_at);

    let compose = COMPOSE.replace("{{image}}", &plan.image).replace("{{tenant}}", &plan.tenant.name);
    for (path, text) in FILES.into_iter().chain([("compose.yaml", compose.as_str())]) {
        archive.add(path, text.as_bytes()).await?;
    }
    add_json(&mut archive, "entitlement.json", &own(&plan.entitlement)).await?;
    // Whoever waits sees that it has begun, however long the dump keeps silent.
    archive.hand_on().await?;
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
    archive.add("SHA256SUMS", sums.as_bytes()).await?;
    let (size, output) = archive.end().await?;
    let contents = Contents {
        created_at: taken_at,
        rows: rows.iter().map(|table| table.rows).sum(),
        schema_version,
        sha256: hex::encode(Sha256::digest(sums)),
        size,
    };
    Ok((contents, output))
}

/// Nobody's state but the customer's own decides from now on.
fn own(entitlement: &Entitlement) -> Entitlement {
    Entitlement { revision: 1, state: State::Active, ..entitlement.clone() }
}

/// All tables, and the rows of those that mean something elsewhere. In PostgreSQL's usual compression, which every build of it
/// can read.
async fn dump<O: Output>(plan: &Plan, snapshot: &str, archive: &mut Archive<O>) -> Result<(), Problem> {
    let mut command = Command::new(&plan.programs.dump);
    command.arg("--format=custom").arg(format!("--snapshot={snapshot}"));
    command.args(ROWS_NOT_DUMPED.map(|table| format!("--exclude-table-data=crm.{table}")));
    let mut running = Running::start("pg_dump", command, &plan.database, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout()?;
    let mut writing = archive.begin("database/crm.dump").await?;
    let mut portion = vec![0; PORTION];
    loop {
        let read = stdout
            .read(&mut portion)
            .await
            .map_err(|_| Problem::DumpFailed { status: None, sqlstate: None })?;
        if read == 0 {
            break;
        }
        writing.write(&portion[..read]).await?;
    }
    running.end().await.map_err(|failed| backup::dump_problem(&failed))?;
    writing.end().await
}

async fn open_file<O: Output>(
    snapshot: &mut Snapshot,
    table: &Table,
    form: Form,
    archive: &mut Archive<O>,
) -> Result<(), Problem> {
    let (kind, beginning) = match form {
        Form::Csv => ("csv", BYTE_ORDER_MARK),
        Form::JsonLines => ("jsonl", ""),
    };
    let path = format!("data/{}.{kind}", table.name);
    let mut writing = archive.begin(&path).await?;
    writing.write(beginning.as_bytes()).await?;
    let failed = |error: sqlx::Error| Problem::database(&error);
    let rows = export::rows(snapshot.db(), table.name, table.columns, table.order, form);
    let mut rows = rows.await.map_err(failed)?;
    while let Some(piece) = rows.try_next().await.map_err(failed)? {
        writing.write(&piece).await?;
    }
    writing.end().await
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

async fn add_json<O: Output>(
    archive: &mut Archive<O>,
    path: &str,
    value: &(impl Serialize + Sync),
) -> Result<(), Problem> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|_| Problem::ManifestInvalid)?;
    text.push(b'\n');
    archive.add(path, &text).await
}
