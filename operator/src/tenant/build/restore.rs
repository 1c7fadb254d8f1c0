//! Restores: the Job that brings a backup into a database beside the present one, and the Job that drops the old one.

use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::Job,
        core::v1::{Container, PodSpec, PodTemplateSpec, Secret},
    },
};

use super::{
    backup::{IDENTITY, OWN_DEADLINE, door, of_request, one_off, token_volume},
    common::{
        APP_UID, container, meta, pod_meta, pod_spec, read_mount, scratch_volume, secret_volume, write_mount,
    },
};
use crate::{
    args::RunArgs,
    names::{self, Component, child},
    tenant::{
        bootstrap::Source,
        course::Course,
        databases::name_of,
        validate::{ValidBackup, ValidRelease, ValidTenant},
    },
};

/// The key that reads the backup with which a tenant begins.
pub fn restore_identity(tenant: &ValidTenant, identity: ByteString) -> Secret {
    Secret {
        metadata: meta(tenant, Component::Restore, child::RESTORE_IDENTITY),
        type_: Some("Opaque".to_owned()),
        data: Some([(IDENTITY.to_owned(), identity)].into()),
        ..Secret::default()
    }
}

/// The Job that restores what the tenant begins with, if it is to run now: into the database that is there and empty.
pub fn bootstrap(tenant: &ValidTenant, course: &Course, settings: &RunArgs) -> Option<Job> {
    let bootstrap = course.bootstrap.as_ref()?;
    let (job, backup) = (bootstrap.job()?, tenant.backup.as_ref()?);
    let task = Task {
        source: &bootstrap.source,
        identity: child::RESTORE_IDENTITY,
        backup: &bootstrap.backup,
        database: &tenant.databases.name(),
        request: &format!("Tenant/{}", tenant.uid),
    };
    Some(job_of(tenant, backup, &tenant.release, settings, job, &task))
}

/// What a restore is made of.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// Uid of the request.
    pub uid: &'a str,
    /// Which backup: a name, or `before:` and a moment.
    pub backup: &'a str,
    /// Number of the database that it goes into.
    pub generation: i64,
}

/// The Job that restores a backup. It is safe to run again: what it left half-made is dropped, and what it finished is found.
pub fn restore(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    restore: &Restore<'_>,
) -> Job {
    let source = Source { tenant: tenant.name.to_string(), uid: tenant.uid.clone() };
    let task = Task {
        source: &source,
        identity: child::BACKUP_IDENTITY,
        backup: restore.backup,
        database: &name_of(restore.generation),
        request: &format!("TenantRestore/{}", restore.uid),
    };
    let name = names::request_job(Component::Restore, restore.uid);
    let mut job = of_request(job_of(tenant, backup, release, settings, &name, &task), restore.uid);
    let labels = job.metadata.labels.get_or_insert_default();
    labels.insert(names::DATABASE_GENERATION.to_owned(), restore.generation.to_string());
    job
}

/// Which backup goes where.
struct Task<'a> {
    /// Whose backup.
    source: &'a Source,
    /// The Secret with the key that reads it.
    identity: &'a str,
    /// Which.
    backup: &'a str,
    /// Where it goes.
    database: &'a str,
    /// Who asked for it: a kind and a uid.
    request: &'a str,
}

fn job_of(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    name: &str,
    task: &Task<'_>,
) -> Job {
    let door = door(settings);
    let current = tenant.databases.name();
    // PostgreSQL cannot say how large its volume is, and a full one would stop the database that serves.
    let volume_size = tenant.storage.value().to_string();
    let flags = [
        ("--current", current.as_str()),
        ("--volume-size", volume_size.as_str()),
        ("--door", door.as_str()),
        ("--token-file", "/run/secrets/store/token"),
        ("--store", &backup.store),
        ("--tenant", &task.source.tenant),
        ("--tenant-uid", &task.source.uid),
        ("--identity-file", "/run/secrets/backup/identity"),
        ("--backup", task.backup),
        ("--request", task.request),
    ];
    let container = Container {
        args: Some(arguments("restore", task.database, &flags)),
        volume_mounts: Some(vec![
            read_mount("database-password", "/run/secrets/database"),
            read_mount("store-token", "/run/secrets/store"),
            read_mount("identity", "/run/secrets/backup"),
            write_mount("tmp", "/tmp"),
        ]),
        ..container("restore", &release.image, &tenant.app)
    };
    let volumes =
        vec![token_volume("store-token"), secret_volume("identity", task.identity, &[(IDENTITY, IDENTITY)])];
    let template = template(tenant, child::STORE, container, volumes, settings);
    one_off(tenant, Component::Restore, name, template)
}

/// The Job that drops the database of that number, which served once.
pub fn drop_database(
    tenant: &ValidTenant,
    release: &ValidRelease,
    settings: &RunArgs,
    generation: i64,
) -> Job {
    let (old, current) = (name_of(generation), tenant.databases.name());
    let container = Container {
        args: Some(arguments("drop-database", &old, &[("--current", &current)])),
        volume_mounts: Some(vec![
            read_mount("database-password", "/run/secrets/database"),
            write_mount("tmp", "/tmp"),
        ]),
        ..container("drop-database", &release.image, &tenant.app)
    };
    let template = template(tenant, child::MIGRATE, container, Vec::new(), settings);
    one_off(tenant, Component::Restore, &names::drop_job(&tenant.uid, generation), template)
}

/// A command on one database, as the role to which all of them belong.
fn arguments(command: &str, database: &str, more: &[(&str, &str)]) -> Vec<String> {
    let flags = [
        ("--database-host", child::DATABASE),
        ("--database-port", "5432"),
        ("--database-name", database),
        ("--database-user", "crm_owner"),
        ("--database-password-file", "/run/secrets/database/password"),
    ];
    let end = [("--deadline", OWN_DEADLINE), ("--report", "/dev/termination-log")];
    super::app::arguments(command, &[&flags, more, &end].concat())
}

fn template(
    tenant: &ValidTenant,
    service_account: &str,
    container: Container,
    volumes: Vec<k8s_openapi::api::core::v1::Volume>,
    settings: &RunArgs,
) -> PodTemplateSpec {
    let password =
        secret_volume("database-password", child::DATABASE_CREDENTIALS, &[("owner-password", "password")]);
    PodTemplateSpec {
        metadata: Some(pod_meta(tenant, Component::Restore)),
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            containers: vec![container],
            volumes: Some([vec![password, scratch_volume("tmp")], volumes].concat()),
            ..pod_spec(tenant, service_account, APP_UID, &settings.image_pull_secrets)
        }),
    }
}
