//! What must be so before an upgrade begins. Pure. Each answer is one of three: what nobody can tell now is waited for, and only
//! what waiting cannot mend is a failure.

use jiff::Timestamp;
use semver::{Version, VersionReq};

use crate::{
    api::{
        CheckResult, UpgradeCheck, Window,
        conditions::{Verdict, Word},
    },
    tenant::{
        upgrade::Safety,
        validate::{ValidBackup, ValidRelease},
    },
    window::{Opening, opening},
};

/// What the checks look at.
pub struct Scene<'a> {
    /// The release that runs; `None` when its object is gone.
    pub from: Option<&'a ValidRelease>,
    /// The release that is to run.
    pub to: &'a ValidRelease,
    /// Whether the database answers.
    pub database: &'a Verdict,
    /// Where backups go; `None` when the plan makes none.
    pub backup: Option<&'a ValidBackup>,
    /// When upgrades may begin; always, without one.
    pub window: Option<&'a Window>,
    /// The tenant's time zone.
    pub time_zone: &'a str,
    /// The channel wants the release rehearsed.
    pub rehearse: bool,
    /// The time.
    pub now: Timestamp,
}

/// All checks, in the order in which people read them.
pub fn all(scene: &Scene<'_>) -> Vec<UpgradeCheck> {
    vec![path(scene), database(scene), backup(scene), window(scene)]
}

/// What is to be done for safety on the way.
///
/// Going back to an older version is quick: it migrates nothing, so there is nothing to rehearse and nothing to restore.
pub fn safety(scene: &Scene<'_>) -> Safety {
    if is_backwards(scene) {
        return Safety::default();
    }
    let backs_up = scene.backup.is_some();
    Safety { backs_up, rehearses: backs_up && scene.rehearse, is_one_way: is_one_way(scene) }
}

fn is_backwards(scene: &Scene<'_>) -> bool {
    let version = |release: &ValidRelease| Version::parse(&release.version).ok();
    let from = scene.from.and_then(version);
    from.zip(version(scene.to)).is_some_and(|(from, to)| to < from)
}

/// Whether the app that runs cannot work on the new release's schema. Of one that nobody knows any more, that is certain of none.
fn is_one_way(scene: &Scene<'_>) -> bool {
    scene.from.is_none_or(|from| from.schema_version < scene.to.min_app_schema)
}

/// Whether there is a way from the one release to the other.
fn path(scene: &Scene<'_>) -> UpgradeCheck {
    const NAME: &str = "Path";
    let to = scene.to;
    let Some(from) = scene.from else {
        let message = "the Release that the tenant runs is gone: make it again";
        return check(NAME, CheckResult::Waiting, message);
    };
    if is_backwards(scene) {
        let works = from.min_app_schema <= to.schema_version;
        return if works {
            check(NAME, CheckResult::Passed, "")
        } else {
            let message = format!(
                "release {} cannot work on the schema of release {}, which runs: to go back, restore a backup from before with a TenantRestore",
                to.name, from.name
            );
            check(NAME, CheckResult::Failed, message)
        };
    }
    let Some(requirement) = &to.upgrades_from else { return check(NAME, CheckResult::Passed, "") };
    let fits = VersionReq::parse(requirement)
        .ok()
        .zip(Version::parse(&from.version).ok())
        .map(|(requirement, version)| requirement.matches(&version));
    match fits {
        Some(true) => check(NAME, CheckResult::Passed, ""),
        Some(false) => {
            let message = format!(
                "release {} is for tenants with version {requirement}, and this one runs {}: upgrade it to a release between them first",
                to.name, from.version
            );
            check(NAME, CheckResult::Failed, message)
        }
        None => {
            let message = format!("upgradesFrom {requirement:?} of Release {} cannot be read", to.name);
            check(NAME, CheckResult::Failed, message)
        }
    }
}

fn database(scene: &Scene<'_>) -> UpgradeCheck {
    let result = if scene.database.word == Word::True { CheckResult::Passed } else { CheckResult::Waiting };
    check("Database", result, scene.database.message.clone())
}

/// Whether a backup can be made, and with it a way back. How old the last one is does not matter: this one will be new.
fn backup(scene: &Scene<'_>) -> UpgradeCheck {
    const NAME: &str = "Backup";
    match scene.backup {
        Some(backup) if backup.recovery.is_none() => {
            let message = format!("BackupStore {:?} does not exist or cannot be read: make it", backup.store);
            check(NAME, CheckResult::Waiting, message)
        }
        Some(_) => check(NAME, CheckResult::Passed, ""),
        None if is_one_way(scene) && !is_backwards(scene) => {
            let message = "the tenant's plan makes no backups, and without one there would be no way back: the release that runs cannot work on the new schema";
            check(NAME, CheckResult::Failed, message)
        }
        None => check(NAME, CheckResult::Passed, "the tenant's plan makes no backups, so none is made first"),
    }
}

fn window(scene: &Scene<'_>) -> UpgradeCheck {
    const NAME: &str = "Window";
    let Some(window) = scene.window else { return check(NAME, CheckResult::Passed, "") };
    match opening(window, scene.time_zone, scene.now) {
        Ok(Opening::Open { .. }) => check(NAME, CheckResult::Passed, ""),
        Ok(Opening::Closed { until }) => {
            check(NAME, CheckResult::Waiting, format!("the maintenance window opens at {until:.0}"))
        }
        Err(invalid) => check(NAME, CheckResult::Waiting, invalid.to_string()),
    }
}

fn check(name: &str, result: CheckResult, message: impl Into<String>) -> UpgradeCheck {
    UpgradeCheck { name: name.to_owned(), result, message: message.into() }
}

#[cfg(test)]
mod tests;
