//! Rules of the schema that several fields share, in CEL. What a field should be instead is said where it stands.

/// The name of a Tenant: it becomes a part of host names and of the names of other objects.
pub(super) const TENANT_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";
/// The name of an object of most kinds.
pub(super) const OBJECT_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";
/// Text for people without line breaks, without spaces at its ends, and without what is not to be seen.
pub(super) const ONE_LINE: &str = "self.matches('^[^\\\\s\\\\p{C}]([^\\\\n\\\\p{C}]*[^\\\\s\\\\p{C}])?$')";
/// The name of a backup.
pub(super) const BACKUP_NAME: &str = "self.matches('^[0-9]{8}T[0-9]{6}Z-[0-9a-z]{6}$')";
/// When a CronJob runs; `H` stands for a number of each tenant's own.
pub(super) const SCHEDULE: &str = "self.matches('^[0-9H*,/()-]+( [0-9H*,/()-]+){4}$')";
