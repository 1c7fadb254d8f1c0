//! The CRM: its Deployment, and the ConfigMap with state and limits.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMap, ConfigMapProjection, ContainerPort, DownwardAPIProjection, DownwardAPIVolumeFile,
            HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe,
            ProjectedVolumeSource, SleepAction, Volume, VolumeProjection,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::common::{
    APP_UID, CRM_PORT, MANAGEMENT_PORT, container, items, meta, pod_meta, pod_spec, port, read_mount,
    scratch_volume, secret_volume, selector, write_mount,
};
use crate::{
    api::State,
    names::{self, Component, ENTITLEMENT_ANNOTATION, child},
    tenant::{
        entitlement::{self, Entitlement},
        validate::{ValidRelease, ValidTenant},
    },
};

/// Requests still come for a moment after a pod was told to go: until every proxy has heard of it.
const GOODBYE_SECONDS: i64 = 3;

pub(super) fn deployment(
    tenant: &ValidTenant,
    release: &ValidRelease,
    pull_secrets: &[String],
) -> Deployment {
    let generation = tenant.databases.current;
    let of_generation = (1 < generation).then(|| (names::DATABASE_GENERATION, generation.to_string()));
    let annotations = [(names::RELEASE, release.name.clone())].into_iter().chain(of_generation);
    let is_stopped = tenant.state == State::Suspended || tenant.is_restoring;
    Deployment {
        metadata: ObjectMeta {
            // Second witnesses: of the database, should the record on the namespace get lost; and of the release, because that record
            // is written before this.
            annotations: Some(annotations.map(|(name, value)| (name.to_owned(), value)).collect()),
            ..meta(tenant, Component::Crm, child::CRM)
        },
        spec: Some(DeploymentSpec {
            replicas: Some(if is_stopped { 0 } else { tenant.replicas }),
            revision_history_limit: Some(2),
            selector: selector(Component::Crm),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(pod_meta(tenant, Component::Crm)),
                spec: Some(pod(tenant, release, pull_secrets)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(tenant: &ValidTenant, release: &ValidRelease, pull_secrets: &[String]) -> PodSpec {
    let mut container = container("crm", &release.image, &tenant.app);
    let database = tenant.databases.name();
    container.args = Some(arguments(
        "serve",
        &[
            ("--listen", "0.0.0.0:8080"),
            ("--management-listen", "0.0.0.0:9090"),
            ("--public-url", &tenant.url),
            ("--database-host", child::DATABASE),
            ("--database-port", "5432"),
            ("--database-name", &database),
            ("--database-user", "crm_app"),
            ("--database-password-file", "/run/secrets/database/password"),
            ("--entitlement-config", "/run/entitlement/config.json"),
            ("--entitlement-annotation", "/run/entitlement/annotation.json"),
            // For exit bundles. Without the uid: a Tenant that comes back from Git has another, and restarts nothing.
            ("--tenant", tenant.name.as_str()),
            ("--image", &release.image),
        ],
    ));
    container.ports =
        Some(vec![container_port("http", CRM_PORT), container_port("management", MANAGEMENT_PORT)]);
    container.startup_probe = Some(Probe { failure_threshold: Some(120), ..probe("/livez", 1) });
    container.readiness_probe = Some(Probe { failure_threshold: Some(3), ..probe("/readyz", 1) });
    container.liveness_probe = Some(Probe { failure_threshold: Some(6), ..probe("/livez", 10) });
    // Since then the CRM answers by itself for as long as proxies may not have heard that the pod goes.
    container.lifecycle = (tenant.pods.template < 2).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: GOODBYE_SECONDS }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    });
    container.volume_mounts = Some(vec![
        read_mount("database-password", "/run/secrets/database"),
        read_mount("entitlement", "/run/entitlement"),
        write_mount("tmp", "/tmp"),
    ]);
    PodSpec {
        containers: vec![container],
        volumes: Some(vec![
            secret_volume("database-password", child::DATABASE_CREDENTIALS, &[("app-password", "password")]),
            entitlement_volume(),
            scratch_volume("tmp"),
        ]),
        ..pod_spec(tenant, child::CRM, APP_UID, pull_secrets)
    }
}

/// The file for pods that are born, and the annotation for those that live. One volume: the kubelet writes both when the
/// annotation changes, which takes a moment, while a change of the ConfigMap alone takes a minute.
fn entitlement_volume() -> Volume {
    let file = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: child::ENTITLEMENT.to_owned(),
            items: Some(items(&[(entitlement::FILE, entitlement::FILE)])),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let annotation = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "annotation.json".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: format!("metadata.annotations['{ENTITLEMENT_ANNOTATION}']"),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: "entitlement".to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![file, annotation]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: port(MANAGEMENT_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

pub(super) fn container_port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// A subcommand and its flags.
pub(super) fn arguments(command: &str, flags: &[(&str, &str)]) -> Vec<String> {
    let flags = flags.iter().map(|(flag, value)| format!("{flag}={value}"));
    std::iter::once(command.to_owned()).chain(flags).collect()
}

pub(super) fn entitlement(
    tenant: &ValidTenant,
    entitlement: &Entitlement,
) -> Result<ConfigMap, serde_json::Error> {
    Ok(ConfigMap {
        metadata: meta(tenant, Component::Crm, child::ENTITLEMENT),
        data: Some([(entitlement::FILE.to_owned(), entitlement.to_json()?)].into()),
        ..ConfigMap::default()
    })
}
