//! Names, and every label, annotation and child name derived from them.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Label on every child: the tenant's name.
pub const TENANT_LABEL: &str = "tenantry.dev/tenant";
/// Label on every child: the uid of the Tenant object, so that a re-made Tenant never takes over another's data.
pub const TENANT_UID_LABEL: &str = "tenantry.dev/tenant-uid";
/// Label on a migration Job: the Secret with the sign-in link that it registers.
pub const SIGN_IN_LABEL: &str = "tenantry.dev/sign-in";
/// Label on a Job that carries out a request: the request's uid.
pub const REQUEST_LABEL: &str = "tenantry.dev/request";
/// Label that says which part of the CRM a child is.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Annotation on a Tenant: its own name, written by whoever wants it removed with all its data.
pub const CONFIRM_DELETE: &str = "tenantry.dev/confirm-delete";
/// Annotation on a Tenant: its own name, written by whoever wants it removed without a backup before.
pub const SKIP_FINAL_BACKUP: &str = "tenantry.dev/skip-final-backup";
/// Annotation on a Tenant: any new value makes a new sign-in link.
pub const REISSUE_SIGN_IN: &str = "tenantry.dev/reissue-sign-in";
/// Annotation on a Namespace: the uid of the Tenant that may take it over.
pub const ADOPT: &str = "tenantry.dev/adopt";
/// Annotation on a Namespace: name of the Release that runs.
pub const RELEASE: &str = "tenantry.dev/release";
/// Annotation on a Namespace: schema version that the last migration reported.
pub const SCHEMA_VERSION: &str = "tenantry.dev/schema-version";
/// Annotation on the pod of a backup or an export: the public keys that it is encrypted to, one a line.
pub const BACKUP_RECIPIENTS: &str = "tenantry.dev/backup-recipients";
/// Annotation on a Namespace: the public key of the tenant's backups, so that the loss of the secret one is noticed.
pub const BACKUP_RECIPIENT: &str = "tenantry.dev/backup-recipient";
/// Annotation on a Namespace: since when the tenant is on its way to being stopped, in RFC 3339.
pub const CLOSING_SINCE: &str = "tenantry.dev/closing-since";
/// Annotation on a Namespace: name of the backup that was made after the CRM had stopped.
pub const FINAL_BACKUP: &str = "tenantry.dev/final-backup";
/// Annotation on a Namespace: `<tenant>/<uid>` of the backups that the tenant's Jobs may read besides their own.
pub const RESTORE_FROM: &str = "tenantry.dev/restore-from";
/// Annotation on a Namespace: `<uid>/<backup>/<moment>`, the backup that the tenant began with, once it is in its database.
pub const RESTORED_FROM: &str = "tenantry.dev/restored-from";
/// Annotation on a Namespace: name of the last migration Job that reported success.
pub const MIGRATED: &str = "tenantry.dev/migrated";
/// Annotation on a Namespace: number of the database that serves. Also on the CRM's Deployment, and a label of restore Jobs.
pub const DATABASE_GENERATION: &str = "tenantry.dev/database-generation";
/// Annotation on a Namespace: number of the database that the next restore goes into, if it is not the one that follows.
pub const NEXT_DATABASE: &str = "tenantry.dev/next-database-generation";
/// Annotation on a Namespace: number of the oldest database that may still be there, if it is not the one that serves.
pub const OLDEST_DATABASE: &str = "tenantry.dev/oldest-database-generation";
/// Annotation on a Namespace: when the database that serves took the place of another one.
pub const SWITCHED_AT: &str = "tenantry.dev/switched-at";
/// Annotation on a Namespace: the upgrade that is under way or failed, as JSON.
pub const UPGRADE: &str = "tenantry.dev/upgrade";
/// Annotation on a Namespace: what is in the tenant's pods besides release and database, as JSON.
pub const POD_SETTINGS: &str = "tenantry.dev/pod-settings";
/// Annotation on a Tenant: each new value lets an upgrade that failed begin again.
pub const RETRY: &str = "tenantry.dev/retry";
/// The name of the wave that takes what is left, when no wave of a Channel does.
pub const REST_WAVE: &str = "rest";
/// Annotation on a Namespace: the newest backup, as JSON.
pub const LAST_BACKUP: &str = "tenantry.dev/last-backup";
/// Annotation on a Namespace: the newest drill, as JSON.
pub const LAST_DRILL: &str = "tenantry.dev/last-drill";
/// Annotation on a Namespace: the restores that came to their end.
pub const RESTORES: &str = "tenantry.dev/restores";
/// Annotation on a CRM pod: state and limits, as the app reads them.
pub const ENTITLEMENT_ANNOTATION: &str = "tenantry.dev/entitlement";
/// Finalizer on Tenants.
pub const TENANT_FINALIZER: &str = "tenantry.dev/tenant";
/// Finalizer on TenantTombstones.
pub const TOMBSTONE_FINALIZER: &str = "tenantry.dev/tombstone";
/// Finalizer on Plans and Releases that a tenant refers to.
pub const IN_USE_FINALIZER: &str = "tenantry.dev/in-use";
/// Field manager of everything that belongs to one tenant.
pub const FIELD_MANAGER: &str = "tenantry-tenant";
/// Field manager of Channels' statuses, and of what a channel says in those of its tenants.
pub const ROLLOUT_FIELD_MANAGER: &str = "tenantry-rollout";
/// Field manager of tombstones.
pub const TOMBSTONE_FIELD_MANAGER: &str = "tenantry-tombstone";
/// Field manager of the route table.
pub const ROUTES_FIELD_MANAGER: &str = "tenantry-routes";
/// The backup door: its Service, and the audience of the tokens that it takes.
pub const STORE: &str = "tenantry-store";
/// The operator's service account, and the RoleBinding to it in each tenant namespace.
pub const OPERATOR: &str = "tenantry-operator";
/// The ClusterRole that the operator holds inside tenant namespaces, and nowhere else.
pub const TENANT_ROLE: &str = "tenantry-tenant";
/// Secret in the namespace of the keys: the private half of one of a BackupStore's recovery recipients, put there by an
/// administrator for as long as tenants are brought back by it.
pub const RECOVERY_IDENTITY: &str = "recovery-identity";
/// ConfigMap with the route table, in the gateway's namespace.
pub const ROUTES: &str = "routes";

/// Names of the children inside the tenant's namespace.
pub mod child {
    /// StatefulSet, volume claim, client Service, budget, policy and service account of the database.
    pub const DATABASE: &str = "database";
    /// Headless Service that governs the database pods.
    pub const DATABASE_PODS: &str = "database-pods";
    /// Secret with the passwords of the database roles and their verifiers.
    pub const DATABASE_CREDENTIALS: &str = "database-credentials";
    /// ConfigMap with the database's init script and access rules.
    pub const DATABASE_INIT: &str = "database-init";
    /// Deployment, front Service, budget, policy, service account, Ingress and first HTTPRoute of the CRM.
    pub const CRM: &str = "crm";
    /// Headless Service over the CRM pods.
    pub const CRM_PODS: &str = "crm-pods";
    /// Service account and policy of migration Jobs, and the beginning of their names.
    pub const MIGRATE: &str = "migrate";
    /// CronJob and policy of backups.
    pub const BACKUP: &str = "backup";
    /// CronJob and policy of drills.
    pub const DRILL: &str = "drill";
    /// Policy of restores, and the beginning of their Jobs' names.
    pub const RESTORE: &str = "restore";
    /// Policy of exports, and the beginning of their Jobs' names.
    pub const EXPORT: &str = "export";
    /// Beginning of the names of Jobs that drop a database.
    pub const DROP: &str = "drop";
    /// The beginning of the name of the Job that makes the backup before a tenant stops.
    pub const FINAL_BACKUP: &str = "backup-final";
    /// The beginning of the name of the Job that tries that backup before a tenant is removed.
    pub const FINAL_DRILL: &str = "drill-final";
    /// The beginning of the name of the Job that makes the backup before an upgrade.
    pub const UPGRADE_BACKUP: &str = "backup-upgrade";
    /// The beginning of the name of the Job that tries a new release on that backup.
    pub const REHEARSAL: &str = "drill-upgrade";
    /// Beginning of the name of the Job that restores what a tenant begins with.
    pub const BOOTSTRAP: &str = "bootstrap";
    /// Secret with the key that reads what a tenant begins with, as long as that takes.
    pub const RESTORE_IDENTITY: &str = "restore-identity";
    /// Secret with the key pair of the backups.
    pub const BACKUP_IDENTITY: &str = "backup-identity";
    /// Service account of everything that speaks with the backup door.
    pub const STORE: &str = "store";
    /// ConfigMap with state and limits.
    pub const ENTITLEMENT: &str = "entitlement";
    /// Secret with the first sign-in link.
    pub const FIRST_SIGN_IN: &str = "first-sign-in";
    /// ResourceQuota and LimitRange.
    pub const LIMITS: &str = "tenant";
    /// Network policy that denies what no other allows.
    pub const DEFAULT_DENY: &str = "default-deny";
    /// Network policy for name resolution.
    pub const DNS: &str = "dns";
    /// Network policy towards public addresses.
    pub const EGRESS: &str = "egress";
}

/// Which part of the CRM a child is; the value of [`COMPONENT_LABEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// PostgreSQL.
    Database,
    /// The web application.
    Crm,
    /// Schema migrations.
    Migrate,
    /// What goes to the backup store.
    Backup,
    /// What proves that it can come back.
    Drill,
    /// What brings a backup back, and what clears away after it.
    Restore,
    /// What hands everything out to the customer.
    Export,
    /// The one-time sign-in link.
    FirstSignIn,
    /// What the parts share: namespace, quota, rights.
    Tenant,
}

impl Component {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Crm => "crm",
            Self::Migrate => "migrate",
            Self::Backup => child::BACKUP,
            Self::Drill => child::DRILL,
            Self::Restore => child::RESTORE,
            Self::Export => child::EXPORT,
            Self::FirstSignIn => child::FIRST_SIGN_IN,
            Self::Tenant => "tenant",
        }
    }
}

/// Name of a tenant: a DNS label of at most 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(String);

impl TenantName {
    const MAX_LEN: usize = 40;

    /// Accepts what the schema of the Tenant accepts.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = !raw.is_empty()
            && raw.len() <= Self::MAX_LEN
            && raw.bytes().all(|b| inner(b) || b == b'-')
            && !raw.starts_with('-')
            && !raw.ends_with('-')
            && !raw.starts_with("xn--")
            && !RESERVED.contains(&raw);
        if ok { Ok(Self(raw.to_owned())) } else { Err(InvalidName(raw.to_owned())) }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace that holds everything of the tenant.
    pub fn namespace(&self) -> String {
        namespace_of(&self.0)
    }

    /// The address that belongs to the tenant and to nobody else.
    pub fn base_host(&self, base_domain: &str) -> String {
        format!("{}.{base_domain}", self.0)
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// First labels under the base domain that no tenant gets.
pub const RESERVED: [&str; 3] = ["console", "www", "api"];

/// The namespace of the tenant of that name.
pub fn namespace_of(tenant: &str) -> String {
    format!("tenant-{tenant}")
}

/// The tenant of that namespace, if it is a tenant's by its name.
pub fn tenant_of(namespace: &str) -> Option<&str> {
    namespace.strip_prefix("tenant-")
}

/// A name that no tenant can have.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} cannot be a tenant's name: at most 40 lower-case letters, digits and '-', not console, www or api"
)]
pub struct InvalidName(String);

/// The Secret with the sign-in link; a re-issue makes another one.
pub fn sign_in_secret(reissue: Option<&str>) -> String {
    match reissue.filter(|value| !value.is_empty()) {
        None => child::FIRST_SIGN_IN.to_owned(),
        Some(value) => format!("{}-{}", child::FIRST_SIGN_IN, short_hash(&[value])),
    }
}

/// The Job that brings the schema of a database to a release and registers a sign-in link.
pub fn migration_job(image: &str, schema_version: i64, sign_in_secret: &str, generation: i64) -> String {
    let (schema_version, generation) = (schema_version.to_string(), generation.to_string());
    let mut parts = vec![image, &schema_version, sign_in_secret];
    // Of the first database, the name is what it was before there could be others.
    if generation != "1" {
        parts.push(&generation);
    }
    format!("{}-{}", child::MIGRATE, short_hash(&parts))
}

/// The Job that drops the database of that number of the tenant with that uid.
pub fn drop_job(uid: &str, generation: i64) -> String {
    format!("{}-{}", child::DROP, short_hash(&[uid, &generation.to_string()]))
}

/// The Job that restores what the tenant with that uid begins with.
pub fn bootstrap_job(uid: &str) -> String {
    format!("{}-{}", child::BOOTSTRAP, short_hash(&[uid]))
}

/// The Job that carries out the request with that uid. What follows the component begins with a letter, so that it is never
/// the name of a Job that a CronJob makes: those end in a number.
pub fn request_job(component: Component, uid: &str) -> String {
    let hash = short_hash(&[uid]);
    let letter = match hash.bytes().next() {
        Some(digit @ b'0'..=b'5') => char::from(b'a' + (digit - b'0')),
        Some(digit @ b'6'..=b'9') => char::from(b'a' + (digit - b'6')),
        _ => return format!("{}-{hash}", component.as_str()),
    };
    format!("{}-{letter}{}", component.as_str(), &hash[1..])
}

/// The Job that makes the backup before a tenant stops; each time that it is stopped, another one.
pub fn final_backup_job(closing_since: jiff::Timestamp) -> String {
    format!("{}-{}", child::FINAL_BACKUP, short_hash(&[&closing_since.to_string()]))
}

/// The Job that tries that backup before the tenant is removed.
pub fn final_drill_job(backup: &str) -> String {
    format!("{}-{}", child::FINAL_DRILL, short_hash(&[backup]))
}

/// The Job that makes the backup before the upgrade to that release; each time that it is tried, another one.
pub fn upgrade_backup_job(release: &str, started_at: jiff::Timestamp) -> String {
    format!("{}-{}", child::UPGRADE_BACKUP, short_hash(&[release, &started_at.to_string()]))
}

/// The Job that tries a release on that backup.
pub fn rehearsal_job(release: &str, started_at: jiff::Timestamp) -> String {
    format!("{}-{}", child::REHEARSAL, short_hash(&[release, &started_at.to_string()]))
}

/// The TenantRestore that takes a tenant back to where it was before the upgrade that began then.
pub fn undo_restore(tenant: &str, started_at: jiff::Timestamp) -> String {
    format!("{tenant}-before-upgrade-{}", short_hash(&[&started_at.to_string()]))
}

/// The tombstone of the tenant of that name and uid.
pub fn tombstone(tenant: &str, uid: &str) -> String {
    format!("{tenant}-{}", short_hash(&[uid]))
}

/// The HTTPRoute of that number, counted from 0.
pub fn http_route(index: usize) -> String {
    match index {
        0 => child::CRM.to_owned(),
        more => format!("{}-{}", child::CRM, more + 1),
    }
}

/// Eight hexadecimal digits that differ when any part differs.
pub(crate) fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(&hasher.finalize()[..4])
}

/// A host name in its one form: lower-case ASCII (punycode), no dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Host(String);

impl Host {
    /// Brings a host name as people write it into its one form.
    pub fn parse(raw: &str) -> Result<Self, InvalidHost> {
        let invalid = |why| InvalidHost { host: raw.to_owned(), why };
        let ascii = idna::domain_to_ascii_strict(raw.trim_end_matches('.'))
            .map_err(|_| invalid("it is no host name that can be registered"))?;
        if !ascii.contains('.') {
            return Err(invalid("write the full name, such as crm.acme.example"));
        }
        if ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(invalid("write a name, not an address"));
        }
        Ok(Self(ascii))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {host:?} cannot be used: {why}")]
pub struct InvalidHost {
    host: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("CRM.Acme.Example", Some("crm.acme.example"))]
    #[case("crm.acme.example.", Some("crm.acme.example"))]
    #[case("客户.example", Some("xn--ubt06m.example"))]
    #[case("bücher.example", Some("xn--bcher-kva.example"))]
    #[case("acme", None)]
    #[case("192.168.0.1", None)]
    #[case("a_b.example", None)]
    #[case("a..example", None)]
    #[case("-a.example", None)]
    fn a_host_has_one_form(#[case] raw: &str, #[case] ascii: Option<&str>) {
        assert_eq!(Host::parse(raw).ok().as_ref().map(Host::as_str), ascii);
    }

    #[rstest]
    #[case("acme", true)]
    #[case("7days", true)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("A", false)]
    #[case("a.b", false)]
    #[case("api", false)]
    #[case("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)]
    fn a_name_is_a_label(#[case] raw: &str, #[case] ok: bool) {
        assert_eq!(TenantName::parse(raw).is_ok(), ok);
    }

    #[test]
    fn the_job_of_a_request_is_never_taken_for_one_of_a_cron_job() {
        let jobs: std::collections::BTreeSet<_> =
            (0..1000).map(|uid| request_job(Component::Backup, &uid.to_string())).collect();
        assert_eq!(jobs.len(), 1000);
        for job in jobs {
            let rest = job.strip_prefix("backup-").unwrap();
            assert!(rest.len() == 8 && rest.starts_with(|c: char| c.is_ascii_lowercase()), "{job}");
        }
    }

    #[test]
    fn another_release_schema_or_link_is_another_job() {
        let job = |image: &str, schema: i64, link: &str| migration_job(image, schema, link, 1);
        let first = job("i@sha256:1", 1, "first-sign-in");
        assert_eq!(first.len(), "migrate-".len() + 8);
        assert_ne!(first, job("i@sha256:2", 1, "first-sign-in"));
        assert_ne!(first, job("i@sha256:1", 2, "first-sign-in"));
        assert_ne!(first, job("i@sha256:1", 1, &sign_in_secret(Some("2"))));
        assert_ne!(first, migration_job("i@sha256:1", 1, "first-sign-in", 2), "so is another database");
    }
}
