//! A tenant that is made from another's backup reads that one's, for as long as its namespace says so.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{
    cluster::kubeconfig,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::{names, store::AUDIENCE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{Lab, STORES, id, ids, now};

const ACME: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000001";
const BLUESKY: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000002";
const COBALT: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000003";
/// How long the door may believe what it knows of a token (docs/ARCHITECTURE.md).
const BELIEVED: Duration = Duration::from_secs(20);

/// Writes the annotation as the operator would.
async fn annotate(lab: &Lab, namespace: &str, value: Value) -> Result<()> {
    let client = kubeconfig::break_glass(lab.control_plane.kubeconfig()).await?;
    let patch = json!({"metadata": {"annotations": {names::RESTORE_FROM: value}}});
    let params = PatchParams::default();
    Api::<Namespace>::all(client).patch(namespace, &params, &Patch::Merge(patch)).await?;
    Ok(())
}

#[tokio::test]
async fn the_prefix_that_the_namespace_names_can_be_read_and_nothing_else() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", ACME).await?;
    let bluesky = lab.tenant("bluesky", BLUESKY).await?;
    let cobalt = lab.tenant("cobalt", COBALT).await?;
    let (first, second) = ids();
    annotate(&lab, "tenant-acme", json!(format!("bluesky/{BLUESKY}"))).await?;
    for store in STORES {
        lab.put_backup(&bluesky, store, first, b"of bluesky").await?;
        lab.put_backup(&cobalt, store, first, b"of cobalt").await?;
        let get = async |path: String| lab.send(Method::GET, &acme.token, &path, "").await;
        let list: Value = get(bluesky.path(store, "")).await?.json().await?;
        assert_eq!(list["backups"][0]["id"], first, "{store}");
        let data = get(bluesky.path(store, &format!("{first}/data"))).await?;
        assert_eq!(data.bytes().await?, "of bluesky", "{store}");
        let text = get(bluesky.path(store, &format!("{first}/manifest.json"))).await?;
        assert_eq!(text.json::<Value>().await?["tenant"]["name"], "bluesky", "{store}");
        // Its own is its own as before.
        lab.put_backup(&acme, store, second, b"of acme").await?;
        assert_eq!(lab.list(&acme, store).await?, [second]);

        let earlier = format!("/v1/{store}/bluesky/{ACME}");
        for (method, path) in [
            (Method::PUT, bluesky.path(store, &format!("{}/data", id(now(), "cccccc")))),
            (Method::PUT, bluesky.path(store, &format!("{first}/data"))),
            (Method::GET, cobalt.path(store, "")),
            (Method::GET, cobalt.path(store, &format!("{first}/data"))),
            (Method::GET, earlier),
        ] {
            let (status, reason, _) = lab.refusal(method.clone(), &acme.token, &path, "x").await?;
            assert_eq!((status, reason.as_str()), (StatusCode::FORBIDDEN, "Forbidden"), "{method} {path}");
        }
        let data = bluesky.path(store, &format!("{first}/data"));
        let (status, _, _) = lab.refusal(Method::DELETE, &acme.token, &data, "").await?;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        // It is not mutual.
        let theirs = acme.path(store, "");
        let (status, _, _) = lab.refusal(Method::GET, &bluesky.token, &theirs, "").await?;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_written_as_it_should_be_allows_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", ACME).await?;
    let bluesky = lab.tenant("bluesky", BLUESKY).await?;
    for written in ["bluesky", "*/*", "bluesky/*", "bluesky/..", &format!("bluesky/{BLUESKY}/"), ""] {
        annotate(&lab, "tenant-acme", json!(written)).await?;
        // A new token, of which the door knows nothing yet.
        let token = lab.token("tenant-acme", "store", &[AUDIENCE]).await?;
        let path = bluesky.path("volume", "");
        let (status, _, _) = lab.refusal(Method::GET, &token, &path, "").await?;
        assert_eq!(status, StatusCode::FORBIDDEN, "{written:?}");
        let own = lab.send(Method::GET, &token, &acme.path("volume", ""), "").await?;
        assert_eq!(own.status(), StatusCode::OK, "{written:?}: its own is not touched by it");
    }
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_soon() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", ACME).await?;
    let bluesky = lab.tenant("bluesky", BLUESKY).await?;
    annotate(&lab, "tenant-acme", json!(format!("bluesky/{BLUESKY}"))).await?;
    let path = bluesky.path("volume", "");
    let read =
        async || -> Result<StatusCode> { Ok(lab.send(Method::GET, &acme.token, &path, "").await?.status()) };
    assert_eq!(read().await?, StatusCode::OK);
    annotate(&lab, "tenant-acme", Value::Null).await?;
    let taken_away = Instant::now();
    let patience = BELIEVED + Duration::from_secs(2);
    Wait::new("the end of a right", patience)
        .until(async || {
            let status = read().await?;
            let ended = status == StatusCode::FORBIDDEN;
            Ok(if ended { Look::Done(()) } else { Look::NotYet(status.to_string()) })
        })
        .await?;
    println!("the right ended after {} ms", taken_away.elapsed().as_millis());
    Ok(())
}
