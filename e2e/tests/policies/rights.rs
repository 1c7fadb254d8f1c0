//! What the operator's and the gateway's roles come to, asked of the API server's own authorizer.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use crate::lab::Lab;

const OPERATOR: &str = "system:serviceaccount:tenantry-system:tenantry-operator";
const GATEWAY: &str = "system:serviceaccount:tenantry-gateway:gateway";

/// Asks for each line `verb resource[.group][/subresource] [namespace [name]]` whether the user may.
async fn allowed(client: &Client, user: &str, questions: &[&str]) -> Result<Vec<(String, bool)>> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let mut answers = Vec::new();
    for question in questions {
        let mut words = question.split_whitespace().map(str::to_owned);
        let verb = words.next();
        let resource = words.next().context("no resource")?;
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
            None => (resource, None),
        };
        let (resource, group) = match resource.split_once('.') {
            Some((resource, group)) => (resource.to_owned(), Some(group.to_owned())),
            None => (resource, None),
        };
        let (namespace, name) = (words.next().filter(|word| word != "-"), words.next());
        let attributes = ResourceAttributes {
            verb,
            group,
            resource: Some(resource),
            subresource,
            namespace,
            name,
            ..Default::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = reviews
            .create(&PostParams::default(), &SubjectAccessReview { spec, ..Default::default() })
            .await?;
        answers.push(((*question).to_owned(), review.status.context("no answer")?.allowed));
    }
    Ok(answers)
}

async fn check(client: &Client, user: &str, yes: &[&str], no: &[&str]) -> Result<()> {
    let refused: Vec<_> =
        allowed(client, user, yes).await?.into_iter().filter(|(_, allowed)| !allowed).collect();
    assert!(refused.is_empty(), "{user} should be allowed to {refused:?}");
    let granted: Vec<_> =
        allowed(client, user, no).await?.into_iter().filter(|(_, allowed)| *allowed).collect();
    assert!(granted.is_empty(), "{user} should not be allowed to {granted:?}");
    Ok(())
}

#[tokio::test]
async fn the_roles_come_to_what_is_needed() -> Result<()> {
    let lab = Lab::start().await?;
    the_operator_writes_only_where_it_bound_its_role(&lab).await?;
    the_gateway_reads_its_routes_and_certificates_and_nothing_else(&lab).await
}

async fn the_operator_writes_only_where_it_bound_its_role(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("acme").await?;
    // The rights have arrived when the first use of them succeeds.
    lab.operator().may("-n tenant-acme create configmap x --dry-run=server").await?;
    let yes = [
        "watch tenants.tenantry.dev",
        "get tenants.tenantry.dev",
        "patch tenants.tenantry.dev/status",
        "patch tenantbackups.tenantry.dev/status",
        "patch tenantrestores.tenantry.dev/status",
        "patch tenantexports.tenantry.dev/status",
        "delete tenantbackups.tenantry.dev",
        "create tenantrestores.tenantry.dev",
        "create namespaces",
        "watch pods",
        "bind clusterroles.rbac.authorization.k8s.io - tenantry-tenant",
        "get secrets tenant-acme database-credentials",
        "create secrets tenant-acme",
        "patch deployments.apps tenant-acme",
        "patch pods tenant-acme",
        "delete persistentvolumeclaims tenant-acme",
        "patch configmaps tenantry-gateway routes",
        "create configmaps tenantry-gateway routes",
        "create events.events.k8s.io default",
        "get leases.coordination.k8s.io tenantry-system tenantry-operator",
        "update leases.coordination.k8s.io tenantry-system tenantry-operator",
        "create leases.coordination.k8s.io tenantry-system",
    ];
    let no = [
        "list secrets",
        "list secrets tenant-acme",
        "watch secrets tenant-acme",
        "list configmaps tenant-acme",
        "get secrets kube-system x",
        "get secrets tenantry-system x",
        "get secrets tenant-bluesky x",
        "patch configmaps tenantry-gateway other",
        "get secrets tenantry-gateway wildcard-tls",
        "create pods default",
        "create pods tenant-acme",
        "create deployments.apps tenantry-system",
        "create deployments.apps tenant-bluesky",
        "get nodes/proxy",
        "create pods/exec tenant-acme",
        "create pods/portforward tenant-acme",
        "create serviceaccounts/token kube-system",
        "create serviceaccounts/token tenant-acme",
        "bind clusterroles.rbac.authorization.k8s.io - cluster-admin",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "create clusterroles.rbac.authorization.k8s.io",
        "create clusterrolebindings.rbac.authorization.k8s.io",
        "create roles.rbac.authorization.k8s.io tenant-acme",
        "impersonate users",
        "create tenants.tenantry.dev",
        "delete tenants.tenantry.dev",
        "create tenantbackups.tenantry.dev",
        "delete tenantrestores.tenantry.dev",
        "create tenantexports.tenantry.dev",
        "delete tenantexports.tenantry.dev",
        "restore tenants.tenantry.dev - acme",
        "export tenants.tenantry.dev - acme",
        "patch tenantbackups.tenantry.dev",
        "delete customresourcedefinitions.apiextensions.k8s.io",
        "delete validatingadmissionpolicies.admissionregistration.k8s.io",
        "create events.events.k8s.io kube-system",
        "get leases.coordination.k8s.io tenantry-system other",
        "update leases.coordination.k8s.io tenantry-system other",
        "list leases.coordination.k8s.io tenantry-system",
        "delete leases.coordination.k8s.io tenantry-system tenantry-operator",
        "get leases.coordination.k8s.io kube-system kube-scheduler",
        "create leases.coordination.k8s.io kube-system",
        "list ingresses.networking.k8s.io",
        "create ingresses.networking.k8s.io tenant-acme",
        "delete ingresses.networking.k8s.io tenant-acme",
        "list httproutes.gateway.networking.k8s.io",
        "create httproutes.gateway.networking.k8s.io tenant-acme",
    ];
    check(&lab.client().await?, OPERATOR, &yes, &no).await
}

async fn the_gateway_reads_its_routes_and_certificates_and_nothing_else(lab: &Lab) -> Result<()> {
    let yes = ["watch configmaps tenantry-gateway routes", "watch secrets tenantry-gateway"];
    let no = [
        "get configmaps tenantry-gateway other",
        "list configmaps tenantry-gateway",
        "get configmaps tenantry-gateway routes",
        "get secrets tenantry-gateway x",
        "patch configmaps tenantry-gateway routes",
        "create secrets tenantry-gateway",
        "get secrets tenantry-system x",
        "list secrets",
        "list tenants.tenantry.dev",
        "list namespaces",
        "list services",
    ];
    check(&lab.client().await?, GATEWAY, &yes, &no).await
}
