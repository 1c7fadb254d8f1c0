//! The Job that migrates the schema, grants rights, and registers the sign-in link.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{PodSpec, PodTemplateSpec},
};

use super::common::{
    APP_UID, container, labels, meta, pod_meta, pod_spec, read_mount, scratch_volume, secret_volume,
    write_mount,
};
use crate::{
    names::{Component, SIGN_IN_LABEL, child},
    tenant::{build::SIGN_IN_KEYS, course::Migration, validate::ValidTenant},
};

/// After this the Job is stopped from outside; the app gives up by itself half a minute earlier and can say why.
pub const DEADLINE_SECONDS: i64 = 600;
const OWN_DEADLINE: &str = "570s";
const RETRIES: i32 = 6;

pub(super) fn job(tenant: &ValidTenant, migration: &Migration, pull_secrets: &[String]) -> Job {
    let mut container = container("migrate", &migration.release.image, &tenant.app);
    let database = tenant.databases.name();
    container.args = Some(super::app::arguments(
        "migrate",
        &[
            ("--database-host", child::DATABASE),
            ("--database-port", "5432"),
            ("--database-name", &database),
            ("--database-user", "crm_owner"),
            ("--database-password-file", "/run/secrets/database/password"),
            ("--first-sign-in-dir", "/run/first-sign-in"),
            ("--deadline", OWN_DEADLINE),
            ("--report", "/dev/termination-log"),
        ],
    ));
    container.volume_mounts = Some(vec![
        read_mount("database-password", "/run/secrets/database"),
        read_mount("first-sign-in", "/run/first-sign-in"),
        write_mount("tmp", "/tmp"),
    ]);
    let sign_in_files = SIGN_IN_KEYS.map(|key| (key, key));
    let mut metadata = meta(tenant, Component::Migrate, &migration.job);
    metadata.labels.get_or_insert_default().extend(labels([(SIGN_IN_LABEL, tenant.sign_in_secret.as_str())]));
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(RETRIES),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(pod_meta(tenant, Component::Migrate)),
                spec: Some(PodSpec {
                    restart_policy: Some("Never".to_owned()),
                    containers: vec![container],
                    volumes: Some(vec![
                        secret_volume(
                            "database-password",
                            child::DATABASE_CREDENTIALS,
                            &[("owner-password", "password")],
                        ),
                        secret_volume("first-sign-in", &tenant.sign_in_secret, &sign_in_files),
                        scratch_volume("tmp"),
                    ]),
                    ..pod_spec(tenant, child::MIGRATE, APP_UID, pull_secrets)
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}
