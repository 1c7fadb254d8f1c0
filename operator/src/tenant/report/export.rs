//! What the Job of an export reports.

use jiff::Timestamp;
use serde::Deserialize;

use super::{done, is_name};
use crate::cluster::facts::PodFacts;

/// An exit bundle that is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// Its name in the store.
    pub export: String,
    /// Name of the store.
    pub store: String,
    /// The moment whose data it holds.
    pub created_at: Timestamp,
    /// Its size in the store, in bytes.
    pub size: i64,
    /// Its SHA-256 in the store, in hexadecimal digits.
    pub sha256: String,
    /// SHA-256 of the file with the checksums of everything in it.
    pub sums_sha256: String,
}

/// How the pod of an export ended, if it has: with what is in the store, or with what it said instead, made safe.
pub fn export(pod: &PodFacts) -> Option<Result<Exported, String>> {
    let plausible = |report: &Exported| {
        is_name(&report.export)
            && is_store(&report.store)
            && 0 < report.size
            && is_sum(&report.sha256)
            && is_sum(&report.sums_sha256)
    };
    done(pod, "export", "Delivered", plausible)
}

/// The name of a store is a word in a path.
fn is_store(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253
        && text.bytes().all(|byte| inner(byte) || matches!(byte, b'-' | b'.'))
        && text.bytes().next().is_some_and(inner)
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
