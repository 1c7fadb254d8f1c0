//! Puts Tenantry on a cluster with Helm, as a user would.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use operator::api::{Release, ReleaseSchema, ReleaseSpec};
use serde_json::{Value, json};

use super::{Installed, backups};
use crate::{
    cluster::{Cluster, Forward, ImageArchive, kubeconfig},
    helm::{self, Pods},
    images::{self, Images, TestImage},
};

const GATEWAY_NAMESPACE: &str = "tenantry-gateway";
/// Chromium and curl resolve `*.localhost` to loopback by themselves.
const BASE_DOMAIN: &str = "crm.localhost";
const CHART: Duration = Duration::from_mins(2);

/// Loads the images, installs or upgrades the chart, and creates the store of backups and the `Release` of the CRM in this
/// checkout. Releases that only tests run are loaded; tests create them.
///
/// `port` is the loopback port of the gateway: it is part of every tenant's address, so it is fixed at installation.
///
/// # Errors
/// When Helm does not finish; the message carries what Helm said.
pub async fn install(
    name: &str,
    cluster: &impl Cluster,
    images: &Images,
    test_images: &[TestImage],
    port: u16,
) -> Result<Installed> {
    let client = kubeconfig::client(cluster.kubeconfig()).await?;
    backups::make_claim(&client).await?;
    let product = [&images.operator, &images.crm_app, &images.postgres];
    let archives: Vec<ImageArchive> =
        product.into_iter().chain(test_images.iter().map(|image| &image.archive)).cloned().collect();
    cluster.load_images(&archives).await?;
    helm::install(cluster.kubeconfig(), &values(cluster, images, port), Pods::Await(CHART)).await?;
    let gateway = Forward {
        namespace: GATEWAY_NAMESPACE.into(),
        service: "gateway".into(),
        port: 80,
        local_port: port,
    };
    let mut installed = Installed {
        cluster: name.into(),
        kubeconfig: cluster.kubeconfig().into(),
        gateway: cluster.forward(&gateway).await?,
        base_domain: BASE_DOMAIN.into(),
        release: String::new(),
        crm_image: cluster.image_reference(&images.crm_app),
        postgres_image: cluster.image_reference(&images.postgres),
        test_images: test_images
            .iter()
            .map(|image| (image.release, cluster.image_reference(&image.archive)))
            .collect(),
    };
    backups::make_store(&client, name).await?;
    installed.release = create_release(&client, &images.crm_app, &installed.crm_image).await?;
    installed.save()?;
    Ok(installed)
}

/// The chart's values for a cluster on this machine.
fn values(cluster: &impl Cluster, images: &Images, port: u16) -> Value {
    let references = [&images.crm_app, &images.postgres].map(|image| cluster.image_reference(image));
    let repositories = references.map(|reference| reference.split('@').next().unwrap_or_default().to_owned());
    json!({
        "baseDomain": BASE_DOMAIN,
        "publicScheme": "http",
        "publicPort": port,
        "images": { "operator": cluster.image_reference(&images.operator), "postgres": cluster.image_reference(&images.postgres) },
        "gateway": { "replicas": 1 },
        "store": { "claims": [backups::CLAIM] },
        "allowedImages": repositories,
    })
}

/// Creates the `Release` of the CRM image, unless it is there. Releases are immutable, so the name carries the digest.
async fn create_release(client: &Client, image: &ImageArchive, reference: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let digest = image.digest.trim_start_matches("sha256:").get(..8).context("the image has no digest")?;
    let name = format!("{version}-{digest}");
    let spec = ReleaseSpec {
        version: version.into(),
        image: reference.into(),
        schema: ReleaseSchema { version: images::product_schema()?, min_app_schema: Some(1) },
        upgrades_from: None,
        notes: Some("Built from this checkout.".into()),
    };
    let releases: Api<Release> = Api::all(client.clone());
    releases
        .patch(&name, &PatchParams::apply("tenantry-demo"), &Patch::Apply(Release::new(&name, spec)))
        .await?;
    Ok(name)
}
