//! The gateway that is measured: a process of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    api::Api,
    load::{self, HOSTNAME},
};

/// Large enough for what the benchmark sends up.
const MAX_BODY_BYTES: u64 = 16 << 30;
/// `/proc` counts CPU time in hundredths of a second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a start may take.
const START: Duration = Duration::from_secs(20);

/// A running gateway. It dies with the thread that started it, and when it is dropped.
pub(super) struct Edge {
    pub(super) address: SocketAddr,
    child: Child,
    pid: u32,
    _api: Api,
    _folder: TempDir,
}

impl Edge {
    /// Starts `executable gateway` with one route, to the backend.
    pub(super) async fn start(executable: &Path, backend: SocketAddr) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tenantry-bench-").tempdir()?;
        let (kubeconfig, log) = (folder.path().join("kubeconfig"), folder.path().join("log"));
        let route = json!({"host": HOSTNAME, "tenant": "bench", "upstream": backend.to_string(),
                           "state": "Active", "locale": "en"});
        let api = Api::start(&json!({"version": 1, "routes": [route]}), &kubeconfig).await?;
        let [http, https, management] = free_addresses()?;
        let output = File::create(&log)?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(executable)
            .args(["gateway", "--base-domain", "crm.localhost"])
            .args(["--max-body-bytes", &MAX_BODY_BYTES.to_string()])
            .args(["--http", &http.to_string(), "--https", &https.to_string()])
            .args(["--management", &management.to_string()])
            .env("KUBECONFIG", &kubeconfig)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the gateway")?;
        let pid = child.id().context("the gateway ended at once")?;
        let ready = async {
            let mut turns = tokio::time::interval(Duration::from_millis(20));
            loop {
                turns.tick().await;
                if let Some(status) = child.try_wait()? {
                    bail!("the gateway ended: {status}");
                }
                // Until it listens, it cannot be connected to; until it has read its routes, it says that it is not ready.
                if load::is_ready(management).await.is_ok() {
                    return Ok(());
                }
            }
        };
        timeout(START, ready)
            .await
            .unwrap_or_else(|_| Err(anyhow!("the gateway was not ready within {} s", START.as_secs())))
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { address: http, child, pid, _api: api, _folder: folder })
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end the gateway")
    }

    /// CPU time that it has used so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The second field, the program's name, may hold spaces; the third follows its bracket.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2));
        let ticks = fields.into_iter().flatten().map(str::parse::<f64>).sum::<Result<f64, _>>();
        Ok(ticks.context("cannot read /proc/PID/stat")? / TICKS_PER_SECOND)
    }

    /// Its resident memory now, in bytes; the peak is counted anew from here.
    pub(super) fn begin_peak(&self) -> Result<u64> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")?;
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Edge::begin_peak`], in bytes.
    pub(super) fn peak(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
        let Some(value) = value else { bail!("/proc/PID/status has no {field}") };
        Ok(1024 * value.parse::<u64>()?)
    }
}

/// Addresses on which nobody listens at this moment.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    // All are held until the last one is found, or they could be the same.
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 3];
    for (address, listener) in addresses.iter_mut().zip(held) {
        *address = listener?.local_addr()?;
    }
    Ok(addresses)
}
