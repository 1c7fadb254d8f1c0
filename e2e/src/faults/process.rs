//! The operator under test: a process of its own, so that killing it leaves it no chance to tidy up.

use std::{
    fs::OpenOptions,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// What is logged, to be quoted when something goes wrong.
const LOG: &str = "info,operator=debug,kube_client=off";

/// How the operator is started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The `e2e` binary, which can be the operator, too.
    pub(super) executable: PathBuf,
    /// In which way it is broken on purpose.
    pub(super) mutant: Option<&'static str>,
    pub(super) kubeconfig: PathBuf,
    pub(super) log: PathBuf,
}

/// A running operator. It dies with the thread that started it, and when it is dropped.
pub(super) struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts the operator with the arguments of the tests' installation.
    pub(super) fn start(program: &Program) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
        let log = OpenOptions::new().create(true).append(true).open(&program.log)?;
        let postgres = format!("docker.io/tenantry/postgres@sha256:{}", "9".repeat(64));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&program.executable).arg("operator");
        if let Some(mutant) = program.mutant {
            command.args(["--mutant", mutant]);
        }
        command.args(["--postgres-image", &postgres, "--public-scheme", "http", "--public-port", "8080"]);
        let child = command
            .args(["--listen", &address])
            .env("KUBECONFIG", &program.kubeconfig)
            .env("RUST_LOG", LOG)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.executable.display()))?;
        Ok(Self { child, address })
    }

    /// Ends it by SIGKILL, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the operator")
    }

    /// Whether it has seen the whole cluster and has nothing to do; an error when it has ended by itself.
    pub(super) async fn is_idle(&mut self) -> Result<bool> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the operator ended by itself: {status}");
        }
        let ready = reqwest::get(format!("http://{}/readyz", self.address)).await?.status();
        let metrics = reqwest::get(format!("http://{}/metrics", self.address)).await?.text().await?;
        let nothing = |name: &str| number(&metrics, name).is_some_and(|number| number < 1.0);
        Ok(ready.is_success()
            && nothing("tenantry_reconciles_in_progress")
            && nothing("tenantry_queue_length"))
    }
}

/// A number out of the text format of Prometheus.
pub(crate) fn number(metrics: &str, name: &str) -> Option<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.parse().ok()
}

/// Whether a log is there to be quoted.
pub(super) fn touch(log: &Path) -> Result<()> {
    OpenOptions::new().create(true).append(true).open(log).map(drop).context("cannot make the operator's log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let metrics = "# TYPE a gauge\na_more 1\na 2\n";
        assert_eq!(number(metrics, "a"), Some(2.0));
        assert_eq!(number(metrics, "b"), None);
    }
}
