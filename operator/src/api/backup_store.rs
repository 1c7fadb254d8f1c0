//! `BackupStore`: where backups go.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// Where backups go: an S3-compatible bucket or a volume. Tenants reach it through the door alone.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "BackupStore",
    doc = "Where backups go: an S3-compatible bucket or a volume. Tenants reach it through the door alone.",
    status = "BackupStoreStatus",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Bucket","type":"string","jsonPath":".spec.s3.bucket"}"#,
    printcolumn = r#"{"name":"Claim","type":"string","jsonPath":".spec.volume.claim"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.s3) != has(self.volume)").message("set exactly one of spec.s3 (a bucket) and spec.volume (a claim)"),
    validation = Rule::new("!has(self.lock) || has(self.s3)").message("lock is for buckets with Object Lock: with spec.volume leave it out")
)]
pub struct BackupStoreSpec {
    /// A bucket of an S3-compatible object storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Store>,
    /// A volume of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStore>,
    /// Public keys of `age`, whose private keys are kept offline. Every backup is encrypted to them besides the tenant's own
    /// key, so that it can be read when the cluster with all its Secrets is lost.
    #[schemars(length(min = 1, max = 10), inner(length(max = 100)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(key, key.matches('^age1[02-9ac-hj-np-z]{58}$'))").message("recoveryRecipients are public keys as age-keygen prints them: age1 and 58 characters; never write the private key here")
    )]
    pub recovery_recipients: Vec<String>,
    /// Keeps the store from deleting or replacing an object for some time, whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<ObjectLock>,
}

/// A bucket of an S3-compatible object storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct S3Store {
    /// Name of the bucket. It must be there already.
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$')").message("s3.bucket is the name of a bucket: 3 to 63 lower-case letters, digits, '-' and '.'"))]
    pub bucket: String,
    /// Path in the bucket beneath which everything goes, for example `clusters/east`; without it, the bucket is the store's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$')").message("s3.prefix is a path such as clusters/east: no slash at its ends, no part that begins with a dot"))]
    pub prefix: Option<String>,
    /// Address of the object storage, for example `https://s3.example.com`; without it, that of AWS in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$')").message("s3.endpoint is a scheme, a host and perhaps a port, such as https://s3.example.com:9000: no bucket, no path"))]
    pub endpoint: Option<String>,
    /// Region of the bucket; without it, `us-east-1`, which most storages other than AWS take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("s3.region is a region such as eu-central-1"))]
    pub region: Option<String>,
    /// Name of the Secret with the keys `accessKeyId` and `secretAccessKey`, and `ca.crt` if the storage's certificate is
    /// from an authority of your own. It is in the namespace of the chart, whose value `store.credentialsSecrets` names it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("s3.credentialsSecret is the name of a Secret in the namespace of the chart"))]
    pub credentials_secret: String,
}

/// A volume of this cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStore {
    /// Name of the PersistentVolumeClaim in the namespace of the chart, whose value `store.claims` names it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("volume.claim is the name of a PersistentVolumeClaim in the namespace of the chart"))]
    pub claim: String,
}

/// Object Lock of a bucket in compliance mode.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectLock {
    /// For how many days nobody can delete a backup, not even the owner of the bucket.
    #[x_kube(validation = Rule::new("1 <= self && self <= 3650").message("lock.days is a number from 1 to 3650"))]
    pub days: i32,
}

/// What is true of the store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStoreStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: something was written and read back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
