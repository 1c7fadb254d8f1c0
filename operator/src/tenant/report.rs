//! What Jobs report: the termination messages of their pods, read as the words of a stranger.

mod export;

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use crate::cluster::facts::PodFacts;

pub use export::{Exported, export};

/// What is known of a migration from its newest pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No pod has ended yet.
    Pending,
    /// The schema is at that version.
    Migrated {
        /// Version after the migration.
        schema_version: i64,
    },
    /// It ended otherwise; what it said, made safe.
    Failed {
        /// For people: what failed.
        what: String,
    },
    /// It ended without a report that can be read, so nothing is known.
    Unknown {
        /// Exit code of the container.
        exit_code: i32,
        /// For example `OOMKilled`.
        reason: String,
    },
}

/// What is known of a backup from its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backup {
    /// It has not ended.
    Pending,
    /// It is in the store.
    Done(BackedUp),
    /// It is not; what it said, made safe.
    Failed {
        /// For people: what failed.
        what: String,
    },
}

/// What is known of a drill from its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drill {
    /// It has not ended.
    Pending,
    /// The backup came back whole.
    Done(Drilled),
    /// It did not; what it said, made safe.
    Failed {
        /// For people: what failed.
        what: String,
    },
}

/// What is known of a restore from its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restore {
    /// It has not ended.
    Pending,
    /// The database is there and complete.
    Done(Restored),
    /// It is not; what it said, made safe.
    Failed {
        /// For people: what failed.
        what: String,
    },
}

/// A backup that was restored into a database that can serve.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Timestamp,
    /// Version of the database schema, after it was brought to that of the release.
    pub schema_version: i64,
    /// Rows of all tables.
    pub rows: i64,
}

/// A backup that came back whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drilled {
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Timestamp,
    /// From the first byte to the last check, in seconds.
    pub restored_in: i64,
    /// Rows of all tables.
    pub rows: i64,
}

/// A backup that is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUp {
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Timestamp,
    /// Its size in the store, in bytes.
    pub size: i64,
    /// Version of the database schema.
    pub schema_version: i64,
}

/// More than the app writes; a longer message is not a report.
const MAX_REPORT_BYTES: usize = 2048;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    code: String,
    schema_version: Option<i64>,
    migration: Option<i64>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    request: Option<String>,
    answer: Option<String>,
}

/// The outcome that the pods of one Job show; the pods in any order.
pub fn outcome<'a>(pods: impl Iterator<Item = (&'a PodFacts, Option<jiff::Timestamp>)>) -> Outcome {
    let mut outcomes: Vec<_> = pods.map(|(pod, created)| (created, of_pod(pod))).collect();
    outcomes.sort_by_key(|(created, _)| *created);
    let good = outcomes.iter().position(|(_, outcome)| matches!(outcome, Outcome::Migrated { .. }));
    if let Some(at) = good {
        return outcomes.swap_remove(at).1;
    }
    let mut ended =
        outcomes.into_iter().map(|(_, outcome)| outcome).filter(|outcome| *outcome != Outcome::Pending);
    ended.next_back().unwrap_or(Outcome::Pending)
}

/// What the pod of a backup shows.
pub fn backup(pod: &PodFacts) -> Backup {
    let plausible =
        |report: &BackedUp| is_name(&report.backup) && 0 < report.size && 0 <= report.schema_version;
    match done(pod, "backup", "BackedUp", plausible) {
        None => Backup::Pending,
        Some(Ok(done)) => Backup::Done(done),
        Some(Err(what)) => Backup::Failed { what },
    }
}

/// What the pod of a drill shows.
pub fn drill(pod: &PodFacts) -> Drill {
    let plausible = |report: &Drilled| is_name(&report.backup) && 0 <= report.restored_in && 0 <= report.rows;
    match done(pod, "drill", "Drilled", plausible) {
        None => Drill::Pending,
        Some(Ok(done)) => Drill::Done(done),
        Some(Err(what)) => Drill::Failed { what },
    }
}

/// What the pod of a restore shows.
pub fn restore(pod: &PodFacts) -> Restore {
    let plausible =
        |report: &Restored| is_name(&report.backup) && 0 <= report.schema_version && 0 <= report.rows;
    match done(pod, "restore", "Restored", plausible) {
        None => Restore::Pending,
        Some(Ok(done)) => Restore::Done(done),
        Some(Err(what)) => Restore::Failed { what },
    }
}

/// How the container of that name ended, if it has: with a plausible report of success, or with what it said instead.
fn done<T: DeserializeOwned>(
    pod: &PodFacts,
    container: &str,
    success: &str,
    plausible: impl Fn(&T) -> bool,
) -> Option<Result<T, String>> {
    let container = pod.containers.iter().find(|known| known.name == container)?;
    let ended = container.ended.as_ref()?;
    let message = if ended.message.len() <= MAX_REPORT_BYTES { ended.message.as_str() } else { "" };
    let Ok(report) = serde_json::from_str::<Report>(message) else {
        let reason = word(&ended.reason);
        return Some(Err(format!(
            "it ended with exit code {} ({reason}) and did not say why",
            ended.exit_code
        )));
    };
    let done = serde_json::from_str(message).ok().filter(plausible);
    Some(match (ended.exit_code, done) {
        (0, Some(done)) if report.code == success => Ok(done),
        _ => Err(describe(&report)),
    })
}

/// The name of a backup is a path in the store and a word on a screen.
fn is_name(backup: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        16 => byte == b'-',
        17.. => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        _ => byte.is_ascii_digit(),
    };
    backup.len() == 23 && backup.bytes().enumerate().all(shape)
}

fn of_pod(pod: &PodFacts) -> Outcome {
    let Some(ended) = pod.containers.iter().find_map(|container| container.ended.as_ref()) else {
        return Outcome::Pending;
    };
    let unknown = || Outcome::Unknown { exit_code: ended.exit_code, reason: word(&ended.reason) };
    if MAX_REPORT_BYTES < ended.message.len() {
        return unknown();
    }
    let Ok(report) = serde_json::from_str::<Report>(&ended.message) else {
        return unknown();
    };
    match (ended.exit_code, report.code.as_str(), report.schema_version) {
        (0, "Migrated", Some(schema_version)) if 0 <= schema_version => Outcome::Migrated { schema_version },
        (0, ..) | (_, "Migrated", _) => unknown(),
        _ => Outcome::Failed { what: describe(&report) },
    }
}

fn describe(report: &Report) -> String {
    let parts = [
        report.migration.map(|migration| format!(" in migration {migration}")),
        report.schema_version.map(|version| format!(" at schema version {version}")),
        report.sqlstate.as_ref().map(|sqlstate| format!(", SQLSTATE {}", word(sqlstate))),
        report.constraint.as_ref().map(|constraint| format!(", constraint {}", word(constraint))),
        report.request.as_ref().map(|request| format!(": {}", words(request))),
        report.answer.as_ref().map(|answer| format!(" was answered with {}", words(answer))),
    ];
    std::iter::once(word(&report.code)).chain(parts.into_iter().flatten()).collect()
}

/// An identifier out of a stranger's mouth: short, and nothing in it that a terminal or a page could stumble over.
fn word(raw: &str) -> String {
    raw.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect()
}

/// Some words out of the same mouth.
fn words(raw: &str) -> String {
    raw.chars().filter(|c| c.is_ascii_alphanumeric() || "_-./() ".contains(*c)).take(128).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::facts::{ContainerFacts, Ended};

    fn pod(exit_code: i32, message: &str) -> PodFacts {
        named("backup", exit_code, message)
    }

    fn named(name: &str, exit_code: i32, message: &str) -> PodFacts {
        let ended = Ended { exit_code, reason: "Error".into(), message: message.into() };
        PodFacts {
            containers: vec![ContainerFacts {
                name: name.into(),
                ended: Some(ended),
                ..ContainerFacts::default()
            }],
            ..PodFacts::default()
        }
    }

    fn of(pods: &[PodFacts]) -> Outcome {
        let second = |at: usize| jiff::Timestamp::from_second(i64::try_from(at).unwrap()).ok();
        outcome(pods.iter().enumerate().map(|(at, pod)| (pod, second(at))))
    }

    #[rstest]
    #[case::missing(0, "")]
    #[case::no_json(0, "all good")]
    #[case::no_version(0, r#"{"code":"Migrated"}"#)]
    #[case::negative(0, r#"{"code":"Migrated","schemaVersion":-1}"#)]
    #[case::contradicts_the_exit_code(1, r#"{"code":"Migrated","schemaVersion":3}"#)]
    #[case::failed_but_exits_well(0, r#"{"code":"MigrationFailed"}"#)]
    #[case::too_long(0, &format!(r#"{{"code":"Migrated","schemaVersion":3,"x":"{}"}}"#, "a".repeat(2048)))]
    fn only_a_full_report_is_success(#[case] exit_code: i32, #[case] message: &str) {
        assert!(matches!(of(&[pod(exit_code, message)]), Outcome::Unknown { .. }));
    }

    #[test]
    fn a_report_is_read() {
        let good = pod(0, r#"{"code":"Migrated","schemaVersion":3}"#);
        assert_eq!(of(&[good]), Outcome::Migrated { schema_version: 3 });
        let bad = pod(
            1,
            r#"{"code":"MigrationFailed","migration":2,"sqlstate":"23505","constraint":"company_name_key"}"#,
        );
        let what = "MigrationFailed in migration 2, SQLSTATE 23505, constraint company_name_key".to_owned();
        assert_eq!(of(&[bad]), Outcome::Failed { what });
    }

    const BACKED_UP: &str = r#"{"code":"BackedUp","backup":"20261122T132501Z-ab12cd","createdAt":"2026-11-22T13:25:01Z","size":4096,"schemaVersion":3}"#;

    #[test]
    fn a_drill_is_done_when_its_own_container_says_so() {
        let report = r#"{"code":"Drilled","backup":"20261122T010000Z-k3v9x2","createdAt":"2026-11-22T01:00:00.25Z","restoredIn":2,"rows":42,"schemaVersion":3}"#;
        let done = Drilled {
            backup: "20261122T010000Z-k3v9x2".into(),
            created_at: "2026-11-22T01:00:00.25Z".parse().unwrap(),
            restored_in: 2,
            rows: 42,
        };
        assert_eq!(drill(&named("drill", 0, report)), Drill::Done(done));
        assert_eq!(drill(&named("postgres", 0, report)), Drill::Pending);
        let negative = report.replace(":42", ":-1");
        assert_eq!(
            drill(&named("drill", 0, &negative)),
            Drill::Failed { what: "Drilled at schema version 3".into() }
        );
        let differs = r#"{"code":"RowsDiffer","tables":1,"table":"company"}"#;
        assert_eq!(drill(&named("drill", 1, differs)), Drill::Failed { what: "RowsDiffer".into() });
        let unserved =
            r#"{"code":"NotServed","request":"GET /api/v1/companies","answer":"500 (internal)\n<b>"}"#;
        let what = "NotServed: GET /api/v1/companies was answered with 500 (internal)b".into();
        assert_eq!(drill(&named("drill", 1, unserved)), Drill::Failed { what });
    }

    #[test]
    fn a_backup_is_done_when_it_says_so_in_full() {
        let done = BackedUp {
            backup: "20261122T132501Z-ab12cd".into(),
            created_at: "2026-11-22T13:25:01Z".parse().unwrap(),
            size: 4096,
            schema_version: 3,
        };
        assert_eq!(backup(&pod(0, BACKED_UP)), Backup::Done(done));
        assert_eq!(backup(&PodFacts::default()), Backup::Pending);
    }

    #[test]
    fn a_database_is_restored_when_it_is_said_so_in_full() {
        let said = r#"{"code":"Restored","backup":"20261122T132501Z-ab12cd","createdAt":"2026-11-22T13:25:01Z","rows":7,"schemaVersion":3,"restoredIn":4}"#;
        let Restore::Done(done) = restore(&named("restore", 0, said)) else { panic!() };
        assert_eq!((done.backup.as_str(), done.rows, done.schema_version), ("20261122T132501Z-ab12cd", 7, 3));
        let failed = |exit_code, said: &str| {
            matches!(restore(&named("restore", exit_code, said)), Restore::Failed { .. })
        };
        assert!(failed(1, said) && failed(0, ""));
        for (right, wrong) in
            [("Restored", "Dropped"), ("Z-ab", "Z/ab"), ("\"rows\":7", "\"rows\":-7"), (":3", ":-3")]
        {
            assert!(failed(0, &said.replace(right, wrong)), "{wrong}");
        }
        assert_eq!(restore(&named("other", 0, said)), Restore::Pending);
    }

    #[rstest]
    #[case::other_exit_code(1, BACKED_UP.to_owned(), "BackedUp")]
    #[case::missing(0, String::new(), "it ended with exit code 0 (Error) and did not say why")]
    #[case::too_long(0, BACKED_UP.replace("Z-ab12cd", &"a".repeat(2048)), "it ended with exit code 0")]
    #[case::not_a_name(0, BACKED_UP.replace("-ab12cd", "/../../"), "BackedUp")]
    #[case::no_size(0, BACKED_UP.replace("4096", "0"), "BackedUp")]
    #[case::no_time(0, BACKED_UP.replace("2026-11-22T13", "yesterday"), "BackedUp")]
    #[case::a_code(1, r#"{"code":"DoorUnreachable"}"#.to_owned(), "DoorUnreachable")]
    fn any_other_end_is_a_failure(#[case] exit_code: i32, #[case] message: String, #[case] what: &str) {
        let Backup::Failed { what: said } = backup(&pod(exit_code, &message)) else { panic!("{message}") };
        assert!(said.starts_with(what), "{said}");
    }

    #[test]
    fn nothing_of_a_stranger_reaches_the_screen_unfiltered() {
        let evil = pod(1, r#"{"code":"\u001b[31m<b>x</b>","sqlstate":"'; DROP"}"#);
        assert_eq!(of(&[evil]), Outcome::Failed { what: "31mbxb, SQLSTATE DROP".into() });
    }

    #[test]
    fn the_newest_end_counts_and_success_is_final() {
        let failed = |n: i32| pod(1, &format!(r#"{{"code":"MigrationFailed","migration":{n}}}"#));
        assert_eq!(
            of(&[failed(1), failed(2)]),
            Outcome::Failed { what: "MigrationFailed in migration 2".into() }
        );
        assert_eq!(
            of(&[failed(1), PodFacts::default()]),
            Outcome::Failed { what: "MigrationFailed in migration 1".into() }
        );
        let good = pod(0, r#"{"code":"Migrated","schemaVersion":3}"#);
        assert_eq!(of(&[good, failed(2)]), Outcome::Migrated { schema_version: 3 });
        assert_eq!(of(&[PodFacts::default()]), Outcome::Pending);
        assert_eq!(of(&[]), Outcome::Pending);
    }
}
