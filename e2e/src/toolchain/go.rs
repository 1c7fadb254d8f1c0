//! Server binaries built from Go modules that are pinned in `e2e/cluster/<tool>/go.mod` and `go.sum`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::host::{command, files, progress};

use super::cache;

/// A cold build of Kubernetes takes 6 minutes on two cores; slower machines get time too.
const BUILD_DEADLINE: Duration = Duration::from_mins(40);
/// Lines of a failed build's log that the error quotes.
const TAIL_LINES: usize = 25;

/// A Go module that yields one or more binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// The Kubernetes components and `kubectl`.
    Kubernetes,
    /// The database of the API server.
    Etcd,
    /// Names of Services.
    CoreDns,
    /// Volumes in directories of the node.
    VolumeProvisioner,
    /// The container that holds a pod's namespaces.
    Pause,
    /// Looks a name up, in tests.
    Resolve,
    /// Installs charts.
    Helm,
    /// An object storage that speaks S3, on files.
    Versitygw,
}

/// A program that a module yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the programs' own")]
pub enum Tool {
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubelet,
    KubeProxy,
    Kubectl,
    Etcd,
    CoreDns,
    VolumeProvisioner,
    Pause,
    Resolve,
    Helm,
    Versitygw,
}

/// How a module is built.
struct Recipe {
    name: &'static str,
    /// How long a build on two cores takes when nothing is cached.
    cold: &'static str,
    packages: &'static [&'static str],
    /// Linker settings that stamp the version; Go does not know the version of a module's main package.
    stamp: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// The files of one module, part of this program so that it needs no checkout.
macro_rules! files {
    ($folder:literal, $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../cluster/", $folder, "/", $file)))),+]
    };
}

impl Module {
    fn recipe(self) -> Recipe {
        match self {
            Self::Kubernetes => Recipe {
                name: "kubernetes",
                cold: "6 minutes",
                packages: &[
                    "k8s.io/kubernetes/cmd/kube-apiserver",
                    "k8s.io/kubernetes/cmd/kube-controller-manager",
                    "k8s.io/kubernetes/cmd/kube-scheduler",
                    "k8s.io/kubernetes/cmd/kubelet",
                    "k8s.io/kubernetes/cmd/kube-proxy",
                    "k8s.io/kubernetes/cmd/kubectl",
                ],
                stamp: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
                        -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
                files: files!("kubernetes", "go.mod", "go.sum"),
            },
            Self::Etcd => Recipe {
                name: "etcd",
                cold: "30 seconds",
                packages: &["."],
                stamp: "",
                files: files!("etcd", "go.mod", "go.sum", "main.go"),
            },
            Self::CoreDns => Recipe {
                name: "coredns",
                cold: "2 minutes",
                packages: &["."],
                stamp: "",
                files: files!("coredns", "go.mod", "go.sum", "main.go"),
            },
            Self::VolumeProvisioner => Recipe {
                name: "volume-provisioner",
                cold: "1 minute",
                packages: &["."],
                stamp: "",
                files: files!("volume-provisioner", "go.mod", "go.sum", "main.go"),
            },
            Self::Pause => Recipe {
                name: "pause",
                cold: "2 seconds",
                packages: &["."],
                stamp: "",
                files: files!("pause", "go.mod", "main.go"),
            },
            Self::Resolve => Recipe {
                name: "resolve",
                cold: "10 seconds",
                packages: &["."],
                stamp: "",
                files: files!("resolve", "go.mod", "main.go"),
            },
            Self::Helm => Recipe {
                name: "helm",
                cold: "2 minutes",
                packages: &["helm.sh/helm/v4/cmd/helm"],
                stamp: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
                files: files!("helm", "go.mod", "go.sum"),
            },
            Self::Versitygw => Recipe {
                name: "versitygw",
                cold: "1 minute",
                packages: &["github.com/versity/versitygw/cmd/versitygw"],
                stamp: "-X main.Version=v1.8.0",
                files: files!("versitygw", "go.mod", "go.sum"),
            },
        }
    }
}

impl Tool {
    pub(super) fn module(self) -> Module {
        match self {
            Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::KubeProxy
            | Self::Kubectl => Module::Kubernetes,
            Self::Etcd => Module::Etcd,
            Self::CoreDns => Module::CoreDns,
            Self::VolumeProvisioner => Module::VolumeProvisioner,
            Self::Pause => Module::Pause,
            Self::Resolve => Module::Resolve,
            Self::Helm => Module::Helm,
            Self::Versitygw => Module::Versitygw,
        }
    }

    /// The name under which `go build` leaves the program.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Kubectl => "kubectl",
            Self::Etcd => "etcd",
            Self::CoreDns => "coredns",
            Self::VolumeProvisioner => "volume-provisioner",
            Self::Pause => "pause",
            Self::Resolve => "resolve",
            Self::Helm => "helm",
            Self::Versitygw => "versitygw",
        }
    }
}

impl Recipe {
    /// The folder in the cache: its name changes with everything that goes into the build.
    fn folder(&self) -> Result<PathBuf> {
        let inputs = self.files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let flags = [self.stamp.as_bytes()];
        let hash = cache::content_hash(inputs.chain(flags));
        Ok(cache::root()?.join("bin").join(format!("{}-{hash}", self.name)))
    }
}

/// The folder with a module's binaries, built when it is not there.
pub(super) async fn ensure(module: Module) -> Result<PathBuf> {
    let recipe = module.recipe();
    let folder = recipe.folder()?;
    if folder.exists() {
        return Ok(folder);
    }
    let _lock = files::lock(&folder.with_extension("lock"), &format!("builds {}", recipe.name)).await?;
    if folder.exists() {
        return Ok(folder);
    }
    let what = format!("building {} from its Go module (about {} the first time)", recipe.name, recipe.cold);
    progress::step(&what, build(&recipe, &folder)).await?;
    Ok(folder)
}

/// Builds in a folder of its own that takes the final name only when it is complete.
async fn build(recipe: &Recipe, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("a cache folder has a parent")?;
    let work = tempfile::Builder::new().prefix(&format!(".{}-", recipe.name)).tempdir_in(parent)?;
    let (source, output) = (work.path().join("source"), work.path().join("output"));
    fs::create_dir(&source)?;
    fs::create_dir(&output)?;
    for (name, text) in recipe.files {
        fs::write(source.join(name), text)?;
    }
    let log = folder.with_extension("log");
    let log_file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut go = Command::new("go");
    go.current_dir(&source)
        .args(["build", "-buildvcs=false", "-trimpath"])
        .arg(format!("-ldflags=-s -w {}", recipe.stamp).trim_end())
        .arg("-o")
        .arg(format!("{}/", output.display()))
        .args(recipe.packages)
        .env("CGO_ENABLED", "0")
        .env("GOPROXY", proxy().await?)
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file)
        .kill_on_drop(true);
    let mut child = go.spawn().context("cannot start `go`")?;
    let status = tokio::time::timeout(BUILD_DEADLINE, child.wait()).await.with_context(|| {
        format!("no end after {} minutes; see {}", BUILD_DEADLINE.as_secs() / 60, log.display())
    })??;
    if !status.success() {
        let text = files::read_tail(&log, 16 * 1024).unwrap_or_default();
        bail!("`go build` failed; end of {}:\n{}", log.display(), command::tail(&text, TAIL_LINES));
    }
    fs::rename(&output, folder).with_context(|| format!("cannot keep {}", folder.display()))
}

/// The machine's Go proxy alone: with `direct` in the list, a missing module would be looked for at its origin.
async fn proxy() -> Result<String> {
    let configured =
        command::run(Command::new("go").args(["env", "GOPROXY"]), Duration::from_secs(30)).await.context(
            "Go 1.26 or newer is needed to build the cluster's programs: install it from https://go.dev/dl",
        )?;
    Ok(without_direct(configured.trim()))
}

fn without_direct(proxies: &str) -> String {
    let kept: Vec<&str> = proxies.split([',', '|']).filter(|proxy| *proxy != "direct").collect();
    kept.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_is_taken_out_of_the_proxy_list() {
        assert_eq!(without_direct("https://proxy.example,direct"), "https://proxy.example");
        assert_eq!(
            without_direct("https://a.example|https://b.example"),
            "https://a.example,https://b.example"
        );
    }

    #[test]
    fn a_folder_is_named_by_what_goes_into_it() {
        let recipe = Module::Etcd.recipe();
        let changed = Recipe { stamp: "-X main.version=2", ..Module::Etcd.recipe() };
        assert_eq!(recipe.folder().unwrap(), Module::Etcd.recipe().folder().unwrap());
        assert_ne!(recipe.folder().unwrap(), changed.folder().unwrap());
    }

    #[test]
    fn every_tool_is_built_by_its_module() {
        for tool in
            [Tool::Kubectl, Tool::Kubelet, Tool::KubeProxy, Tool::KubeScheduler, Tool::Helm, Tool::Versitygw]
        {
            let packages = tool.module().recipe().packages;
            assert!(packages.iter().any(|package| package.ends_with(tool.file_name())), "{tool:?}");
        }
    }
}
