//! The gateway as it is shipped: the binary in a process of its own, whose memory is nobody else's.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    kubernetes::{Api, table},
    support::{TestBody, eventually, listener, raw, sum},
};

/// A running gateway; it ends when dropped.
pub(crate) struct Process {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    management: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Process {
    /// Starts `operator gateway` with these flags, and waits until it has read its routes.
    pub(crate) async fn start(flags: &[&str], routes: &[Value]) -> Self {
        let api = Api::new();
        api.put("ConfigMap", "routes", &table(routes));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, leading_to(api.listen().await)).unwrap();
        // All three are held until the last one is found, so that no two are the same.
        let held = [listener().await, listener().await, listener().await];
        let [http, https, management] = held.map(|listener| listener.local_addr().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_operator"))
            .args(["gateway", "--base-domain", "crm.localhost"])
            .args(["--http", &http.to_string(), "--https", &https.to_string()])
            .args(["--management", &management.to_string()])
            .args(flags)
            .env("KUBECONFIG", &kubeconfig)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { http, https, management, child, _folder: folder };
        eventually("the gateway to read its routes", async || {
            TcpStream::connect(management).await.is_ok() && process.manage("/readyz").await.contains(" 200 ")
        })
        .await;
        process
    }

    /// A connection for one request after the other.
    pub(crate) async fn connection(&self) -> SendRequest<TestBody> {
        let stream = TcpStream::connect(self.http).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// The sum of all series whose text starts so, or zero.
    pub(crate) async fn metric(&self, start: &str) -> usize {
        sum(&self.manage("/metrics").await, start)
    }

    /// Makes the kernel measure the peak of resident memory anew.
    pub(crate) fn begin_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// The peak of resident memory since then.
    pub(crate) fn peak_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    }

    async fn manage(&self, path: &str) -> String {
        raw(self.management, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is what the test is about to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A kubeconfig for an API server without TLS. JSON is YAML.
fn leading_to(server: SocketAddr) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })
    .to_string()
}
