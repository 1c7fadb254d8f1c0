//! What the status says in which world.

use rstest::rstest;

use super::*;
use crate::{
    api::{Egress, conditions::find},
    cluster::facts::Facts,
    tenant::hosts::Settlement,
    testing,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn reason(status: &TenantStatus, type_: &str) -> String {
    find(&status.conditions, type_).map(|condition| condition.reason.clone()).unwrap_or_default()
}

fn not_found() -> Result<(), Error> {
    Err(Error::PlanNotFound { name: "gold".into(), known: "one of: standard".into() })
}

#[test]
fn an_unchanged_world_gives_an_unchanged_status() {
    let tenant = testing::tenant();
    let of = |old: &TenantStatus, now| {
        status(&tenant, old, &Progress::default(), &Snapshot::default(), &not_found(), now)
    };
    let first = of(&TenantStatus::default(), at(1));
    assert_eq!(of(&first, at(1000)), first);
}

#[test]
fn every_condition_is_there_at_first_sight() {
    let tenant = testing::tenant();
    let first = status(
        &tenant,
        &TenantStatus::default(),
        &Progress::default(),
        &Snapshot::default(),
        &not_found(),
        at(1),
    );
    for type_ in
        ["Ready", "DatabaseReady", "AppReady", "BackupRecent", "BackupVerified", "Isolated", "Paused"]
    {
        let condition = find(&first.conditions, type_).unwrap_or_else(|| panic!("{type_} is missing"));
        assert_eq!(condition.observed_generation, Some(1), "{type_}");
    }
    assert_eq!(first.observed_generation, Some(1));
    assert_eq!(reason(&first, "Ready"), "PlanNotFound");
}

#[test]
fn a_failure_keeps_what_it_did_not_find_out() {
    let tenant = testing::tenant();
    let old = TenantStatus {
        state: Some(EffectiveState::ReadOnly),
        url: Some("http://acme".into()),
        hosts: vec![GrantedHost { name: "acme.crm.localhost".into() }],
        release: Some("r0".into()),
        schema_version: Some(7),
        ..TenantStatus::default()
    };
    let new = status(&tenant, &old, &Progress::default(), &Snapshot::default(), &not_found(), at(1));
    assert_eq!(
        (new.state, new.url, new.hosts, new.release, new.schema_version),
        (old.state, old.url, old.hosts, old.release, old.schema_version)
    );
}

#[test]
fn a_deletion_that_nobody_confirmed_is_told_how_to() {
    let mut tenant = testing::tenant();
    tenant.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let of = |tenant: &Tenant| {
        status(tenant, &TenantStatus::default(), &Progress::default(), &Snapshot::default(), &Ok(()), at(1))
    };
    let unconfirmed = of(&tenant);
    assert_eq!(reason(&unconfirmed, "Ready"), "DeletionUnconfirmed");
    let message = &find(&unconfirmed.conditions, "Ready").unwrap().message;
    for words in [
        "kubectl annotate tenant acme tenantry.dev/confirm-delete=acme",
        "spec.bootstrap.restore of a new Tenant brings the data back",
        "handing namespace tenant-acme to a new Tenant",
    ] {
        assert!(message.contains(words), "{message}");
    }
    tenant.metadata.annotations = Some([(names::CONFIRM_DELETE.to_owned(), "acme".to_owned())].into());
    tenant.spec.paused = true;
    assert_eq!(reason(&of(&tenant), "Ready"), "Deleting");
}

/// What is said of the network when each of these policies is missing alone.
#[rstest]
#[case::nothing_is_known_of_the_plan(None, &["default-deny", "dns", "crm", "database", "migrate"])]
#[case::without_backups(
    Some(ValidTenant { backup: None, ..testing::valid_tenant() }),
    &["default-deny", "dns", "crm", "database", "migrate"]
)]
#[case::with_backups(
    Some(testing::valid_tenant()),
    &["default-deny", "dns", "crm", "database", "migrate", "backup", "restore", "export", "drill"]
)]
#[case::with_a_way_out(
    Some(ValidTenant { egress: Egress::Public, backup: None, ..testing::valid_tenant() }),
    &["default-deny", "dns", "crm", "database", "migrate", "egress"]
)]
fn each_policy_is_missed(#[case] tenant: Option<ValidTenant>, #[case] names: &[&str]) {
    let policy = |name: &&str| testing::child(Kind::NetworkPolicy, name, Facts::Plain);
    let namespace =
        testing::child(Kind::Namespace, "tenant-acme", Facts::Namespace(NamespaceFacts::default().into()));
    let without = |missing: &str| {
        let rest = names.iter().filter(|name| **name != missing).map(policy);
        isolated(tenant.as_ref(), &Snapshot::new(rest.chain([namespace.clone()])))
    };
    assert_eq!(without("").word, Word::True);
    for name in names {
        let missed = without(name);
        assert_eq!(missed.message, format!("network policies are missing: {name}"));
        assert_eq!(missed.word, Word::False);
    }
}

#[test]
fn granted_hosts_are_written_even_when_the_rest_failed() {
    let host = crate::names::Host::parse("acme.crm.localhost").unwrap();
    let hosts = Settlement { granted: vec![host], ..Settlement::default() };
    let progress = Progress { hosts: Some(hosts), ..Progress::default() };
    let new = status(
        &testing::tenant(),
        &TenantStatus::default(),
        &progress,
        &Snapshot::default(),
        &not_found(),
        at(1),
    );
    assert_eq!(new.hosts, [GrantedHost { name: "acme.crm.localhost".into() }]);
}
