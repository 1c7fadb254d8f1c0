//! `TenantExport`: somebody asks for an exit bundle of a tenant.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// How long a bundle stays in the store.
pub const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// An exit bundle of a tenant: everything that the customer needs to run on its own, encrypted to the customer's keys. It is kept
/// in the tenant's store for 14 days.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantExport",
    doc = "An exit bundle of a tenant: everything that the customer needs to run on its own, encrypted to the customer's keys. It is kept in the tenant's store for 14 days.",
    status = "TenantExportStatus",
    shortname = "tnx",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Tenant","type":"string","jsonPath":".spec.tenant"}"#,
    printcolumn = r#"{"name":"Complete","type":"string","jsonPath":".status.conditions[?(@.type==\"Complete\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Complete\")].reason"}"#,
    printcolumn = r#"{"name":"Size","type":"integer","jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".status.keptUntil"}"#,
    printcolumn = r#"{"name":"Path","type":"string","priority":1,"jsonPath":".status.path"}"#,
    printcolumn = r#"{"name":"Why","type":"string","priority":1,"jsonPath":".spec.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a TenantExport never changes: make another one")
)]
pub struct TenantExportSpec {
    /// Name of the Tenant.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(rules::TENANT_NAME).message("tenant is the name of a Tenant (kubectl get tenants)"))]
    pub tenant: String,
    /// Public keys of those who are to read the bundle, as the customer's `age-keygen` prints them. Nobody else can: not even the
    /// platform, unless a key of its own is among them.
    #[schemars(length(min = 1, max = 10), inner(length(max = 100)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(key, key.matches('^age1[02-9ac-hj-np-z]{58}$'))").message("recipients are public keys as age-keygen prints them: age1 and 58 characters; never write a private key here")
    )]
    pub recipients: Vec<String>,
    /// Why it is wanted, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new(rules::ONE_LINE).message("reason is one line of text without spaces at its ends"))]
    pub reason: Option<String>,
}

/// What became of the request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantExportStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Complete: True and False are final; Unknown says what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Since when it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Where the backup door has the bundle: the path of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The moment whose data it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When the request came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Until when it is kept at least. It goes within hours after that, unless an object lock of the store keeps it for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Time>,
    /// Size of the encrypted bundle in the store, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// SHA-256 of the encrypted bundle in the store, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// SHA-256 of the file SHA256SUMS in the bundle, and so of everything in it: by this the customer can show later what was handed
    /// over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums_sha256: Option<String>,
}
