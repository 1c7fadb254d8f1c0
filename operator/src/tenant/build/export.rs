//! Exit bundles: the Job that makes one and gives it to the backup door.

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Container, PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    backup::{OWN_DEADLINE, door, of_request, one_off, recipients_volume, token_volume},
    common::{
        APP_UID, config_volume, container, pod_meta, pod_spec, read_mount, scratch_volume, secret_volume,
        write_mount,
    },
};
use crate::{
    args::RunArgs,
    names::{self, Component, child},
    tenant::{
        entitlement,
        validate::{ValidBackup, ValidRelease, ValidTenant},
    },
};

/// The Job of the request with that uid. What it makes, the recipients can read, and nobody else.
pub fn export(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    uid: &str,
    recipients: &[String],
) -> Job {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some([(names::BACKUP_RECIPIENTS.to_owned(), recipients.join("\n"))].into()),
            ..pod_meta(tenant, Component::Export)
        }),
        spec: Some(pod(tenant, backup, release, settings)),
    };
    let name = names::request_job(Component::Export, uid);
    of_request(one_off(tenant, Component::Export, &name, template), uid)
}

fn pod(tenant: &ValidTenant, backup: &ValidBackup, release: &ValidRelease, settings: &RunArgs) -> PodSpec {
    let (door, database) = (door(settings), tenant.databases.name());
    let entitlement = format!("/run/entitlement/{}", entitlement::FILE);
    let flags = [
        ("--database-host", child::DATABASE),
        ("--database-port", "5432"),
        ("--database-name", &database),
        ("--database-user", "crm_backup"),
        ("--database-password-file", "/run/secrets/database/password"),
        ("--tenant", tenant.name.as_str()),
        ("--tenant-uid", &tenant.uid),
        ("--image", &release.image),
        ("--entitlement-config", &entitlement),
        ("--door", &door),
        ("--token-file", "/run/secrets/store/token"),
        ("--store", &backup.store),
        ("--recipients-file", "/run/backup/recipients"),
        ("--deadline", OWN_DEADLINE),
        ("--report", "/dev/termination-log"),
    ];
    let container = Container {
        args: Some(super::app::arguments("export", &flags)),
        volume_mounts: Some(vec![
            read_mount("database-password", "/run/secrets/database"),
            read_mount("store-token", "/run/secrets/store"),
            read_mount("recipients", "/run/backup"),
            read_mount("entitlement", "/run/entitlement"),
            write_mount("tmp", "/tmp"),
        ]),
        ..container("export", &release.image, &tenant.app)
    };
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        containers: vec![container],
        volumes: Some(vec![
            secret_volume(
                "database-password",
                child::DATABASE_CREDENTIALS,
                &[("backup-password", "password")],
            ),
            token_volume("store-token"),
            recipients_volume("recipients"),
            config_volume("entitlement", child::ENTITLEMENT),
            scratch_volume("tmp"),
        ]),
        ..pod_spec(tenant, child::STORE, APP_UID, &settings.image_pull_secrets)
    }
}
