//! What goes into each image, what it is called in the cache, and how large it may be.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{
    archive,
    builder::Builder,
    directory, sources,
    test_releases::{self, TestRelease},
};
use crate::{
    cluster::ImageArchive,
    host::{command, files, progress},
    toolchain::{self, cache},
};

/// Archives of earlier builds that are kept of each image: other checkouts may still use theirs.
const KEPT: usize = 3;
const MEGABYTE: u64 = 1_000_000;

/// One image to build.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Name of the Containerfile and last part of the repository name.
    pub(super) name: &'static str,
    /// Release binaries that the image takes from the build context `binaries`.
    pub(super) binaries: Vec<PathBuf>,
    /// Paths in the checkout whose last commit is the image's revision.
    sources: &'static [&'static str],
    /// Compressed size that the image must not exceed.
    limit_bytes: u64,
    /// Which of the releases that only tests run; products are none.
    test_release: Option<TestRelease>,
}

impl Recipe {
    pub(super) fn operator(binaries: &Path) -> Self {
        Self {
            name: "operator",
            binaries: vec![binaries.join("operator")],
            sources: &["operator", "Cargo.lock", "deploy/images/operator.Containerfile"],
            limit_bytes: 40 * MEGABYTE,
            test_release: None,
        }
    }

    pub(super) fn crm_app(binaries: &Path) -> Self {
        Self {
            name: "crm-app",
            binaries: vec![binaries.join("crm-app")],
            sources: &["crm-app", "Cargo.lock", "deploy/images/crm-app.Containerfile"],
            limit_bytes: 100 * MEGABYTE,
            test_release: None,
        }
    }

    pub(super) fn test_release(binaries: &Path, release: TestRelease) -> Self {
        Self { test_release: Some(release), ..Self::crm_app(binaries) }
    }

    pub(super) fn postgres() -> Self {
        Self {
            name: "postgres",
            binaries: Vec::new(),
            sources: &["deploy/images/postgres.Containerfile"],
            limit_bytes: 120 * MEGABYTE,
            test_release: None,
        }
    }

    /// Repository name on a cluster.
    pub(super) fn repository(&self) -> String {
        format!("docker.io/tenantry/{}", self.name)
    }

    /// What its archives are called in the cache.
    fn archives(&self) -> String {
        match self.test_release {
            Some(release) => format!("{}-{}", self.name, release.name()),
            None => self.name.to_owned(),
        }
    }

    /// The Containerfile's text. That of a release for tests says in the end which one it is.
    pub(super) fn containerfile(&self) -> Result<String> {
        let path = sources().join(format!("{}.Containerfile", self.name));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(match self.test_release {
            Some(release) => format!("{text}ENV {}={}\n", test_releases::VARIABLE, release.name()),
            None => text,
        })
    }

    /// Refuses a product that was built with what only tests run, and the other way round.
    fn check_kind(&self) -> Result<()> {
        for binary in &self.binaries {
            let content = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
            let is_for_tests = String::from_utf8_lossy(&content).contains(test_releases::VARIABLE);
            ensure!(
                is_for_tests == self.test_release.is_some(),
                "{} {} built with the feature test-releases",
                binary.display(),
                if is_for_tests { "is a product and was" } else { "is for tests and was not" }
            );
        }
        Ok(())
    }

    /// A hash of all that decides what the image contains.
    fn key(&self, labels: &Labels, builder: &Builder) -> Result<String> {
        let mut parts = vec![
            self.containerfile()?.into_bytes(),
            builder.identity().into_bytes(),
            labels.version.clone().into_bytes(),
            labels.revision.clone().into_bytes(),
        ];
        for binary in &self.binaries {
            parts.push(fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?);
        }
        Ok(cache::content_hash(parts.iter().map(Vec::as_slice)))
    }

    /// Refuses an image that grew past its limit. Layers that a builder leaves uncompressed are not judged.
    fn check_size(&self, built: &Built) -> Result<()> {
        let Some(bytes) = built.compressed_bytes else {
            progress::say(&format!(
                "image {}: the builder does not compress layers, so its size is not checked",
                self.archives()
            ));
            return Ok(());
        };
        let (size, limit) = (in_megabytes(bytes), in_megabytes(self.limit_bytes));
        ensure!(
            bytes <= self.limit_bytes,
            "the image {} has {size} MB compressed, more than its limit of {limit} MB",
            self.archives()
        );
        progress::say(&format!(
            "image {}: {size} MB compressed (limit {limit} MB), {}",
            self.archives(),
            built.digest
        ));
        Ok(())
    }
}

/// What is written on an image about its origin.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) version: String,
    pub(super) revision: String,
}

/// What is noted beside an archive, so that nobody needs to open it again.
#[derive(Debug, Serialize, Deserialize)]
struct Built {
    digest: String,
    compressed_bytes: Option<u64>,
}

/// The archive of an image, built when the cache does not have it.
pub(super) async fn archive(recipe: &Recipe, builder: &Builder) -> Result<ImageArchive> {
    let labels = labels(recipe).await?;
    recipe.check_kind()?;
    let path = directory()?.join(format!("{}-{}.tar", recipe.archives(), recipe.key(&labels, builder)?));
    let note = path.with_extension("json");
    let built = if let Ok(text) = fs::read(&note) {
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", note.display()))?
    } else {
        let what = format!("building the image {} with {}", recipe.archives(), builder.name());
        progress::step(&what, build(recipe, &labels, builder, &path)).await?
    };
    recipe.check_size(&built)?;
    Ok(ImageArchive { path, repository: recipe.repository(), digest: built.digest })
}

/// Builds under a name of its own; the note, written last, makes the archive valid.
async fn build(recipe: &Recipe, labels: &Labels, builder: &Builder, path: &Path) -> Result<Built> {
    let new = path.with_extension("new");
    builder.build(recipe, labels, &new).await?;
    let image = archive::inspect(&new).await?;
    let built = Built { digest: image.digest.clone(), compressed_bytes: image.compressed_bytes() };
    fs::rename(&new, path).with_context(|| format!("cannot keep {}", path.display()))?;
    files::write_atomically(&path.with_extension("json"), &serde_json::to_vec(&built)?)?;
    forget_old(&recipe.archives())?;
    Ok(built)
}

/// Removes all archives of an image but the newest.
fn forget_old(name: &str) -> Result<()> {
    let mut archives: Vec<(SystemTime, PathBuf)> = fs::read_dir(directory()?)?
        .flatten()
        .filter(|entry| is_archive_of(name, &entry.file_name().to_string_lossy()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    archives.sort_unstable_by(|one, other| other.cmp(one));
    for (_, path) in archives.iter().skip(KEPT) {
        // The note first: an archive without one is no archive.
        fs::remove_file(path.with_extension("json")).or_else(ignore_missing)?;
        fs::remove_file(path).or_else(ignore_missing)?;
    }
    Ok(())
}

fn is_archive_of(name: &str, file: &str) -> bool {
    let key = file
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".tar"));
    key.is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The product's version, and the last commit that touched what the image is made of.
async fn labels(recipe: &Recipe) -> Result<Labels> {
    let version =
        recipe.test_release.map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), TestRelease::version);
    let git = async |words: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(toolchain::workspace()).args(words).arg("--").args(recipe.sources);
        command::run(&mut git, Duration::from_secs(10)).await
    };
    // A source archive has no history.
    let commit = git(&["log", "-1", "--format=%H"]).await.unwrap_or_default();
    if commit.trim().is_empty() {
        return Ok(Labels { version, revision: "unknown".to_owned() });
    }
    let changed = !git(&["status", "--porcelain"]).await?.trim().is_empty();
    let dirty = if changed { "-dirty" } else { "" };
    Ok(Labels { version, revision: format!("{}{dirty}", commit.trim()) })
}

/// Whole megabytes, rounded up: what is above a limit never looks as if it were not.
fn in_megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(MEGABYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_past_its_limit_is_refused() {
        let recipe = Recipe::postgres();
        let of = |bytes| Built { digest: "sha256:0".to_owned(), compressed_bytes: Some(bytes) };
        assert!(recipe.check_size(&of(120 * MEGABYTE)).is_ok());
        let error = recipe.check_size(&of(120 * MEGABYTE + 1)).unwrap_err().to_string();
        assert_eq!(error, "the image postgres has 121 MB compressed, more than its limit of 120 MB");
    }

    #[test]
    fn the_key_follows_the_inputs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("operator"), "one").unwrap();
        let labels = Labels { version: "1".to_owned(), revision: "a".to_owned() };
        let recipe = Recipe::operator(folder.path());
        let key = || recipe.key(&labels, &Builder::Docker).unwrap();
        let first = key();
        assert_eq!(first, key());
        fs::write(folder.path().join("operator"), "two").unwrap();
        assert_ne!(first, key());
        let other = Labels { version: "1".to_owned(), revision: "b".to_owned() };
        assert_ne!(
            recipe.key(&labels, &Builder::Docker).unwrap(),
            recipe.key(&other, &Builder::Docker).unwrap()
        );
    }

    #[test]
    fn images_say_who_they_are_and_never_run_as_root() {
        let folder = Path::new("/");
        let table = [
            (Recipe::operator(folder), "USER 65532:65532"),
            (Recipe::crm_app(folder), "USER 65532:65532"),
            (Recipe::postgres(), "USER 999:999"),
        ];
        for (recipe, user) in table {
            let text = recipe.containerfile().unwrap();
            let last_stage = text.rsplit_once("\nFROM scratch\n").unwrap().1;
            assert!(last_stage.lines().any(|line| line == user), "{}: {user}", recipe.name);
            for label in ["title", "licenses"] {
                assert!(
                    last_stage.contains(&format!("org.opencontainers.image.{label}=")),
                    "{}: {label}",
                    recipe.name
                );
            }
        }
    }

    #[test]
    fn a_release_for_tests_is_never_shipped_and_says_which_one_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (product, release) = (Recipe::crm_app(folder.path()), TestRelease::Expands);
        let for_tests = Recipe::test_release(folder.path(), release);
        let built_with = |word: &str| {
            let program = [b"\x7fELF\xff\0".as_slice(), word.as_bytes(), b"\0\xfe"].concat();
            fs::write(folder.path().join("crm-app"), program).unwrap();
            (product.check_kind().is_ok(), for_tests.check_kind().is_ok())
        };
        assert_eq!(built_with("CRM_TENANT"), (true, false));
        assert_eq!(built_with("CRM_TEST_RELEASE"), (false, true));

        let (text, more) = (product.containerfile().unwrap(), for_tests.containerfile().unwrap());
        assert_eq!(more.strip_prefix(&text), Some("ENV CRM_TEST_RELEASE=expands\n"));
        assert!(!text.contains("CRM_TEST_RELEASE"));
        assert_eq!(product.repository(), for_tests.repository(), "what an operator allows is by repository");
    }

    #[test]
    fn only_archives_of_the_image_are_old() {
        assert!(is_archive_of("postgres", "postgres-0123456789ab.tar"));
        for other in [
            "postgres-0123456789ab.json",
            "postgres-root-01.tar",
            "postgres-slow-0123456789ab.tar",
            "operator-0123456789ab.tar",
            "postgres.tar",
        ] {
            assert!(!is_archive_of("postgres", other), "{other}");
        }
    }
}
