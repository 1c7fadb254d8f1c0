//! What a migration reports: the termination message of its pod, read as the words of a stranger.

use serde::Deserialize;

use crate::cluster::facts::PodFacts;

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
    ];
    std::iter::once(word(&report.code)).chain(parts.into_iter().flatten()).collect()
}

/// An identifier out of a stranger's mouth: short, and nothing in it that a terminal or a page could stumble over.
fn word(raw: &str) -> String {
    raw.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::facts::{ContainerFacts, Ended};

    fn pod(exit_code: i32, message: &str) -> PodFacts {
        let ended = Ended { exit_code, reason: "Error".into(), message: message.into() };
        PodFacts {
            containers: vec![ContainerFacts { ended: Some(ended), ..ContainerFacts::default() }],
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
