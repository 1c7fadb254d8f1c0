//! Drills: the newest backup is restored into a PostgreSQL that lives as long as the pod, and looked at.
//!
//! Nothing of a drill can touch the tenant's database: no policy lets its pod there, it has none of the passwords, and the
//! PostgreSQL beside it listens on a socket only.

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::{Container, EmptyDirVolumeSource, PodSpec, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::{
    backup::{IDENTITY, OWN_DEADLINE, door, one_off, scheduled, token_volume},
    common::{
        APP_UID, POSTGRES_UID, container, pod_meta, pod_spec, read_mount, scratch_volume, secret_volume,
        write_mount,
    },
};
use crate::{
    args::RunArgs,
    names::{Component, child},
    tenant::validate::{ValidBackup, ValidRelease, ValidTenant},
};

const SOCKETS: &str = "/run/postgresql";
/// Its data is worth nothing when the pod is gone, so nothing is forced to disk.
const SERVER: &str = include_str!("drill/server.sh");

pub(super) fn cron_job(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
) -> CronJob {
    let template = template(tenant, backup, release, settings, "newest");
    scheduled(tenant, Component::Drill, child::DRILL, &backup.drill, template)
}

/// A Job that tries one backup.
pub(super) fn one_off_drill(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    job_name: &str,
    which: &str,
) -> Job {
    let template = template(tenant, backup, release, settings, which);
    one_off(tenant, Component::Drill, job_name, template)
}

fn template(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    which: &str,
) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(pod_meta(tenant, Component::Drill)),
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            init_containers: Some(vec![server(tenant, settings)]),
            containers: vec![drill(tenant, backup, release, settings, which)],
            volumes: Some(vec![
                token_volume("store-token"),
                secret_volume("identity", child::BACKUP_IDENTITY, &[(IDENTITY, IDENTITY)]),
                scratch_volume("sockets"),
                data_volume(tenant),
                scratch_volume("tmp"),
                scratch_volume("postgres-tmp"),
            ]),
            ..pod_spec(tenant, child::STORE, APP_UID, &settings.image_pull_secrets)
        }),
    }
}

/// A container that starts before the drill and is stopped after it.
fn server(tenant: &ValidTenant, settings: &RunArgs) -> Container {
    let mut server = container("postgres", &settings.postgres_image, &tenant.database);
    if let Some(context) = &mut server.security_context {
        context.run_as_user = Some(POSTGRES_UID);
        context.run_as_group = Some(POSTGRES_UID);
    }
    Container {
        restart_policy: Some("Always".to_owned()),
        command: Some(["/bin/sh", "-c", SERVER].map(str::to_owned).into()),
        volume_mounts: Some(vec![
            write_mount("data", "/var/lib/postgresql"),
            write_mount("sockets", SOCKETS),
            write_mount("postgres-tmp", "/tmp"),
        ]),
        ..server
    }
}

fn drill(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    which: &str,
) -> Container {
    let door = door(settings);
    Container {
        args: Some(super::app::arguments(
            "drill",
            &[
                ("--door", &door),
                ("--token-file", "/run/secrets/store/token"),
                ("--store", &backup.store),
                ("--tenant", tenant.name.as_str()),
                ("--tenant-uid", &tenant.uid),
                ("--identity-file", "/run/secrets/backup/identity"),
                ("--backup", which),
                ("--scratch-socket", SOCKETS),
                ("--deadline", OWN_DEADLINE),
                ("--report", "/dev/termination-log"),
            ],
        )),
        volume_mounts: Some(vec![
            read_mount("store-token", "/run/secrets/store"),
            read_mount("identity", "/run/secrets/backup"),
            write_mount("sockets", SOCKETS),
            write_mount("tmp", "/tmp"),
        ]),
        ..container("drill", &release.image, &tenant.app)
    }
}

/// As large as the database may be: a drill that needs more is stopped, and nothing else on the node.
fn data_volume(tenant: &ValidTenant) -> Volume {
    Volume {
        name: "data".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(ApiQuantity(tenant.storage.to_string())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}
