//! `Release`: an immutable version of the CRM.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// An immutable version of the CRM: an image by digest, and what it needs of the database schema.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Release",
    doc = "An immutable version of the CRM: an image by digest, and what it needs of the database schema.",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Schema","type":"integer","jsonPath":".spec.schema.version"}"#,
    printcolumn = r#"{"name":"Image","type":"string","priority":1,"jsonPath":".spec.image"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a Release never changes: make a new Release and point the tenants to it")
)]
pub struct ReleaseSpec {
    /// Semantic version, for example `1.4.0`.
    #[schemars(length(min = 5, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)[.](0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?([+][0-9A-Za-z.-]+)?$')").message("version is a semantic version such as 1.4.0"))]
    pub version: String,
    /// Image of the CRM, by digest: `registry/name@sha256:...`.
    #[schemars(length(min = 73, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?@sha256:[0-9a-f]{64}$')").message("image names an image by digest (name@sha256:<64 hexadecimal digits>), not by tag: a tag can change under a running tenant"))]
    pub image: String,
    /// What the release knows of the database schema.
    pub schema: ReleaseSchema,
    /// Which versions can be upgraded to this one: comparisons that must all hold, for example `>=1.2.0, <2.0.0`. Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 120))]
    #[x_kube(validation = Rule::new("self.matches('^ *(=|>|>=|<|<=|~|\\\\^)? *[0-9]+([.][0-9]+){0,2}(-[0-9A-Za-z.-]+)?( *, *(=|>|>=|<|<=|~|\\\\^)? *[0-9]+([.][0-9]+){0,2}(-[0-9A-Za-z.-]+)?)* *$')").message("upgradesFrom holds comparisons of versions such as '>=1.2.0, <2.0.0'"))]
    pub upgrades_from: Option<String>,
    /// What changed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub notes: Option<String>,
}

/// What a release knows of the database schema.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minAppSchema) || self.minAppSchema <= self.version").message("schema.minAppSchema is not above schema.version")
)]
pub struct ReleaseSchema {
    /// The schema version to which the release's migrations lead.
    #[x_kube(validation = Rule::new("1 <= self").message("schema.version is the number of the release's last migration, 1 or more"))]
    pub version: i64,
    /// The oldest schema version whose app still works on this release's schema. Without it `version`, so that no older app does:
    /// then a tenant is read-only while it is upgraded, and going back restores the backup from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("1 <= self").message("schema.minAppSchema is a schema version, 1 or more"))]
    pub min_app_schema: Option<i64>,
}
