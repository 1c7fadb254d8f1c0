//! Every flag and environment variable of the process, read once.

mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

pub use self::values::{DoorUrl, PublicUrl, Which};
use self::values::{duration, image, name, request};
use crate::backup::Reason;

/// The CRM that every tenant runs.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to log: a level, or tracing directives.
    #[arg(long, env = "CRM_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Which release for tests this is.
    #[cfg(feature = "test-releases")]
    #[arg(long, env = "CRM_TEST_RELEASE", global = true)]
    pub test_release: Option<crate::test_release::TestRelease>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the process does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves the application until it is told to stop.
    Serve(Serve),
    /// Brings the database to this version's schema; safe to run again and side by side.
    Migrate(Migrate),
    /// Checks schema, rights, audit chain and search index; exits with 1 on a finding.
    Doctor(Doctor),
    /// Takes a backup: dumps the database, encrypts the dump and sends it to the backup door.
    Backup(Backup),
    /// Proves a backup: restores it into a scratch database, compares, examines, and drops it.
    Drill(Drill),
    /// Restores a backup into a database of its own, beside the one that serves; safe to run again.
    Restore(Restore),
    /// Makes an exit bundle: everything that it takes to go on elsewhere, in one archive.
    Export(Export),
    /// Drops a database that no longer serves; safe to run again.
    DropDatabase(DropDatabase),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where the application listens.
    #[arg(long, env = "CRM_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` listen.
    #[arg(long, env = "CRM_MANAGEMENT_LISTEN", default_value = "0.0.0.0:9090")]
    pub management_listen: SocketAddr,
    /// The database, as the role that may change rows and nothing else.
    #[command(flatten)]
    pub database: Database<AppRole>,
    /// The most database connections held at once; none is held when idle.
    #[arg(long, env = "CRM_DATABASE_CONNECTIONS", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub database_connections: u32,
    /// The entitlement that was current when the pod was born.
    #[arg(long, env = "CRM_ENTITLEMENT_CONFIG", default_value = "/run/entitlement/config.json")]
    pub entitlement_config: PathBuf,
    /// The entitlement as it changes while the pod lives.
    #[arg(long, env = "CRM_ENTITLEMENT_ANNOTATION", default_value = "/run/entitlement/annotation.json")]
    pub entitlement_annotation: PathBuf,
    /// The address that people use first; the host of each request is accepted as well.
    #[arg(long, env = "CRM_PUBLIC_URL")]
    pub public_url: PublicUrl,
    /// Name of the Tenant, for exit bundles that people fetch; without it there are none.
    #[arg(long, env = "CRM_TENANT", value_parser = name, requires = "image")]
    pub tenant: Option<String>,
    /// The CRM's image, as the bundle's receiver can get it.
    #[arg(long, env = "CRM_IMAGE", value_parser = image, requires = "tenant")]
    pub image: Option<String>,
}

/// Flags of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// The database, as the role that owns it.
    #[command(flatten)]
    pub database: Database<OwnerRole>,
    /// The first administrator and the hash of the first link: files `token-sha256`, `admin-name`, `admin-email`,
    /// `expires-in` (seconds). Nobody is invited when the folder is not given.
    #[arg(long, env = "CRM_FIRST_SIGN_IN_DIR")]
    pub first_sign_in_dir: Option<PathBuf>,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The database, as the application sees it.
    #[command(flatten)]
    pub database: Database<AppRole>,
}

/// Flags of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The database, as the role that may read all of it.
    #[command(flatten)]
    pub database: Database<BackupRole>,
    /// Where the backup goes.
    #[command(flatten)]
    pub store: Store,
    /// The file with the age recipients who will be able to decrypt, one a line.
    #[arg(long, env = "CRM_RECIPIENTS_FILE")]
    pub recipients_file: PathBuf,
    /// Why it is taken; kept in the manifest.
    #[arg(long, env = "CRM_BACKUP_REASON")]
    pub reason: Reason,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Flags of `drill`.
#[derive(Debug, Args)]
pub struct Drill {
    /// Where the backup is.
    #[command(flatten)]
    pub store: Store,
    /// The file with the age identity that decrypts.
    #[arg(long, env = "CRM_IDENTITY_FILE")]
    pub identity_file: PathBuf,
    /// Which backup: an id, `newest`, or `before:` and a time, for the newest that was made until then.
    #[arg(long, env = "CRM_BACKUP", default_value = "newest")]
    pub backup: Which,
    /// The directory with the socket of a PostgreSQL that serves nothing else and trusts whoever reaches it.
    #[arg(long, env = "CRM_SCRATCH_SOCKET")]
    pub scratch_socket: String,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The database to restore into, as the role that owns databases. It is made, unless it is the current one: that one has to
    /// be there and to be empty.
    #[command(flatten)]
    pub database: Database<OwnerRole>,
    /// The database that serves now. It is the way to the server, and is left as it is.
    #[arg(long, env = "CRM_CURRENT_DATABASE", default_value = "crm")]
    pub current: String,
    /// How large the volume of the server's data is, in bytes. PostgreSQL does not know, so without it nobody looks whether there
    /// is room for another database.
    #[arg(long, env = "CRM_VOLUME_SIZE")]
    pub volume_size: Option<u64>,
    /// Where the backup is. Tenant and uid are those of whose backup it is.
    #[command(flatten)]
    pub store: Store,
    /// The file with the age identity that decrypts.
    #[arg(long, env = "CRM_IDENTITY_FILE")]
    pub identity_file: PathBuf,
    /// Which backup: an id, `newest`, or `before:` and a time, for the newest that was made until then.
    #[arg(long, env = "CRM_BACKUP")]
    pub backup: Which,
    /// Who asked for it, as `TenantRestore/5f0c6a2e`; kept in the audit log.
    #[arg(long, env = "CRM_REQUEST", value_parser = request)]
    pub request: Option<String>,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "3570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The database, as the role that may read all of it.
    #[command(flatten)]
    pub database: Database<BackupRole>,
    /// Name of the Tenant.
    #[arg(long, env = "CRM_TENANT", value_parser = name)]
    pub tenant: String,
    /// Its uid.
    #[arg(long, env = "CRM_TENANT_UID", value_parser = name)]
    pub tenant_uid: String,
    /// The CRM's image, as the bundle's receiver can get it.
    #[arg(long, env = "CRM_IMAGE", value_parser = image)]
    pub image: String,
    /// The entitlement, for name, language and seats of the workspace.
    #[arg(long, env = "CRM_ENTITLEMENT_CONFIG", default_value = "/run/entitlement/config.json")]
    pub entitlement_config: PathBuf,
    /// The archive to write, in zip's format. It has its name only when it is whole; what was there before is replaced.
    #[arg(long, env = "CRM_OUTPUT", required_unless_present = "door", conflicts_with = "door")]
    pub output: Option<PathBuf>,
    /// Instead of a file: the address of the backup door, to which the archive goes encrypted.
    #[arg(long, env = "CRM_DOOR", requires_all = ["store", "recipients_file"])]
    pub door: Option<DoorUrl>,
    /// The file with the token for the door.
    #[arg(long, env = "CRM_TOKEN_FILE", default_value = "/run/secrets/store/token")]
    pub token_file: PathBuf,
    /// Name of the `BackupStore`.
    #[arg(long, env = "CRM_STORE", value_parser = name)]
    pub store: Option<String>,
    /// The file with the age recipients who will be able to decrypt, one a line.
    #[arg(long, env = "CRM_RECIPIENTS_FILE")]
    pub recipients_file: Option<PathBuf>,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "3570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Flags of `drop-database`.
#[derive(Debug, Args)]
pub struct DropDatabase {
    /// The database to drop, as the role that owns it.
    #[command(flatten)]
    pub database: Database<OwnerRole>,
    /// The database that serves now, which is never dropped.
    #[arg(long, env = "CRM_CURRENT_DATABASE")]
    pub current: String,
    /// When to give up.
    #[arg(long, env = "CRM_DEADLINE", default_value = "570s", value_parser = duration)]
    pub deadline: Duration,
    /// The file that takes the result; only written when it is there.
    #[arg(long, env = "CRM_REPORT", default_value = "/dev/termination-log")]
    pub report: PathBuf,
}

/// Where a tenant's backups are.
#[derive(Clone, Debug, Args)]
pub struct Store {
    /// The address of the backup door.
    #[arg(long, env = "CRM_DOOR")]
    pub door: DoorUrl,
    /// The file with the token for the door. Read for every request: it is replaced while it is used.
    #[arg(long, env = "CRM_TOKEN_FILE", default_value = "/run/secrets/store/token")]
    pub token_file: PathBuf,
    /// Name of the `BackupStore`.
    #[arg(long, env = "CRM_STORE", value_parser = name)]
    pub store: String,
    /// Name of the Tenant.
    #[arg(long, env = "CRM_TENANT", value_parser = name)]
    pub tenant: String,
    /// Its uid.
    #[arg(long, env = "CRM_TENANT_UID", value_parser = name)]
    pub tenant_uid: String,
}

/// A role's name as a default.
pub trait DefaultRole: Clone + Send + Sync + 'static {
    /// The name.
    const NAME: &'static str;
}

/// The role of `serve` and `doctor`.
#[derive(Clone, Debug)]
pub struct AppRole;
impl DefaultRole for AppRole {
    const NAME: &'static str = "crm_app";
}

/// The role of `migrate`, `restore` and `drop-database`.
#[derive(Clone, Debug)]
pub struct OwnerRole;
impl DefaultRole for OwnerRole {
    const NAME: &'static str = "crm_owner";
}

/// The role of `backup` and `export`.
#[derive(Clone, Debug)]
pub struct BackupRole;
impl DefaultRole for BackupRole {
    const NAME: &'static str = "crm_backup";
}

/// Where the database is and who we are to it.
#[derive(Clone, Debug, Args)]
pub struct Database<R: DefaultRole> {
    /// Name or address of the server.
    #[arg(long, env = "CRM_DATABASE_HOST", default_value = "database")]
    pub database_host: String,
    /// Its port.
    #[arg(long, env = "CRM_DATABASE_PORT", default_value = "5432")]
    pub database_port: u16,
    /// Which database.
    #[arg(long, env = "CRM_DATABASE_NAME", default_value = "crm")]
    pub database_name: String,
    /// As whom.
    #[arg(long, env = "CRM_DATABASE_USER", default_value = R::NAME)]
    pub database_user: String,
    /// The file that holds the password. A file, so that it is in no environment and no process list.
    #[arg(long, env = "CRM_DATABASE_PASSWORD_FILE", default_value = "/run/secrets/database/password")]
    pub database_password_file: PathBuf,
    #[arg(skip)]
    role: std::marker::PhantomData<R>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_its_own_role() {
        let cli = Cli::parse_from(["crm-app", "migrate", "--deadline", "9m 30s"]);
        let Command::Migrate(migrate) = cli.command else { panic!("migrate") };
        assert_eq!(migrate.database.database_user, "crm_owner");
        assert_eq!(migrate.deadline, Duration::from_secs(570));
        let cli = Cli::parse_from(["crm-app", "serve", "--public-url", "http://acme.crm.localhost:8080"]);
        let Command::Serve(serve) = cli.command else { panic!("serve") };
        assert_eq!(serve.database.database_user, "crm_app");
        assert_eq!(serve.public_url, PublicUrl { https: false, authority: "acme.crm.localhost:8080".into() });
        let half = ["crm-app", "serve", "--public-url", "http://acme.crm.localhost", "--tenant", "acme"];
        assert!(Cli::try_parse_from(half).is_err(), "exit bundles need the image as well");
    }

    #[test]
    fn a_drill_is_of_the_newest_backup_unless_one_is_named() {
        let words = "crm-app drill --door http://tenantry-store --store main --tenant acme --tenant-uid 5f0c6a2e \
                     --identity-file /key --scratch-socket /run/scratch";
        let which = |more: &[&str]| {
            let cli = Cli::parse_from(words.split_whitespace().chain(more.iter().copied()));
            let Command::Drill(drill) = cli.command else { panic!("drill") };
            (drill.store.door.authority, drill.backup)
        };
        assert_eq!(which(&[]), ("tenantry-store".to_owned(), Which::Newest));
        let id = "20261122T010000Z-k3v9x2";
        assert_eq!(which(&["--backup", id]).1, Which::Id(id.parse().unwrap()));
        let time = "2026-11-22T01:00:00.25Z";
        assert_eq!(which(&["--backup", &format!("before:{time}")]).1, Which::Before(time.parse().unwrap()));
        assert!("before:yesterday".parse::<Which>().is_err());
    }

    #[rstest]
    #[case("--output crm.zip", true)]
    #[case("--door http://tenantry-store --store main --recipients-file keys", true)]
    #[case("", false)]
    #[case("--door http://tenantry-store --store main", false)]
    #[case("--door http://tenantry-store --recipients-file keys", false)]
    #[case("--output crm.zip --door http://tenantry-store --store main --recipients-file keys", false)]
    fn an_exit_bundle_goes_to_one_place(#[case] place: &str, #[case] ok: bool) {
        let words = format!("crm-app export --tenant acme --tenant-uid 5f0c6a2e --image crm:1 {place}");
        assert_eq!(Cli::try_parse_from(words.split_whitespace()).is_ok(), ok);
    }

    #[rstest]
    #[case("--tenant", "../blue")]
    #[case("--tenant", "..")]
    #[case("--tenant-uid", "")]
    #[case("--store", "Main")]
    #[case("--door", "https://tenantry-store")]
    #[case("--reason", "scheduled")]
    fn what_would_lead_elsewhere_is_refused(#[case] flag: &str, #[case] value: &str) {
        let good = [
            ("--door", "http://tenantry-store:8080"),
            ("--store", "main"),
            ("--tenant", "acme"),
            ("--tenant-uid", "5f0c6a2e-2f5e-4a53-8f0b-1f6d3c1f2a77"),
            ("--recipients-file", "/recipients"),
            ("--reason", "OnDemand"),
        ];
        let parsed = |changed: Option<&str>| {
            let words = good
                .iter()
                .flat_map(|(name, good)| [*name, if Some(*name) == changed { value } else { *good }]);
            Cli::try_parse_from(["crm-app", "backup"].into_iter().chain(words))
        };
        assert!(parsed(None).is_ok());
        assert!(parsed(Some(flag)).is_err());
    }
}
