//! Kubeconfig files, complete in themselves: certificates are inside, so that a file can be copied anywhere.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::{pki::Leaf, server_parts::ADMINISTRATORS};
use crate::host::files;

/// No request of a tool or a test takes longer; watches are ended by the server before.
const READ_TIMEOUT: Duration = Duration::from_mins(6);

/// The chart's `breakGlassGroup`, unless its values say otherwise.
const BREAK_GLASS: &str = "tenantry:break-glass";

/// Writes the kubeconfig of one identity on one server.
pub(crate) fn write(
    path: &Path,
    context: &str,
    server: &str,
    authority: &str,
    identity: &Leaf,
) -> Result<()> {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": data(authority)}}],
        "users": [{"name": context, "user": {
            "client-certificate-data": data(&identity.certificate),
            "client-key-data": data(&identity.key),
        }}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    });
    // JSON is YAML: every reader of kubeconfig files takes it.
    files::write_atomically(path, format!("{config:#}\n").as_bytes())
}

/// A client for the cluster and identity of a kubeconfig file, in its current context.
pub async fn client(path: &Path) -> Result<Client> {
    Ok(Client::try_from(config(path).await?)?)
}

/// The same client in the role of an administrator who has joined the group that the chart's policies let pass.
pub async fn break_glass(path: &Path) -> Result<Client> {
    let mut config = config(path).await?;
    config.auth_info.impersonate = Some("sre".to_owned());
    config.auth_info.impersonate_groups = Some([ADMINISTRATORS, BREAK_GLASS].map(str::to_owned).into());
    Ok(Client::try_from(config)?)
}

async fn config(path: &Path) -> Result<Config> {
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("{} is no usable kubeconfig", path.display()))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(READ_TIMEOUT);
    // A cluster on loopback is never behind a proxy.
    config.proxy_url = None;
    install_crypto();
    Ok(config)
}

/// Chooses the TLS implementation of this process; a second call changes nothing.
pub fn install_crypto() {
    // An error means that it has been chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
