//! From what is there to how far a tenant is that begins from a backup.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::cache::{Child, Key},
    testing::{self, at},
};

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
const BACKUP: &str = "20261122T132501Z-ab12cd";
const RESTORED: &str = r#"{"code":"Restored","backup":"20261122T132501Z-ab12cd","createdAt":"2026-11-22T13:25:01.5Z","rows":7,"schemaVersion":3}"#;
const RECORD: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455/20261122T132501Z-ab12cd/2026-11-22T13:25:01Z";

fn tenant(restore: &Value) -> Tenant {
    let mut raw = serde_json::to_value(testing::tenant()).unwrap();
    raw["spec"]["bootstrap"] = json!({ "restore": restore });
    serde_json::from_value(raw).unwrap()
}

fn valid(backup: &str) -> ValidTenant {
    let source = Source { tenant: "old".to_owned(), uid: UID.to_owned() };
    let bootstrap = Some(ValidBootstrap { source, backup: backup.to_owned() });
    ValidTenant { bootstrap, ..testing::valid_tenant() }
}

fn job(finished: Option<i64>) -> (Key, Child) {
    testing::job(&names::bootstrap_job("uid-acme"), finished)
}

fn pod(exit_code: i32, message: &str) -> (Key, Child) {
    testing::job_pod("restore", &names::bootstrap_job("uid-acme"), Some((exit_code, message)))
}

fn decided(tenant: &ValidTenant, seen: impl IntoIterator<Item = (Key, Child)>, now: i64) -> Bootstrap {
    decide(tenant, &Snapshot::new(seen), at(now)).unwrap()
}

fn attempt(bootstrap: &Bootstrap) -> (Step, Option<&str>) {
    let Stage::Restoring(attempt) = &bootstrap.stage else { panic!("{bootstrap:?}") };
    (attempt.step, attempt.failure.as_deref())
}

#[rstest]
#[case(json!({"tenantUID": UID}), "acme", "newest")]
#[case(json!({"tenantUID": UID, "tenant": "old", "backup": BACKUP}), "old", BACKUP)]
#[case(json!({"tenantUID": UID, "time": "2026-11-20T00:00:00Z"}), "acme", "before:2026-11-20T00:00:00Z")]
fn it_begins_from_what_the_spec_says(#[case] restore: Value, #[case] source: &str, #[case] backup: &str) {
    let wanted = outstanding(&tenant(&restore), &NamespaceFacts::default(), &Databases::default()).unwrap();
    assert_eq!(wanted.source.to_string(), format!("{source}/{UID}"));
    assert_eq!(wanted.backup, backup);
}

#[test]
fn without_a_bootstrap_a_record_stays_as_it_is() {
    let facts = NamespaceFacts { restored_from: Some(RECORD.into()), ..NamespaceFacts::default() };
    let outstanding = |facts| outstanding(&testing::tenant(), facts, &Databases::default());
    assert_eq!(outstanding(&facts), Err(Some(RECORD.into())));
    assert_eq!(outstanding(&NamespaceFacts::default()), Err(None));
}

/// Whatever of the record is lost, the rest is enough to know that the tenant has begun.
#[rstest]
#[case::record(json!({"restored_from": RECORD}), true)]
#[case::changed_record(json!({"restored_from": "?"}), true)]
#[case::schema(json!({"schema_version": 3}), true)]
#[case::migrated(json!({"migrated": "migrate-1"}), true)]
#[case::another_database(json!({"current": 2}), true)]
#[case::status(json!({"told": true}), true)]
#[case::nothing(json!({}), false)]
#[case::under_way(json!({"restore_from": "old/uid"}), false)]
#[case::status_of_an_earlier_namespace(json!({"restore_from": "old/uid", "told": true}), false)]
#[case::no_namespace(json!({"absent": true, "told": true}), false)]
fn it_is_never_done_twice(#[case] known: Value, #[case] has_begun: bool) {
    let text = |name: &str| known[name].as_str().map(str::to_owned);
    let facts = NamespaceFacts {
        tenant: known["absent"].is_null().then(|| "acme".to_owned()),
        restored_from: text("restored_from"),
        restore_from: text("restore_from"),
        schema_version: known["schema_version"].as_i64(),
        migrated: text("migrated"),
        ..NamespaceFacts::default()
    };
    let databases = Databases { current: known["current"].as_i64().unwrap_or(1), ..Databases::default() };
    let mut tenant = tenant(&json!({"tenantUID": UID}));
    if known["told"] == true {
        let status = json!({"restoredFrom": read(RECORD).unwrap()});
        tenant.status = Some(serde_json::from_value(status).unwrap());
    }
    let outstanding = outstanding(&tenant, &facts, &databases);
    assert_eq!(outstanding.is_err(), has_begun, "{outstanding:?}");
    if known["told"] == true && has_begun {
        assert_eq!(outstanding, Err(Some(RECORD.into())), "what the status says is written down again");
    }
}

#[test]
fn a_job_restores_it_and_what_it_says_is_recorded() {
    let tenant = valid("newest");
    assert_eq!(attempt(&decided(&tenant, [], 0)), (Step::Run, None));
    assert_eq!(attempt(&decided(&tenant, [job(None)], 0)), (Step::Run, None));
    let done = decided(&tenant, [job(None), pod(0, RESTORED)], 0);
    assert_eq!(done.restored().unwrap().schema_version, 3);
    assert_eq!(done.record().as_deref(), Some(RECORD));
    assert_eq!(read(RECORD), done.restored_from());
    assert_eq!(read("?"), None);
    // Also when the Job has gone meanwhile.
    assert_eq!(decided(&tenant, [pod(0, RESTORED)], 0).record().as_deref(), Some(RECORD));
}

#[test]
fn a_job_that_failed_rests_and_is_then_made_again() {
    let tenant = valid("newest");
    let seen = || [job(Some(100)), pod(1, r#"{"code":"WrongKey"}"#)];
    let rests = decided(&tenant, seen(), 399);
    assert_eq!(attempt(&rests), (Step::Rest { until: at(400) }, Some("WrongKey")));
    assert_eq!((rests.job(), rests.rests_until()), (None, Some(at(400))));
    let snapshot = Snapshot::new(seen());
    assert_eq!(unwanted(Some(&rests), &snapshot), []);
    let again = decided(&tenant, seen(), 400);
    assert_eq!(attempt(&again), (Step::Discard, Some("WrongKey")));
    let name = names::bootstrap_job("uid-acme");
    let uid = format!("uid-{name}").into();
    let gone = [(name.as_str(), &uid)];
    assert_eq!(unwanted(Some(&again), &snapshot), gone);
    assert_eq!(unwanted(None, &snapshot), gone, "it is recorded");
    let silent = decided(&tenant, [job(Some(100))], 399);
    assert!(attempt(&silent).1.unwrap().contains("did not come to an end in time"));
}

#[test]
fn another_backup_than_the_one_that_was_named_is_not_taken() {
    assert!(decided(&valid(BACKUP), [pod(0, RESTORED)], 0).restored().is_some());
    let other = decided(&valid("20261122T132501Z-zzzzzz"), [pod(0, RESTORED)], 0);
    assert!(attempt(&other).1.unwrap().contains(BACKUP));
}

#[test]
fn it_waits_for_a_plan_with_a_store_and_while_the_tenant_is_suspended() {
    let tenant = valid("newest");
    let without = ValidTenant { backup: None, ..tenant.clone() };
    assert_eq!(decided(&without, [], 0).stage, Stage::NoBackups);
    let mut no_store = tenant.clone();
    no_store.backup.as_mut().unwrap().recovery = None;
    assert_eq!(decided(&no_store, [], 0).stage, Stage::NoStore);
    let suspended = ValidTenant { state: State::Suspended, ..tenant };
    let waits = decided(&suspended, [], 0);
    assert_eq!((attempt(&waits), waits.job()), ((Step::Postponed, None), None));
}
