//! Programs of others that a provider starts: those of this machine, and in tests stand-ins for what cannot be had.

use anyhow::Result;
use tokio::process::Command;

use crate::toolchain::{self, Tool};

/// Where a provider's programs come from.
#[derive(Clone, Debug, Default)]
pub(super) enum Programs {
    /// From this machine.
    #[default]
    Machine,
    /// From a folder, and from nowhere else.
    #[cfg(test)]
    StandIns(std::path::PathBuf),
}

impl Programs {
    /// A program by its name.
    pub(super) fn command(&self, name: &str) -> Command {
        match self {
            Self::Machine => Command::new(name),
            #[cfg(test)]
            Self::StandIns(folder) => {
                let mut command = Command::new(name);
                command.env("PATH", folder);
                command
            }
        }
    }

    /// The kubectl that belongs to this program, which is built when the cache does not have it.
    pub(super) async fn kubectl(&self) -> Result<Command> {
        match self {
            Self::Machine => Ok(Command::new(toolchain::binary(Tool::Kubectl).await?)),
            #[cfg(test)]
            Self::StandIns(_) => Ok(self.command("kubectl")),
        }
    }

    /// Makes sure that Debian packages are there.
    pub(super) async fn ensure_packages(&self, packages: &[&str]) -> Result<()> {
        match self {
            Self::Machine => toolchain::debian_packages(packages).await,
            #[cfg(test)]
            Self::StandIns(_) => Ok(()),
        }
    }
}

/// Scripts that write down how they were called and answer as a test says.
#[cfg(test)]
pub(super) mod stand_ins {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use tempfile::TempDir;

    use super::Programs;
    use crate::cluster::ImageArchive;

    /// A folder with stand-ins and the record of their calls.
    pub(in crate::cluster) struct StandIns(TempDir);

    impl StandIns {
        /// None yet.
        pub(in crate::cluster) fn new() -> Self {
            let folder = TempDir::new().unwrap();
            fs::create_dir(folder.path().join("bin")).unwrap();
            Self(folder)
        }

        /// What a provider is to use.
        pub(in crate::cluster) fn programs(&self) -> Programs {
            Programs::StandIns(self.path("bin"))
        }

        /// A file or folder of the test's own.
        pub(in crate::cluster) fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// A program that goes on with `script` after its call was written down. No other programs are on its PATH.
        pub(in crate::cluster) fn program(&self, name: &str, script: &str) {
            let calls = self.path("calls");
            let text = self.path(&format!("{name}.text"));
            let record = format!("printf '%s\\n' \"{name} $*\" >> '{}'", calls.display());
            fs::write(&text, format!("#!/bin/sh\n{record}\n{script}\n")).unwrap();
            // By another process: a file that this one has just written may still be open in a child that another test is
            // about to start, and such a file cannot be run.
            let installed = Command::new("install")
                .args(["-m", "755"])
                .args([text, self.path("bin").join(name)])
                .status();
            assert!(installed.unwrap().success());
        }

        /// The calls since this was last asked, in order; the test's folder stands as `TMP`.
        pub(in crate::cluster) fn calls(&self) -> Vec<String> {
            let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
            fs::write(self.path("calls"), "").unwrap();
            calls.lines().map(|call| call.replace(&self.0.path().display().to_string(), "TMP")).collect()
        }

        /// An archive that no program of this test looks into.
        pub(in crate::cluster) fn image(&self, name: &str) -> ImageArchive {
            let path = self.path(name);
            fs::write(&path, format!("archive of {name}")).unwrap();
            ImageArchive {
                path,
                repository: format!("docker.io/tenantry/{name}"),
                digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            }
        }
    }

    /// What is said when something fails, with its causes.
    pub(in crate::cluster) async fn failure<T>(work: impl Future<Output = anyhow::Result<T>>) -> String {
        match work.await {
            Ok(_) => panic!("it succeeded"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// The permissions of a file.
    pub(in crate::cluster) fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }
}
