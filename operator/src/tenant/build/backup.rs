//! Backups: the key that they are encrypted to, the CronJob that makes them, and the Job that makes one.

use bech32::{Bech32, ByteIterExt as _, Fe32IterExt as _, Hrp};
use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec},
        core::v1::{
            DownwardAPIVolumeFile, DownwardAPIVolumeSource, ObjectFieldSelector, PodSpec, PodTemplateSpec,
            ProjectedVolumeSource, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::common::{
    APP_UID, child_labels, container, meta, pod_meta, pod_spec, read_mount, scratch_volume, secret_volume,
    write_mount,
};
use crate::{
    api::State,
    args::RunArgs,
    names::{self, Component, child},
    schedule::Schedule,
    tenant::validate::{ValidBackup, ValidRelease, ValidTenant},
};

/// Keys that Secret `backup-identity` must have.
pub const IDENTITY_KEYS: [&str; 2] = [IDENTITY, RECIPIENT];
/// The secret half, with which backups are read.
pub const IDENTITY: &str = "identity";
/// The public half, to which backups are encrypted.
pub const RECIPIENT: &str = "recipient";
/// After this a backup is stopped from outside; the app gives up by itself half a minute earlier and can say why.
const DEADLINE_SECONDS: i64 = 3600;
pub(super) const OWN_DEADLINE: &str = "3570s";
/// A run that could not begin in time, because nothing in the cluster moved, is made up for so long.
const START_WITHIN_SECONDS: i64 = 4 * 3600;
const RETRIES: i32 = 2;
/// The log of a request that failed can be read for so long.
const KEPT_SECONDS: i32 = 24 * 3600;
/// The kubelet renews the token long before that.
const TOKEN_SECONDS: i64 = 3600;

/// The key pair of a tenant's backups, as `age-keygen` makes it: X25519, in Bech32 (<https://age-encryption.org/v1>). The
/// stock `age` program reads it.
pub fn backup_identity(tenant: &ValidTenant, random: [u8; 32]) -> Secret {
    let public = x25519_dalek::x25519(random, x25519_dalek::X25519_BASEPOINT_BYTES);
    let identity = bech32("age-secret-key-", random).to_uppercase();
    let data = [(IDENTITY, identity), (RECIPIENT, bech32("age", public))];
    Secret {
        metadata: meta(tenant, Component::Backup, child::BACKUP_IDENTITY),
        type_: Some("Opaque".to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).into()),
        ..Secret::default()
    }
}

fn bech32(prefix: &'static str, bytes: [u8; 32]) -> String {
    bytes.into_iter().bytes_to_fes().with_checksum::<Bech32>(&Hrp::parse_unchecked(prefix)).chars().collect()
}

/// The CronJob; `None` without a store.
pub(super) fn cron_job(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    recipient: &str,
    release: &ValidRelease,
    settings: &RunArgs,
) -> Option<CronJob> {
    let template = template(tenant, backup, recipient, release, settings, BackupReason::Scheduled)?;
    Some(scheduled(tenant, Component::Backup, child::BACKUP, &backup.schedule, template))
}

/// A Job that makes one backup; `None` without a store.
pub fn one_off_backup(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    recipient: &str,
    release: &ValidRelease,
    settings: &RunArgs,
    job_name: &str,
    reason: BackupReason,
) -> Option<Job> {
    let template = template(tenant, backup, recipient, release, settings, reason)?;
    Some(one_off(tenant, Component::Backup, job_name, template))
}

/// Why a backup is made; the word stands in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupReason {
    /// Its time had come.
    Scheduled,
    /// Somebody asked for it.
    OnDemand,
    /// The tenant is about to be deleted or suspended.
    Final,
    /// A restore comes next.
    Safety,
    /// An upgrade comes next.
    BeforeUpgrade,
}

impl BackupReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::OnDemand => "OnDemand",
            Self::Final => "Final",
            Self::Safety => "Safety",
            Self::BeforeUpgrade => "BeforeUpgrade",
        }
    }
}

fn template(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    recipient: &str,
    release: &ValidRelease,
    settings: &RunArgs,
    reason: BackupReason,
) -> Option<PodTemplateSpec> {
    let recipients = [&[recipient.to_owned()], backup.recovery.as_deref()?].concat().join("\n");
    Some(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some([(names::BACKUP_RECIPIENTS.to_owned(), recipients)].into()),
            ..pod_meta(tenant, Component::Backup)
        }),
        spec: Some(pod(tenant, backup, release, settings, reason)),
    })
}

/// A CronJob of one of the tenant's pods. `name` is also that of its component.
pub(super) fn scheduled(
    tenant: &ValidTenant,
    component: Component,
    name: &str,
    schedule: &Schedule,
    template: PodTemplateSpec,
) -> CronJob {
    CronJob {
        metadata: meta(tenant, component, name),
        spec: Some(CronJobSpec {
            schedule: schedule.as_str().to_owned(),
            time_zone: Some(tenant.time_zone.clone()),
            // Two at once would only make each other slow.
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(START_WITHIN_SECONDS),
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(1),
            // Of a suspended tenant nothing runs, and a restore has the database and the door to itself.
            suspend: Some(tenant.state == State::Suspended || tenant.is_restoring),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(child_labels(tenant.name.as_str(), &tenant.uid, component)),
                    ..ObjectMeta::default()
                }),
                spec: Some(job_spec(template)),
            },
        }),
        status: None,
    }
}

/// The Job as the work of the request with that uid. What is left of it, Kubernetes removes after a day.
pub fn of_request(mut job: Job, uid: &str) -> Job {
    job.metadata.labels.get_or_insert_default().insert(names::REQUEST_LABEL.to_owned(), uid.to_owned());
    if let Some(spec) = &mut job.spec {
        spec.ttl_seconds_after_finished = Some(KEPT_SECONDS);
    }
    job
}

/// A Job of one of the tenant's pods that runs once.
pub(super) fn one_off(
    tenant: &ValidTenant,
    component: Component,
    name: &str,
    template: PodTemplateSpec,
) -> Job {
    Job { metadata: meta(tenant, component, name), spec: Some(job_spec(template)), status: None }
}

fn job_spec(template: PodTemplateSpec) -> JobSpec {
    JobSpec {
        backoff_limit: Some(RETRIES),
        active_deadline_seconds: Some(DEADLINE_SECONDS),
        template,
        ..JobSpec::default()
    }
}

fn pod(
    tenant: &ValidTenant,
    backup: &ValidBackup,
    release: &ValidRelease,
    settings: &RunArgs,
    reason: BackupReason,
) -> PodSpec {
    let mut container = container("backup", &release.image, &tenant.app);
    let (door, database) = (door(settings), tenant.databases.name());
    container.args = Some(super::app::arguments(
        "backup",
        &[
            ("--database-host", child::DATABASE),
            ("--database-port", "5432"),
            ("--database-name", &database),
            ("--database-user", "crm_backup"),
            ("--database-password-file", "/run/secrets/database/password"),
            ("--door", &door),
            ("--token-file", "/run/secrets/store/token"),
            ("--store", &backup.store),
            ("--tenant", tenant.name.as_str()),
            ("--tenant-uid", &tenant.uid),
            ("--recipients-file", "/run/backup/recipients"),
            ("--reason", reason.as_str()),
            ("--deadline", OWN_DEADLINE),
            ("--report", "/dev/termination-log"),
        ],
    ));
    container.volume_mounts = Some(vec![
        read_mount("database-password", "/run/secrets/database"),
        read_mount("store-token", "/run/secrets/store"),
        read_mount("recipients", "/run/backup"),
        write_mount("tmp", "/tmp"),
    ]);
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
            scratch_volume("tmp"),
        ]),
        ..pod_spec(tenant, child::STORE, APP_UID, &settings.image_pull_secrets)
    }
}

/// Address of the backup door.
pub(super) fn door(settings: &RunArgs) -> String {
    format!("http://{}.{}.svc.cluster.local", names::STORE, settings.namespace)
}

/// A token that only the backup door takes, and that ends with the pod.
pub(super) fn token_volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(names::STORE.to_owned()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: "token".to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The public keys to which backups are encrypted, from the pod's annotation: the Job comes nowhere near a private one.
pub(super) fn recipients_volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "recipients".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: format!("metadata.annotations['{}']", names::BACKUP_RECIPIENTS),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// So that a backup that somebody asks for differs in nothing from those that the drills prove.
    #[test]
    fn a_single_backup_is_made_like_a_scheduled_one() {
        let tenant = testing::valid_tenant();
        let backup = tenant.backup.clone().unwrap();
        let (release, settings) = (tenant.release.clone(), testing::settings());
        let one_off = |backup: &ValidBackup| {
            let reason = BackupReason::OnDemand;
            one_off_backup(&tenant, backup, "age1public", &release, &settings, "backup-1", reason)
        };
        let job = one_off(&backup).unwrap();
        assert_eq!(job.metadata.name.as_deref(), Some("backup-1"));
        let cron_job = cron_job(&tenant, &backup, "age1public", &release, &settings).unwrap();
        let scheduled = cron_job.spec.unwrap().job_template;
        assert_eq!(job.metadata.labels, scheduled.metadata.unwrap().labels);
        let text = |spec: Option<JobSpec>| serde_json::to_string(&spec).unwrap();
        assert_eq!(text(job.spec), text(scheduled.spec).replace("--reason=Scheduled", "--reason=OnDemand"));
        assert!(one_off(&ValidBackup { recovery: None, ..backup }).is_none(), "there is no store");
    }

    /// Secret key and public key of Alice in RFC 7748, 6.1, in the form that age gives them.
    #[test]
    fn the_key_pair_is_one_that_age_reads() {
        let secret: [u8; 32] =
            hex::decode("77076d0a7318a57d3c16c17251b26645df4c2f92ebc099ae6f6c2b2b8e6a1a2b")
                .map(|bytes| bytes.try_into().unwrap())
                .unwrap();
        let made = backup_identity(&testing::valid_tenant(), secret);
        let text = |key: &str| String::from_utf8(made.data.as_ref().unwrap()[key].0.clone()).unwrap();
        let identity: age::x25519::Identity = text(IDENTITY).parse().unwrap();
        assert_eq!(identity.to_public().to_string(), text(RECIPIENT));
        assert!(text(IDENTITY).starts_with("AGE-SECRET-KEY-1"));
    }
}
