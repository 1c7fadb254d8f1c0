//! Reads OCI archives: which image is inside, how large it is, and its files.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::process::Command;

use crate::host::command;

const DEADLINE: Duration = Duration::from_mins(2);

/// The image of an archive.
#[derive(Debug)]
pub(super) struct Image {
    /// Digest of the manifest.
    pub(super) digest: String,
    layers: Vec<Descriptor>,
}

impl Image {
    /// What a node downloads, unless a layer is not compressed.
    pub(super) fn compressed_bytes(&self) -> Option<u64> {
        let compressed =
            |layer: &Descriptor| layer.media_type.ends_with("gzip") || layer.media_type.ends_with("zstd");
        self.layers.iter().all(compressed).then(|| self.layers.iter().map(|layer| layer.size).sum())
    }

    /// The layer of an image that has one.
    ///
    /// Deletions of one layer in another are not applied when unpacking, so an image of several layers is refused.
    pub(super) fn only_layer(&self) -> Result<&Descriptor> {
        match self.layers.as_slice() {
            [layer] => Ok(layer),
            layers => bail!("the image {} has {} layers instead of one", self.digest, layers.len()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// What a manifest or an index says about content in the archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    media_type: String,
}

impl Descriptor {
    /// The first digits of the digest.
    pub(super) fn short_name(&self) -> String {
        self.digest.trim_start_matches("sha256:").chars().take(12).collect()
    }

    /// Name of the described content in the archive.
    fn member(&self) -> String {
        format!("blobs/{}", self.digest.replacen(':', "/", 1))
    }
}

/// Reads which image an archive holds.
pub(super) async fn inspect(archive: &Path) -> Result<Image> {
    let index: Index = member(archive, "index.json")
        .await
        .context("the archive is no OCI layout (Docker writes one from version 25)")?;
    let [manifest] = index.manifests.as_slice() else {
        bail!("{} holds {} images instead of one", archive.display(), index.manifests.len());
    };
    ensure!(
        !manifest.media_type.contains("index") && !manifest.media_type.contains("list"),
        "{} holds an image for several platforms",
        archive.display()
    );
    let Manifest { layers } = member(archive, &manifest.member()).await?;
    Ok(Image { digest: manifest.digest.clone(), layers })
}

/// Unpacks an image of one layer. The directory appears when it is complete.
pub(super) async fn unpack(archive: &Path, root: &Path) -> Result<()> {
    let layer = inspect(archive).await?.only_layer()?.member();
    let parent = root.parent().context("a cache folder has a parent")?;
    let work = tempfile::Builder::new().prefix(".unpack-").tempdir_in(parent)?;
    let (layout, files) = (work.path().join("layout"), work.path().join("files"));
    for folder in [&layout, &files] {
        fs::create_dir(folder)?;
    }
    let mut whole = Command::new("tar");
    whole.args(["--extract", "--file"]).arg(archive).arg("--directory").arg(&layout).arg(&layer);
    command::run(&mut whole, DEADLINE).await?;
    let mut content = Command::new("tar");
    content.args(["--extract", "--numeric-owner", "--same-permissions", "--file"]).arg(layout.join(&layer));
    command::run(content.arg("--directory").arg(&files), DEADLINE).await?;
    fs::rename(&files, root).with_context(|| format!("cannot keep {}", root.display()))
}

async fn member<T: DeserializeOwned>(archive: &Path, name: &str) -> Result<T> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file"]).arg(archive).arg(name);
    let text = command::run(&mut tar, DEADLINE).await?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {name} of {}", archive.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with one image whose layer holds one file.
    async fn sample(folder: &Path, media_type: &str) -> std::path::PathBuf {
        let layout = folder.join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(folder.join("hello"), "world").unwrap();
        let tar = |arguments: &[&str]| {
            let mut tar = Command::new("tar");
            tar.args(arguments);
            tar
        };
        let (layer, base) = (layout.join("blobs/sha256/bb"), folder.to_str().unwrap());
        command::run(&mut tar(&["-czf", layer.to_str().unwrap(), "-C", base, "hello"]), DEADLINE)
            .await
            .unwrap();
        let manifest =
            format!(r#"{{"layers": [{{"digest": "sha256:bb", "size": 7, "mediaType": "{media_type}"}}]}}"#);
        fs::write(layout.join("blobs/sha256/aa"), manifest).unwrap();
        fs::write(layout.join("index.json"), r#"{"manifests": [{"digest": "sha256:aa", "size": 1}]}"#)
            .unwrap();
        let archive = folder.join("image.tar");
        let pack = ["-cf", archive.to_str().unwrap(), "-C", layout.to_str().unwrap(), "index.json", "blobs"];
        command::run(&mut tar(&pack), DEADLINE).await.unwrap();
        archive
    }

    #[tokio::test]
    async fn an_archive_tells_its_image_and_gives_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let archive = sample(folder.path(), "application/vnd.oci.image.layer.v1.tar+gzip").await;
        let image = inspect(&archive).await.unwrap();
        assert_eq!((image.digest.as_str(), image.compressed_bytes()), ("sha256:aa", Some(7)));
        let root = folder.path().join("root");
        unpack(&archive, &root).await.unwrap();
        assert_eq!(fs::read_to_string(root.join("hello")).unwrap(), "world");
    }

    #[tokio::test]
    async fn an_uncompressed_layer_tells_no_size() {
        let folder = tempfile::tempdir().unwrap();
        let archive = sample(folder.path(), "application/vnd.oci.image.layer.v1.tar").await;
        assert_eq!(inspect(&archive).await.unwrap().compressed_bytes(), None);
    }
}
