//! The operator that is measured: a process of its own, as in its image, talking to the API server directly.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    faults::number,
    host::wait::{Look, Wait},
};

/// The log level that the chart sets.
const LOG: &str = "info";
/// What it takes to start or stop, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// How the operator is started.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Program {
    pub(in crate::bench) executable: PathBuf,
    /// The subcommand and its arguments, but for the address.
    pub(in crate::bench) arguments: Vec<String>,
    pub(in crate::bench) kubeconfig: PathBuf,
    pub(in crate::bench) log: PathBuf,
}

/// A running operator. It dies with the thread that started it, and when it is dropped.
pub(in crate::bench) struct Subject {
    child: Child,
    pid: u32,
    address: String,
    started: Instant,
    log: PathBuf,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Usage {
    /// The most memory that it ever had, in bytes.
    pub(in crate::bench) peak: u64,
    /// The memory that it has now, in bytes.
    pub(in crate::bench) resident: u64,
    /// Processor time since its start.
    pub(in crate::bench) cpu: Duration,
}

impl Subject {
    /// Starts the operator.
    pub(in crate::bench) fn start(program: &Program) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
        let log = fs::OpenOptions::new().create(true).append(true).open(&program.log)?;
        let started = Instant::now();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&program.executable)
            .args(&program.arguments)
            .args(["--listen", &address])
            .env("KUBECONFIG", &program.kubeconfig)
            .env("RUST_LOG", LOG)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.executable.display()))?;
        let pid = child.id().context("the operator ended at once")?;
        Ok(Self { child, pid, address, started, log: program.log.clone() })
    }

    /// When it was started.
    pub(in crate::bench) fn started(&self) -> Instant {
        self.started
    }

    /// Starts the operator again: the next one begins when this one is gone.
    pub(in crate::bench) async fn restart(&mut self, program: &Program) -> Result<()> {
        self.stop().await?;
        *self = Self::start(program)?;
        Ok(())
    }

    /// Ends it as Kubernetes does, and waits until it is gone.
    async fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM).context("cannot stop the operator")?;
        timeout(DEADLINE, self.child.wait()).await.context("the operator did not stop")??;
        Ok(())
    }

    /// Waits until it has seen everything, has looked at so many tenants at least, and has nothing left to do.
    pub(in crate::bench) async fn until_steady(&mut self, tenants: usize) -> Result<()> {
        let wait = Wait::new(format!("the operator to have looked at {tenants} tenants"), DEADLINE);
        let log = self.log.clone();
        wait.explained_by(&log)
            .until(async || {
                if let Some(status) = self.child.try_wait()? {
                    return Ok(Look::Never(format!("the operator ended by itself: {status}")));
                }
                let ready = reqwest::get(format!("http://{}/readyz", self.address)).await?.status();
                let metrics = self.metrics().await?;
                let value = |name: &str| number(&metrics, name).unwrap_or(f64::INFINITY);
                let looks = number(&metrics, "tenantry_reconcile_duration_seconds_count").unwrap_or(0.0);
                let (busy, queued) =
                    (value("tenantry_reconciles_in_progress"), value("tenantry_queue_length"));
                #[expect(clippy::cast_precision_loss, reason = "there are far fewer tenants")]
                let steady = ready.is_success() && tenants as f64 <= looks && busy < 1.0 && queued < 1.0;
                let state = || format!("{looks} looks, {busy} under way, {queued} waiting");
                Ok(if steady { Look::Done(()) } else { Look::NotYet(state()) })
            })
            .await
    }

    /// What `/metrics` says.
    pub(in crate::bench) async fn metrics(&self) -> Result<String> {
        Ok(reqwest::get(format!("http://{}/metrics", self.address)).await?.text().await?)
    }

    /// What the kernel says of it.
    pub(in crate::bench) fn usage(&self) -> Result<Usage> {
        let folder = Path::new("/proc").join(self.pid.to_string());
        let read = |file: &str| {
            fs::read_to_string(folder.join(file))
                .with_context(|| format!("cannot read {file} of the operator"))
        };
        usage(&read("status")?, &read("stat")?)
    }
}

/// Reads `/proc/PID/status` and `/proc/PID/stat`.
fn usage(status: &str, stat: &str) -> Result<Usage> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).with_context(|| format!("{name} is missing"))
    };
    // The program's name is in parentheses and may contain anything; user and system time are the 12th and 13th after it.
    let Some((_, numbers)) = stat.rsplit_once(')') else { bail!("not a line of /proc/PID/stat: {stat}") };
    let ticks = numbers.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    let cpu = Duration::from_millis(ticks * 1000 / per_second.max(1));
    Ok(Usage { peak: bytes("VmHWM")?, resident: bytes("VmRSS")?, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let status = "Name:\toperator\nVmPeak:\t  999 kB\nVmHWM:\t   300 kB\nVmRSS:\t   200 kB\n";
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 100 1000 50";
        let usage = usage(status, stat).unwrap();
        assert_eq!((usage.peak, usage.resident), (300 * 1024, 200 * 1024));
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(usage.cpu, Duration::from_millis(200 * 1000 / ticks));
        assert!(super::usage("", stat).is_err());
    }
}
