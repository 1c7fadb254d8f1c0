//! What passes, in which form; and what does not.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    api::{HostClaim, TenantBackups, TenantDatabase},
    testing,
};

fn checked(tenant: &Tenant, present: Option<&str>) -> Result<ValidTenant, Invalid> {
    validate(
        tenant,
        &testing::plan(),
        &testing::release("r1", 1),
        Some(&testing::store()),
        present,
        &testing::settings(),
    )
}

#[rstest]
#[case::from_the_plan(None, None, "1Gi")]
#[case::its_own(Some("5120Mi"), None, "5Gi")]
#[case::what_is_there_stays(None, Some("3Gi"), "3Gi")]
#[case::and_grows(Some("5Gi"), Some("3Gi"), "5Gi")]
fn a_volume_only_grows(#[case] own: Option<&str>, #[case] present: Option<&str>, #[case] size: &str) {
    let mut tenant = testing::tenant();
    tenant.spec.database = Some(TenantDatabase { storage: own.map(str::to_owned), storage_class: None });
    assert_eq!(checked(&tenant, present).unwrap().storage.to_string(), size);
}

#[test]
fn its_own_host_comes_first_and_all_have_one_form() {
    let mut tenant = testing::tenant();
    tenant.spec.hosts = vec![HostClaim { name: "CRM.Acme.Example".into(), tls_secret: None }];
    let hosts = checked(&tenant, None).unwrap().hosts;
    assert_eq!(
        hosts.iter().map(Host::as_str).collect::<Vec<_>>(),
        ["acme.crm.localhost", "crm.acme.example"]
    );
}

#[test]
fn what_the_schema_lets_pass_is_still_checked() {
    let mut tenant = testing::tenant();
    tenant.spec.hosts = vec![HostClaim { name: "a_b.example".into(), tls_secret: None }];
    assert!(checked(&tenant, None).unwrap_err().to_string().contains("a_b.example"));
    let mut plan = testing::plan();
    plan.spec.app.memory = "1e9".into();
    let error =
        validate(&testing::tenant(), &plan, &testing::release("r1", 1), None, None, &testing::settings())
            .unwrap_err();
    assert!(error.to_string().starts_with("the plan's app.memory"), "{error}");
}

#[test]
fn an_annotation_makes_another_link() {
    let mut tenant = testing::tenant();
    assert_eq!(checked(&tenant, None).unwrap().sign_in_secret, "first-sign-in");
    tenant.metadata = serde_json::from_value(
        json!({"name": "acme", "uid": "u", "annotations": {"tenantry.dev/reissue-sign-in": "2"}}),
    )
    .unwrap();
    assert!(checked(&tenant, None).unwrap().sign_in_secret.starts_with("first-sign-in-"));
}

#[test]
fn a_tenants_own_schedule_goes_before_the_plans() {
    let schedule = |own: Option<&str>| {
        let mut tenant = testing::tenant();
        tenant.spec.backup =
            Some(TenantBackups { schedule: own.map(str::to_owned), ..TenantBackups::default() });
        checked(&tenant, None).map(|valid| valid.backup.unwrap().schedule.as_str().to_owned())
    };
    assert!(schedule(None).unwrap().ends_with(" 2 * * *"), "{:?}", schedule(None));
    assert_eq!(schedule(Some("15 */6 * * *")).unwrap(), "15 */6 * * *");
    let refused = schedule(Some("99 2 * * *")).unwrap_err().to_string();
    assert!(refused.starts_with("spec.backup.schedule: schedule \"99 2 * * *\" cannot be used"), "{refused}");
}
