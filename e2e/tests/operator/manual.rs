//! The manual, followed word by word.

use std::{env::join_paths, fs, path::Path, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use e2e::{
    host::command,
    toolchain::{self, Tool},
};
use futures::StreamExt as _;
use k8s_openapi::{
    api::{admissionregistration::v1::ValidatingAdmissionPolicy, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use operator::api::{
    Tenant, TenantTombstone,
    conditions::{BACKUPS_REMOVED, KEY_DESTROYED, find},
};
use serde_json::json;
use tokio::process::Command;

use crate::lab::{Lab, tenant};

/// The commands under a heading of `docs/install.md` that come after some words there.
fn commands(heading: &str, words: &str) -> Result<String> {
    let manual = fs::read_to_string(toolchain::workspace().join("docs/install.md"))?;
    let after = |text: &str, words: &str| {
        text.split_once(words)
            .map(|(_, rest)| rest.to_owned())
            .with_context(|| format!("no {words:?} in the manual"))
    };
    let block = after(&after(&after(&manual, &format!("\n## {heading}\n"))?, words)?, "\n```sh\n")?;
    Ok(block.split("\n```").next().unwrap_or_default().to_owned())
}

/// Runs them as somebody would who has kubectl and helm, and stops at the first that fails.
async fn follow(commands: &str, kubeconfig: &Path) -> Result<String> {
    let tools = [toolchain::binary(Tool::Kubectl).await?, toolchain::binary(Tool::Helm).await?];
    let mut path: Vec<_> = tools.iter().filter_map(|tool| tool.parent()).map(Path::to_path_buf).collect();
    path.extend(["/usr/bin".into(), "/bin".into()]);
    let mut shell = Command::new("bash");
    shell
        .args(["-euxc", commands])
        .env("PATH", join_paths(path)?)
        .env("KUBECONFIG", kubeconfig)
        .env("USER", "sre");
    command::run(&mut shell, Duration::from_mins(2)).await
}

/// Does what the door of the stores would do, which is not there: says of each tenant whose key is destroyed that its backups
/// are removed.
async fn remove_backups(client: &Client) -> Result<()> {
    let tombstones: Api<TenantTombstone> = Api::all(client.clone());
    let mut seen = pin!(watcher(tombstones.clone(), watcher::Config::default()).applied_objects());
    while let Some(tombstone) = seen.next().await {
        // When the kind itself is removed, the watch fails.
        let Ok(tombstone) = tombstone else { continue };
        let conditions =
            tombstone.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        if find(&conditions, KEY_DESTROYED).is_none() || find(&conditions, BACKUPS_REMOVED).is_some() {
            continue;
        }
        let removed = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone",
            "status": { "conditions": [{
                "type": BACKUPS_REMOVED, "status": "True", "reason": "Removed", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] },
        });
        let apply = PatchParams::apply("tenantry-store");
        tombstones.patch_status(&tombstone.name_any(), &apply, &Patch::Apply(removed)).await?;
    }
    bail!("the watch of tombstones ended")
}

#[tokio::test]
async fn removing_everything_leaves_nothing() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.create::<Tenant>(tenant("bluesky")).await?;
    lab.until_ready("bluesky").await?;

    let commands = commands("Removing Tenantry", "To remove everything")?;
    tokio::select! {
        followed = follow(&commands, lab.control_plane.kubeconfig()) => println!("{}", followed?),
        ended = remove_backups(&lab.client) => ended?,
    }

    let everything = ListParams::default();
    let namespaces = Api::<Namespace>::all(lab.client.clone()).list(&everything).await?;
    let ours = |name: &String| name.starts_with("tenant");
    let left: Vec<_> = namespaces.iter().map(kube::ResourceExt::name_any).filter(ours).collect();
    assert!(left.is_empty(), "namespaces are left: {left:?}");
    let definitions = Api::<CustomResourceDefinition>::all(lab.client.clone()).list(&everything).await?;
    let left: Vec<_> = definitions.iter().map(kube::ResourceExt::name_any).collect();
    assert!(left.is_empty(), "definitions are left: {left:?}");
    let policies = Api::<ValidatingAdmissionPolicy>::all(lab.client.clone()).list(&everything).await?;
    assert!(policies.items.is_empty(), "policies are left");
    Ok(())
}
