//! Releases of the CRM that only tests run: two that change the schema, and four that go wrong.
//!
//! They are one more build of the CRM, with its feature `test-releases`, and an image for each, which says in its environment which
//! release it is. What each does is written in `crm-app/src/test_release.rs`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{binaries, builder::Builder, directory, recipe, recipe::Recipe};
use crate::{cluster::ImageArchive, host::files, toolchain};

/// Environment variable by which the program knows which release it is. No product has the word in it.
pub(super) const VARIABLE: &str = "CRM_TEST_RELEASE";
/// The feature that is off in products.
const FEATURE: &str = "crm-app/test-releases";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestRelease {
    /// Good: adds a column that it writes. The product works on its schema.
    Expands,
    /// Good: no release from before can write companies on its schema.
    Contracts,
    /// Ends as soon as it is to serve.
    Crashes,
    /// Is ready, answers 20 requests, and then with 500 for ever. Probes are not told.
    Errors,
    /// Cannot migrate data in which the name of a company has the word `unmigratable`.
    MigrationFails,
    /// Takes ten times as long for each answer, and at least 300 ms.
    Slow,
}

/// What a release knows of the database schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// To which its migrations lead.
    pub version: i64,
    /// The oldest one whose app still works on it.
    pub min_app: i64,
}

/// The image of one of them.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// Which.
    pub release: TestRelease,
    /// Its archive.
    pub archive: ImageArchive,
}

impl TestRelease {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Expands, Self::Contracts, Self::Crashes, Self::Errors, Self::MigrationFails, Self::Slow];

    /// As the program calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expands => "expands",
            Self::Contracts => "contracts",
            Self::Crashes => "crashes",
            Self::Errors => "errors",
            Self::MigrationFails => "migration-fails",
            Self::Slow => "slow",
        }
    }

    /// Newer than the product of this checkout. Those that go wrong would come after `expands`.
    pub fn version(self) -> String {
        let major = env!("CARGO_PKG_VERSION_MAJOR");
        let minor: u32 = env!("CARGO_PKG_VERSION_MINOR").parse().unwrap_or_default();
        let (minor, patch) = match self {
            Self::Expands => (minor + 1, 0),
            Self::Crashes => (minor + 1, 1),
            Self::Errors => (minor + 1, 2),
            Self::MigrationFails => (minor + 1, 3),
            Self::Slow => (minor + 1, 4),
            Self::Contracts => (minor + 2, 0),
        };
        format!("{major}.{minor}.{patch}")
    }

    /// The word in the file name of its last migration.
    fn last_migration(self) -> &'static str {
        match self {
            Self::Expands | Self::Crashes | Self::Errors | Self::Slow => "expands",
            Self::Contracts => "contracts",
            Self::MigrationFails => "migration_fails",
        }
    }

    /// What it knows of the database schema, by the migrations of this checkout.
    pub fn schema(self) -> Result<Schema> {
        let own = migrations("test-migrations")?;
        let word = self.last_migration();
        let last = own.iter().find(|(_, name)| name == word);
        let (version, _) = *last.with_context(|| format!("no migration for tests is called {word}"))?;
        let min_app = match self {
            Self::Contracts => version,
            _ => product_schema()?,
        };
        Ok(Schema { version, min_app })
    }
}

/// The schema version of the product in this checkout.
pub fn product_schema() -> Result<i64> {
    let migrations = migrations("migrations")?;
    migrations.iter().map(|(version, _)| *version).max().context("the CRM has no migrations")
}

/// The number and the name of each migration in a folder of the CRM: what its file name is made of.
fn migrations(folder: &str) -> Result<Vec<(i64, String)>> {
    let directory = toolchain::workspace().join("crm-app").join(folder);
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let migration = |name: String| {
        let (version, name) = name.strip_suffix(".sql")?.split_once('_')?;
        Some((version.parse().ok()?, name.to_owned()))
    };
    Ok(names.filter_map(migration).collect())
}

/// Builds the program and the images, as far as they have changed. The front end must be there.
pub async fn test_releases() -> Result<Vec<TestImage>> {
    let binaries = binary().await?;
    let builder = Builder::choose().await?;
    let _lock = files::lock(&directory()?.join("lock"), "builds images").await?;
    let mut images = Vec::new();
    for release in TestRelease::ALL {
        let archive = recipe::archive(&Recipe::test_release(&binaries, release), &builder).await?;
        images.push(TestImage { release, archive });
    }
    Ok(images)
}

/// The directory with the program. Not where cargo puts it, which is where the product's is, of the same name.
async fn binary() -> Result<PathBuf> {
    // The same packages as for the product, so that their dependencies are compiled with the same features, and so once.
    let built = binaries::build_with(&["operator", "crm-app"], &[FEATURE]).await?;
    let kept = directory()?.join("test-releases");
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    // With its permissions: the image takes them over.
    let copied = fs::copy(built.join("crm-app"), kept.join("new"));
    copied
        .and_then(|_| fs::rename(kept.join("new"), kept.join("crm-app")))
        .context("cannot keep the program")?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_can_be_told_from_the_others_and_comes_after_the_product() {
        let versions: BTreeSet<_> = TestRelease::ALL.map(TestRelease::version).into();
        let names: BTreeSet<_> = TestRelease::ALL.map(TestRelease::name).into();
        assert_eq!((versions.len(), names.len()), (6, 6));
        let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
        assert!(versions.iter().all(|version| minor(env!("CARGO_PKG_VERSION")) < minor(version)));
    }

    #[test]
    fn their_schemas_are_those_of_their_migrations() {
        let product = product_schema().unwrap();
        let schema = |release: TestRelease| release.schema().unwrap();
        let expands = schema(TestRelease::Expands);
        assert_eq!(expands, Schema { version: 1001, min_app: product });
        assert_eq!(schema(TestRelease::Contracts), Schema { version: 1002, min_app: 1002 });
        assert_eq!(schema(TestRelease::MigrationFails), Schema { version: 1003, min_app: product });
        for release in [TestRelease::Crashes, TestRelease::Errors, TestRelease::Slow] {
            assert_eq!(schema(release), expands, "{release:?}");
        }
    }

    /// Two crates that do not know each other.
    #[test]
    fn the_program_knows_them_by_the_same_names() {
        let path = toolchain::workspace().join("crm-app/src");
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap();
        assert!(read("args.rs").contains(&format!("env = \"{VARIABLE}\"")));
        let program = read("test_release.rs");
        let known = program.split_once("pub enum TestRelease {").unwrap().1.split_once("\n}").unwrap().0;
        let known: Vec<_> = known.lines().filter_map(|line| line.trim().strip_suffix(',')).collect();
        assert_eq!(known, TestRelease::ALL.map(|release| format!("{release:?}")));
    }
}
