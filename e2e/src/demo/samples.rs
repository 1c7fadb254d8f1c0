//! The sample plans and tenants of `deploy/samples`, read strictly with the operator's own types.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::{Plan, Tenant};
use serde::de::DeserializeOwned;

use crate::{fleet::Installed, toolchain};

/// Files of the demo's tenants, in the order in which they are printed.
const TENANTS: [&str; 3] = ["tenant-acme.yaml", "tenant-bluesky.yaml", "tenant-hangzhou.yaml"];

/// Applies the plans that the tenants refer to.
pub(super) async fn apply_plans(installed: &Installed) -> Result<()> {
    let plans: Api<Plan> = Api::all(installed.client().await?);
    for plan in parse::<Plan>("plans.yaml")? {
        let name = plan.metadata.name.clone().context("a sample plan has no name")?;
        plans.patch(&name, &PatchParams::apply("tenantry-demo").force(), &Patch::Apply(plan)).await?;
    }
    Ok(())
}

/// The demo's tenants, all of them on the release that was built from this checkout.
pub(super) fn tenants(installed: &Installed) -> Result<Vec<Tenant>> {
    let mut tenants = Vec::new();
    for file in TENANTS {
        tenants.extend(parse::<Tenant>(file)?);
    }
    for tenant in &mut tenants {
        tenant.spec.channel = None;
        tenant.spec.release = Some(installed.release.clone());
    }
    Ok(tenants)
}

fn parse<K: DeserializeOwned>(file: &str) -> Result<Vec<K>> {
    let path: PathBuf = toolchain::workspace().join("deploy/samples").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not as it should be", path.display()))
}
