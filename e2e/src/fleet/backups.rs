//! Where the backups of a fleet on this machine go: a volume of the cluster, and a recovery key that stays outside of it.

use std::{fs, path::PathBuf};

use age::secrecy::ExposeSecret as _;
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use operator::api::BackupStore;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{cluster, helm, host::files};

/// Name of the `BackupStore` that the sample plans name.
pub const STORE: &str = "local";
/// Name of its volume claim.
pub(super) const CLAIM: &str = "backups";
const SIZE: &str = "2Gi";

/// Makes the volume claim, in the namespace where the chart will be: the backup door mounts it when it starts.
pub(super) async fn make_claim(client: &Client) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": helm::NAMESPACE}});
    apply(&Api::<Namespace>::all(client.clone()), helm::NAMESPACE, namespace).await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": helm::NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": SIZE}}},
    });
    apply(&Api::<PersistentVolumeClaim>::namespaced(client.clone(), helm::NAMESPACE), CLAIM, claim).await
}

/// Makes the `BackupStore`, with the public half of the recovery key.
pub(super) async fn make_store(client: &Client, cluster: &str) -> Result<()> {
    let recipient = recovery_key(cluster)?.to_public().to_string();
    let store = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": STORE},
        "spec": {"volume": {"claim": CLAIM}, "recoveryRecipients": [recipient]},
    });
    apply(&Api::<BackupStore>::all(client.clone()), STORE, store).await
}

/// The key that can read every backup of the fleet on the cluster of this name; made the first time.
pub fn recovery_key(cluster: &str) -> Result<age::x25519::Identity> {
    let path = recovery_key_file(cluster)?;
    if !path.exists() {
        let key = age::x25519::Identity::generate().to_string();
        files::write_atomically(&path, key.expose_secret().as_bytes())?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|why: &str| anyhow::anyhow!("{} is no key of age: {why}", path.display()))
}

/// Where that key is kept, in the form of `age-keygen`.
pub fn recovery_key_file(cluster: &str) -> Result<PathBuf> {
    Ok(cluster::state_directory(cluster)?.join("recovery.key"))
}

async fn apply<K>(api: &Api<K>, name: &str, object: Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let parameters = PatchParams::apply("tenantry-demo").force();
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot make {name}"))?;
    Ok(())
}
