//! Exit bundles: the tenant's own, put once, kept for a time, and then removed; what becomes of them touches no backup.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, STORES, id, now},
    past::{ago, whole},
};

fn bundle(id: &str) -> String {
    format!("exports/{id}.zip.age")
}

#[tokio::test]
async fn a_bundle_is_its_tenants_alone_and_never_replaced() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    let bluesky = lab.tenant("bluesky", "0b7f8f0e-5a1b-4c3d-9e8f-000000000002").await?;
    let id = id(now(), "aaaaaa");
    for store in STORES {
        // Small and large: in a bucket these are one request and many.
        let large: Vec<u8> = (0..251).cycle().take(20_000_001).collect();
        let answer = lab.put(&acme, store, &bundle(&id), large.clone()).await?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(answer.json::<Value>().await?["size"], large.len());
        let back = lab.get(&acme, store, &bundle(&id)).await?;
        assert!(back.bytes().await? == large, "{store}");
        assert_eq!(lab.list(&acme, store).await?, [""; 0], "it is no backup");

        let path = acme.path(store, &bundle(&id));
        for method in [Method::GET, Method::PUT] {
            let (status, reason, _) = lab.refusal(method, &bluesky.token, &path, "of bluesky").await?;
            assert_eq!((status, reason.as_str()), (StatusCode::FORBIDDEN, "Forbidden"), "{path}");
        }
        let (status, reason, _) = lab.refusal(Method::PUT, &acme.token, &path, "again").await?;
        assert_eq!((status, reason.as_str()), (StatusCode::CONFLICT, "AlreadyExists"));
        let (status, _, _) = lab.refusal(Method::DELETE, &acme.token, &path, "").await?;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        let old = acme.path(store, &bundle(&crate::lab::id(ago(2, 0), "aaaaaa")));
        let (status, reason, _) = lab.refusal(Method::PUT, &acme.token, &old, "old").await?;
        assert_eq!((status, reason.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "Untimely"));
        for rest in
            ["exports/x.zip.age", "exports/data", &format!("exports/{id}.zip"), &format!("exports/{id}/data")]
        {
            let path = acme.path(store, rest);
            let (status, reason, _) = lab.refusal(Method::PUT, &acme.token, &path, "x").await?;
            assert_eq!((status, reason.as_str()), (StatusCode::BAD_REQUEST, "InvalidPath"), "{rest}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_bundle_is_kept_for_two_weeks_and_then_goes() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    let stranger = lab.tenant("bluesky", "0b7f8f0e-5a1b-4c3d-9e8f-000000000002").await?;
    lab.plan("standard", "bucket", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    for store in STORES {
        let backup = lab.plant(store, &acme, ago(20, 0), "Scheduled")?;
        let (old, young) = (id(ago(14, 1), "aaaaaa"), id(ago(13, 23), "bbbbbb"));
        let parts = [(format!("{old}.zip.age"), "old"), (format!("{young}.zip.age"), "young")];
        let parts: Vec<_> = parts.iter().map(|(name, text)| (name.as_str(), (*text).to_owned())).collect();
        lab.plant_parts(store, &stranger, "exports", ago(90, 0), &parts)?;
        lab.plant_parts(store, &acme, "exports", ago(90, 0), &parts)?;
        let mut kept = whole(&[&backup]);
        kept.push(bundle(&young));
        lab.until_kept(store, &acme, &kept).await?;
        assert_eq!(
            lab.kept(store, &stranger).len(),
            2,
            "{store}: of a tenant that is not there nothing goes"
        );
    }
    Ok(())
}
