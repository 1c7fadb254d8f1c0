//! The whole set of children, as it is sent.

mod routes;

use serde_json::Value;

use super::*;
use crate::{
    api::{Egress, State},
    cluster::cache::Snapshot,
    tenant::{course, entitlement},
    testing::{settings, valid_tenant},
};

fn children(tenant: &ValidTenant) -> Children {
    let course = course::decide(tenant, &Snapshot::default(), None, jiff::Timestamp::UNIX_EPOCH);
    let entitlement = entitlement::next(entitlement::content(tenant), []);
    build(tenant, &course, &entitlement, Some("age1public"), &settings()).unwrap()
}

fn values(children: Children) -> Vec<Value> {
    fn all<K: serde::Serialize>(children: Vec<K>) -> impl Iterator<Item = Value> {
        children.into_iter().map(|child| serde_json::to_value(child).unwrap())
    }
    let Children {
        namespace,
        role_binding,
        quota,
        limits,
        service_accounts,
        network_policies,
        mut database_init,
        entitlement,
        claim,
        services,
        budgets,
        database,
        migration,
        app,
        backup,
        drill,
        bootstrap,
        closing,
        upgrade,
    } = children;
    // The script has its own file; here it would only be in the way.
    for text in database_init.data.iter_mut().flat_map(|data| data.values_mut()) {
        *text = format!("{} lines", text.lines().count());
    }
    all(vec![namespace])
        .chain(all(vec![role_binding]))
        .chain(all(vec![quota]))
        .chain(all(vec![limits]))
        .chain(all(service_accounts))
        .chain(all(network_policies))
        .chain(all(vec![database_init, entitlement]))
        .chain(all(vec![claim]))
        .chain(all(services))
        .chain(all(budgets))
        .chain(all(vec![database]))
        .chain(all(migration.into_iter().collect()))
        .chain(all(app.into_iter().collect()))
        .chain(all(backup.into_iter().collect()))
        .chain(all(drill.into_iter().collect()))
        .chain(all(bootstrap.into_iter().collect()))
        .chain(all(closing.into_iter().collect()))
        .chain(all(upgrade.into_iter().collect()))
        .collect()
}

#[test]
fn the_whole_set_is_as_reviewed() {
    let mut tenant = valid_tenant();
    tenant.egress = Egress::Public;
    insta::assert_yaml_snapshot!(values(children(&tenant)));
}

#[test]
fn every_child_says_whose_it_is() {
    for child in values(children(&valid_tenant())) {
        let labels = &child["metadata"]["labels"];
        let name = (&child["kind"], &child["metadata"]["name"]);
        assert_eq!(labels["tenantry.dev/tenant"], "acme", "{name:?}");
        assert_eq!(labels["tenantry.dev/tenant-uid"], "uid-acme", "{name:?}");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "tenantry", "{name:?}");
        assert!(child["metadata"]["ownerReferences"].is_null(), "{name:?}: owned by label alone");
    }
}

#[test]
fn every_pod_is_restricted_and_sized() {
    let children = children(&valid_tenant());
    let templates = [
        serde_json::to_value(children.database).unwrap(),
        serde_json::to_value(children.migration).unwrap(),
        serde_json::to_value(children.app).unwrap(),
        serde_json::to_value(children.backup.unwrap().spec.unwrap().job_template).unwrap(),
        serde_json::to_value(children.drill.unwrap().spec.unwrap().job_template).unwrap(),
    ];
    for template in templates {
        let pod = &template["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert!(template["spec"]["template"]["metadata"]["labels"]["tenantry.dev/tenant-uid"].is_null());
        let containers =
            pod["initContainers"].as_array().into_iter().chain(pod["containers"].as_array()).flatten();
        for container in containers {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{}", container["name"]);
            assert_eq!(context["allowPrivilegeEscalation"], false, "{}", container["name"]);
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{}", container["name"]);
            assert!(container["env"].is_null(), "{}: secrets are files", container["name"]);
            assert_eq!(
                container["resources"]["limits"]["memory"],
                container["resources"]["requests"]["memory"]
            );
        }
    }
}

#[test]
fn a_suspended_tenant_has_no_pods_and_no_migration() {
    let mut tenant = valid_tenant();
    tenant.state = State::Suspended;
    let children = children(&tenant);
    assert_eq!(children.database.spec.and_then(|spec| spec.replicas), Some(0));
    assert_eq!(children.app.and_then(|app| app.spec).and_then(|spec| spec.replicas), Some(0));
    assert!(children.migration.is_none());
    assert_eq!(children.backup.and_then(|backup| backup.spec).and_then(|spec| spec.suspend), Some(true));
}

#[test]
fn without_backups_in_the_plan_there_is_nothing_of_them() {
    let mut tenant = valid_tenant();
    tenant.backup = None;
    let children = values(children(&tenant));
    let component = |child: &Value| child["metadata"]["labels"]["app.kubernetes.io/component"].clone();
    assert!(children.iter().all(|child| component(child) != "backup" && component(child) != "drill"));
}

/// Whatever is changed here restarts the pods of whole fleets, one by one: it is a revision of its own. What was made before must be
/// made in the same way for those whose turn has not come.
#[rstest::rstest]
#[case::one(1, "4f8417b7")]
#[case::two(2, "e1cf5f36")]
fn the_pod_templates_of_a_revision_stay_as_they_are(#[case] revision: u32, #[case] expected: &str) {
    let mut tenant = valid_tenant();
    tenant.pods.template = revision;
    let children = children(&tenant);
    let templates = serde_json::to_string(&(
        children.database.spec.map(|spec| spec.template),
        children.app.and_then(|app| app.spec).map(|spec| spec.template),
    ));
    let digest = crate::names::short_hash(&[&templates.unwrap()]);
    assert_eq!(digest, expected, "count TEMPLATE_REVISION up, and make the change for that revision alone");
}
