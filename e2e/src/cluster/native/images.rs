//! The node's own images, one program each on an empty file system, and how any image gets into containerd.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::layout::Layout;
use crate::{
    cluster::ImageArchive,
    host::{command::run, files, progress},
    toolchain::{self, Tool, cache},
};

/// Building a small image or importing a large one takes seconds.
const DEADLINE: Duration = Duration::from_mins(2);
/// Namespace of containerd that the kubelet's images live in.
const NAMESPACE: &str = "k8s.io";

/// An image with one of the node's own programs.
#[derive(Clone, Debug)]
pub(super) struct SystemImage {
    name: &'static str,
    tag: String,
    archive: PathBuf,
}

/// All images that the node itself needs.
#[derive(Clone, Debug)]
pub(super) struct SystemImages {
    /// Holds a pod's namespaces.
    pub(super) pause: SystemImage,
    /// Cluster DNS.
    pub(super) coredns: SystemImage,
    /// Makes volumes.
    pub(super) volume_provisioner: SystemImage,
}

impl SystemImage {
    /// How pods name the image: the tag changes with the content.
    pub(super) fn reference(&self) -> String {
        format!("docker.io/tenantry-node/{}:{}", self.name, self.tag)
    }
}

impl SystemImages {
    /// Builds the images that the cache does not have.
    pub(super) async fn ensure() -> Result<Self> {
        Ok(Self {
            pause: system_image("pause", Tool::Pause, "65535").await?,
            coredns: system_image("coredns", Tool::CoreDns, "65532").await?,
            // Makes directories for any user on the node's disk.
            volume_provisioner: system_image("volume-provisioner", Tool::VolumeProvisioner, "0").await?,
        })
    }

    fn all(&self) -> [&SystemImage; 3] {
        let Self { pause, coredns, volume_provisioner } = self;
        [pause, coredns, volume_provisioner]
    }

    /// Imports the images that the node does not have.
    pub(super) async fn load(&self, layout: &Layout) -> Result<()> {
        let present = present(layout).await?;
        for image in self.all() {
            if !present.contains(&image.reference()) {
                run(ctr(layout).args(["images", "import"]).arg(&image.archive), DEADLINE).await?;
            }
        }
        Ok(())
    }
}

/// Puts image archives on the node under their digest.
pub(super) async fn load(layout: &Layout, images: &[ImageArchive]) -> Result<()> {
    let before = present(layout).await?;
    for image in images {
        if before.contains(&image.reference()) {
            continue;
        }
        let mut import = ctr(layout);
        import.args(["images", "import", "--digests", "--base-name", &image.repository]).arg(&image.path);
        progress::step(&format!("loading {}", image.repository), run(&mut import, DEADLINE)).await?;
    }
    let after = present(layout).await?;
    match images.iter().find(|image| !after.contains(&image.reference())) {
        None => Ok(()),
        Some(image) => bail!("{} holds no image with digest {}", image.path.display(), image.digest),
    }
}

/// An image with one program and nothing else, for pods of tests.
pub async fn program_image(name: &'static str, tool: Tool) -> Result<ImageArchive> {
    let image = system_image(name, tool, "65532").await?;
    let index = run(Command::new("tar").arg("-xOf").arg(&image.archive).arg("index.json"), DEADLINE).await?;
    let index: serde_json::Value = serde_json::from_str(&index)?;
    let digest =
        index["manifests"][0]["digest"].as_str().context("an archive without a manifest")?.to_owned();
    Ok(ImageArchive { path: image.archive, repository: format!("docker.io/tenantry-test/{name}"), digest })
}

/// `ctr` on the node's containerd.
fn ctr(layout: &Layout) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(layout.containerd_socket()).args(["--namespace", NAMESPACE]);
    command
}

async fn present(layout: &Layout) -> Result<Vec<String>> {
    let names = run(ctr(layout).args(["images", "ls", "-q"]), DEADLINE).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

async fn system_image(name: &'static str, tool: Tool, user: &str) -> Result<SystemImage> {
    let program = toolchain::binary(tool).await?;
    let containerfile = containerfile(name, user);
    let identity = program.to_str().context("the cache folder's path is not UTF-8")?;
    let tag = cache::content_hash([identity.as_bytes(), containerfile.as_bytes()]);
    let archive = cache::root()?.join("images").join(format!("node-{name}-{tag}.tar"));
    let image = SystemImage { name, tag, archive };
    if !image.archive.exists() {
        let _lock = files::lock(&image.archive.with_extension("lock"), "builds an image").await?;
        if !image.archive.exists() {
            progress::step(&format!("building image {name}"), build(&image, &program, &containerfile))
                .await?;
        }
    }
    Ok(image)
}

fn containerfile(name: &str, user: &str) -> String {
    format!("FROM scratch\nCOPY {name} /{name}\nUSER {user}:{user}\nENTRYPOINT [\"/{name}\"]\n")
}

async fn build(image: &SystemImage, program: &Path, containerfile: &str) -> Result<()> {
    let folder = image.archive.parent().context("an archive has a folder")?;
    let work = tempfile::tempdir_in(folder)?;
    fs::copy(program, work.path().join(image.name))?;
    fs::write(work.path().join("Containerfile"), containerfile)?;
    let reference = image.reference();
    run(buildah().args(["build", "--quiet", "--tag", &reference]).arg(work.path()), DEADLINE).await?;
    // The archive gets its name when it is complete.
    let part = work.path().join("image.tar");
    let target = format!("oci-archive:{}:{reference}", part.display());
    run(buildah().args(["push", "--quiet", &reference, &target]), DEADLINE).await?;
    fs::rename(&part, &image.archive)?;
    run(buildah().args(["rmi", "--force", &reference]), DEADLINE).await.map(|_| ())
}

fn buildah() -> Command {
    let mut command = Command::new("buildah");
    command.env("BUILDAH_ISOLATION", "chroot").env("STORAGE_DRIVER", "overlay");
    command
}
