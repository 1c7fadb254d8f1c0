//! PostgreSQL: its volume, its init script, and the StatefulSet of one.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{
            ConfigMap, Container, ExecAction, Lifecycle, LifecycleHandler, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe,
            TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::{
    app::container_port,
    common::{
        POSTGRES_PORT, POSTGRES_UID, config_volume, container, meta, pod_meta, pod_spec, port, read_mount,
        scratch_volume, secret_volume, selector, write_mount,
    },
};
use crate::{
    api::State,
    names::{Component, child},
    tenant::{closing::Closing, course::Course, validate::ValidTenant},
};

const VOLUME: &str = "/var/lib/postgresql/data";
const DATA: &str = "/var/lib/postgresql/data/pgdata";
const INIT: &str = "/etc/database-init";
const SECRETS: &str = "/run/secrets/database";
const SOCKETS: &str = "/var/run/postgresql";

const WAIT_FOR_RECOVERY: &str = "until pg_isready -q -h /var/run/postgresql -U postgres; do sleep 0.05; done";

const MIB: i64 = 1024 * 1024;

pub(super) fn claim(tenant: &ValidTenant) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: meta(tenant, Component::Database, child::DATABASE),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: tenant.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), ApiQuantity(tenant.storage.to_string()))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

pub(super) fn init(tenant: &ValidTenant) -> ConfigMap {
    let files = [
        ("init.sh", include_str!("database/init.sh")),
        ("pg_hba.conf", include_str!("database/pg_hba.conf")),
    ];
    ConfigMap {
        metadata: meta(tenant, Component::Database, child::DATABASE_INIT),
        data: Some(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into()),
        ..ConfigMap::default()
    }
}

pub(super) fn stateful_set(
    tenant: &ValidTenant,
    course: &Course,
    image: &str,
    pull_secrets: &[String],
) -> StatefulSet {
    // The last backup comes before the stop, and a customer who leaves may have to be given the data after it.
    let runs = tenant.state != State::Suspended
        || tenant.is_exporting
        || course.closing.as_ref().is_some_and(Closing::needs_database);
    StatefulSet {
        metadata: meta(tenant, Component::Database, child::DATABASE),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(runs)),
            service_name: Some(child::DATABASE_PODS.to_owned()),
            // A pod that never becomes ready must not hold up the spec that would heal it.
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(2),
            selector: selector(Component::Database),
            template: PodTemplateSpec {
                metadata: Some(pod_meta(tenant, Component::Database)),
                spec: Some(PodSpec {
                    init_containers: Some(vec![init_container(tenant, image)]),
                    containers: vec![server(tenant, image)],
                    volumes: Some(volumes()),
                    // A fast shutdown writes everything out; on a slow disk this takes its time.
                    termination_grace_period_seconds: Some(120),
                    ..pod_spec(tenant, child::DATABASE, POSTGRES_UID, pull_secrets)
                }),
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn init_container(tenant: &ValidTenant, image: &str) -> Container {
    Container {
        command: Some(words(&["/bin/sh", "/etc/database-init/init.sh", VOLUME, SECRETS])),
        volume_mounts: Some(mounts([read_mount("verifiers", SECRETS)])),
        ..container("init", image, &tenant.database)
    }
}

fn server(tenant: &ValidTenant, image: &str) -> Container {
    let mut command = words(&["postgres", "-D", DATA]);
    for (name, value) in parameters(tenant) {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    Container {
        command: Some(command),
        ports: Some(vec![container_port("postgres", POSTGRES_PORT)]),
        // Only at the start: it asks whether recovery is over. Afterwards a connect says enough and costs no process.
        // It waits for a yes, because the kubelet would ask again only after a second.
        startup_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(words(&["/bin/sh", "-c", WAIT_FOR_RECOVERY])) }),
            period_seconds: Some(1),
            timeout_seconds: Some(3),
            failure_threshold: Some(3600),
            ..Probe::default()
        }),
        readiness_probe: Some(tcp_probe(1, 3)),
        liveness_probe: Some(tcp_probe(10, 6)),
        // On SIGTERM PostgreSQL would wait for its clients to leave.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction { command: Some(words(&["/bin/sh", "-c", "kill -INT 1"])) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(mounts([write_mount("sockets", SOCKETS)])),
        ..container("postgres", image, &tenant.database)
    }
}

/// Settings that follow from the size of the pod, and those that keep what customers write out of the log.
fn parameters(tenant: &ValidTenant) -> Vec<(&'static str, String)> {
    let memory = tenant.database.memory.value() / MIB;
    let storage = tenant.storage.value() / MIB;
    let megabytes = |amount: i64| format!("{amount}MB");
    let words = [
        ("listen_addresses", "*"),
        ("unix_socket_directories", SOCKETS),
        ("hba_file", "/etc/database-init/pg_hba.conf"),
        ("password_encryption", "scram-sha-256"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("max_connections", "60"),
        ("huge_pages", "off"),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("max_parallel_maintenance_workers", "0"),
        ("autovacuum_max_workers", "2"),
        ("tcp_keepalives_idle", "60"),
        // No values and no statements in the log: they are the customer's.
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_parameter_max_length_on_error", "0"),
    ];
    let sizes = [
        ("shared_buffers", memory / 4),
        ("effective_cache_size", memory / 2),
        ("work_mem", (memory / 128).clamp(1, 64)),
        ("maintenance_work_mem", (memory / 16).clamp(8, 512)),
        ("min_wal_size", 32),
        ("max_wal_size", (storage / 8).clamp(64, 1024)),
    ];
    let words = words.into_iter().map(|(name, value)| (name, value.to_owned()));
    words.chain(sizes.into_iter().map(|(name, amount)| (name, megabytes(amount)))).collect()
}

fn volumes() -> Vec<Volume> {
    let data = Volume {
        name: "data".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: child::DATABASE.to_owned(),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    };
    let verifiers = ["owner-verifier", "app-verifier", "backup-verifier"].map(|key| (key, key));
    vec![
        data,
        config_volume("init", child::DATABASE_INIT),
        secret_volume("verifiers", child::DATABASE_CREDENTIALS, &verifiers),
        scratch_volume("sockets"),
        scratch_volume("tmp"),
    ]
}

fn mounts<const N: usize>(more: [VolumeMount; N]) -> Vec<VolumeMount> {
    let common = [write_mount("data", VOLUME), read_mount("init", INIT), write_mount("tmp", "/tmp")];
    common.into_iter().chain(more).collect()
}

fn tcp_probe(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: port(POSTGRES_PORT), host: None }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}
