//! Releases that only tests run, as objects to apply.

use anyhow::{Context as _, Result};
use operator::api::Release;
use serde_json::{from_value, json};

use super::Installed;
use crate::images::{Schema, TestRelease};

impl Installed {
    /// The `Release` of a release that only tests run. Releases are immutable, so the name carries the digest.
    ///
    /// # Errors
    /// When the installation was made without them.
    pub fn test_release(&self, release: TestRelease) -> Result<Release> {
        let image = self.test_images.get(&release).with_context(|| {
            format!(
                "the cluster {:?} has no releases for tests: `cargo demo --test-releases`, or `cargo verify --only fleet`",
                self.cluster
            )
        })?;
        let digest = image.rsplit_once("sha256:").and_then(|(_, digest)| digest.get(..8));
        let digest = digest.with_context(|| format!("{image} has no digest"))?;
        let Schema { version, min_app } = release.schema()?;
        let written = json!({
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "Release",
            "metadata": { "name": format!("{}-{digest}", release.name()) },
            "spec": {
                "version": release.version(),
                "image": image,
                "schema": { "version": version, "minAppSchema": min_app },
                "notes": "Only tests run it.",
            },
        });
        from_value(written).context("this is no Release")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;

    fn installed(test_images: BTreeMap<TestRelease, String>) -> Installed {
        Installed {
            cluster: "demo".to_owned(),
            kubeconfig: PathBuf::new(),
            gateway: ([127, 0, 0, 1], 8080).into(),
            base_domain: String::new(),
            release: String::new(),
            crm_image: String::new(),
            postgres_image: String::new(),
            test_images,
        }
    }

    #[test]
    fn a_release_is_made_of_its_image_and_what_is_known_of_it() {
        let image = format!("docker.io/tenantry/crm-app@sha256:{}", "0123456789abcdef".repeat(4));
        let fleet = installed([(TestRelease::Contracts, image.clone())].into());
        let release = fleet.test_release(TestRelease::Contracts).unwrap();
        assert_eq!(release.metadata.name.as_deref(), Some("contracts-01234567"));
        assert_eq!((release.spec.image, release.spec.schema.version), (image, 1002));
        let missing = fleet.test_release(TestRelease::Slow).unwrap_err().to_string();
        assert!(missing.contains("--test-releases"), "{missing}");
    }

    #[test]
    fn what_is_installed_is_found_again() {
        let fleet = installed([(TestRelease::MigrationFails, "crm@sha256:ab".to_owned())].into());
        let text = serde_json::to_string(&fleet).unwrap();
        let again: Installed = serde_json::from_str(&text).unwrap();
        assert_eq!(again.test_images, fleet.test_images);
    }
}
