//! What all children share: metadata, labels, security contexts, volumes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, KeyToPath,
        LocalObjectReference, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
        SecretVolumeSource, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity as ApiQuantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::{
    args::RoutingArgs,
    names::{COMPONENT_LABEL, Component, TENANT_LABEL, TENANT_UID_LABEL},
    tenant::validate::{Compute, ValidTenant},
};

/// Uid of our own images' processes.
pub const APP_UID: i64 = 65532;
/// Uid of PostgreSQL in its image.
pub const POSTGRES_UID: i64 = 999;
/// Port of PostgreSQL.
pub const POSTGRES_PORT: i32 = 5432;
/// Port on which the CRM serves people.
pub const CRM_PORT: i32 = 8080;
/// Port of the CRM's front Service.
pub const CRM_SERVICE_PORT: i32 = 80;
/// Port of the CRM's probes and metrics.
pub const MANAGEMENT_PORT: i32 = 9090;
/// Files of Secrets: readable for owner and group, and the group is the pod's.
const SECRET_MODE: i32 = 0o440;

/// Labels by which pods are selected. They never change, because selectors cannot.
pub fn selector_labels(component: Component) -> BTreeMap<String, String> {
    labels([("app.kubernetes.io/name", "crm"), (COMPONENT_LABEL, component.as_str())])
}

/// Labels of pods: without the Tenant's uid, so that adopting a namespace restarts nothing.
pub fn pod_labels(tenant: &str, component: Component) -> BTreeMap<String, String> {
    let mut all = selector_labels(component);
    all.extend(labels([(TENANT_LABEL, tenant), ("app.kubernetes.io/managed-by", "tenantry")]));
    all
}

/// Labels of children of the tenant of that name and uid.
pub fn child_labels(tenant: &str, uid: &str, component: Component) -> BTreeMap<String, String> {
    let mut all = pod_labels(tenant, component);
    all.extend(labels([(TENANT_UID_LABEL, uid)]));
    all
}

/// Metadata of a child in the tenant's namespace.
pub fn meta(tenant: &ValidTenant, component: Component, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(tenant.namespace.clone()),
        labels: Some(child_labels(tenant.name.as_str(), &tenant.uid, component)),
        ..ObjectMeta::default()
    }
}

/// Metadata of a route, with the annotations that the settings ask for.
pub fn route_meta(tenant: &ValidTenant, name: &str, routing: &RoutingArgs) -> ObjectMeta {
    let annotations: BTreeMap<_, _> = routing.annotations.iter().cloned().collect();
    ObjectMeta {
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..meta(tenant, Component::Crm, name)
    }
}

/// Metadata of a pod template.
pub fn pod_meta(tenant: &ValidTenant, component: Component) -> ObjectMeta {
    ObjectMeta { labels: Some(pod_labels(tenant.name.as_str(), component)), ..ObjectMeta::default() }
}

/// Selects the pods of one component.
pub fn selector(component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(component)), ..LabelSelector::default() }
}

/// A map of words.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What every pod of a tenant has in common.
pub fn pod_spec(tenant: &ValidTenant, service_account: &str, uid: i64, pull_secrets: &[String]) -> PodSpec {
    let scheduling = &tenant.scheduling;
    let pull = pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    PodSpec {
        service_account_name: Some(service_account.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(uid),
            run_as_group: Some(uid),
            fs_group: Some(uid),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: (!pull_secrets.is_empty()).then(|| pull.collect()),
        node_selector: (!scheduling.node_selector.is_empty()).then(|| scheduling.node_selector.clone()),
        tolerations: (!scheduling.tolerations.is_empty()).then(|| scheduling.tolerations.clone()),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// What every container of a tenant has in common.
pub fn container(name: &str, image: &str, compute: &Compute) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(resources(compute)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Processor time is requested and may be exceeded; memory is both request and limit.
fn resources(compute: &Compute) -> ResourceRequirements {
    let memory = ("memory".to_owned(), ApiQuantity(compute.memory.to_string()));
    let cpu = ("cpu".to_owned(), ApiQuantity(compute.cpu.to_string()));
    ResourceRequirements {
        requests: Some([cpu, memory.clone()].into()),
        limits: Some([memory].into()),
        ..ResourceRequirements::default()
    }
}

/// A directory that lives as long as the pod.
pub fn scratch_volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

/// Some keys of a Secret as files: pairs of key and file name.
pub fn secret_volume(name: &str, secret: &str, files: &[(&str, &str)]) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(SECRET_MODE),
            items: Some(items(files)),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A ConfigMap as files.
pub fn config_volume(name: &str, config_map: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Pairs of key and file name.
pub fn items(files: &[(&str, &str)]) -> Vec<KeyToPath> {
    files
        .iter()
        .map(|(key, path)| KeyToPath { key: (*key).to_owned(), path: (*path).to_owned(), mode: None })
        .collect()
}

/// A volume at a path, to read.
pub fn read_mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..write_mount(name, path) }
}

/// A volume at a path, to read and write.
pub fn write_mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// A port by number.
pub fn port(number: i32) -> IntOrString {
    IntOrString::Int(number)
}
