//! Stores that do not work: what the door says, in its answers and in the status.

use anyhow::{Context, Result};
use e2e::{
    helm,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use operator::store::AUDIENCE;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::lab::{CLAIM, DEADLINE, Lab, free_address, ids};

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000001";

/// An object storage that gives every request the same answer, or none; returns its address.
async fn storage_that_answers(answer: Option<&'static str>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = [0; 16 << 10];
                while let Ok(1..) = stream.read(&mut some).await {
                    let Some(answer) = answer else { continue };
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn bucket_at(address: &str) -> Value {
    json!({"s3": {"bucket": "backups", "endpoint": format!("http://{address}"), "credentialsSecret": "s3"}})
}

/// What a put is answered with.
async fn put(lab: &Lab, store: &str) -> Result<(u16, String)> {
    let acme = lab.token("tenant-acme", "store", &[AUDIENCE]).await?;
    let path = format!("/v1/{store}/acme/{UID}/{}/data", ids().0);
    let (status, reason, _) = lab.refusal(Method::PUT, &acme, &path, "x").await?;
    Ok((status.as_u16(), reason))
}

#[tokio::test]
async fn a_storage_that_fails_is_told_of() -> Result<()> {
    let lab = Lab::without_stores().await?;
    lab.tenant("acme", UID).await?;
    let denied =
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 39\r\n\r\n<Error><Code>AccessDenied</Code></Error>";
    let failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 40\r\n\r\n<Error><Code>InternalError</Code></Error>";
    let full = "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 44\r\n\r\n<Error><Code>XMinioStorageFull</Code></Error>";
    for (store, answer, status, reason, word) in [
        ("denied", Some(denied), 502, "AccessDenied", "AccessDenied"),
        ("failing", Some(failing), 502, "Failing", "InternalError"),
        ("full", Some(full), 507, "OutOfSpace", "make it larger"),
        ("silent", None, 504, "Unreachable", "does not answer"),
    ] {
        let address = storage_that_answers(answer).await?;
        lab.make_store(store, bucket_at(&address)).await?;
        let message = lab.until_reason(store, "False", reason).await?;
        assert!(message.contains(word), "{message}");
        assert_eq!(put(&lab, store).await?, (status, reason.to_owned()), "{store}");
    }
    // Nobody listens there.
    let address = free_address()?;
    lab.make_store("away", bucket_at(&address)).await?;
    lab.until_reason("away", "False", "Unreachable").await?;
    assert_eq!(put(&lab, "away").await?, (504, "Unreachable".to_owned()));
    Ok(())
}

#[tokio::test]
async fn what_is_configured_wrongly_is_named_and_put_right_without_a_restart() -> Result<()> {
    let lab = Lab::without_stores().await?;
    lab.tenant("acme", UID).await?;
    lab.make_store("unmounted", json!({"volume": {"claim": "elsewhere"}})).await?;
    let message = lab.until_reason("unmounted", "False", "ClaimNotMounted").await?;
    assert!(message.contains("store.claims"), "{message}");
    assert_eq!(put(&lab, "unmounted").await?, (503, "ClaimNotMounted".to_owned()));
    lab.change_store("unmounted", json!({"volume": {"claim": CLAIM}})).await?;
    lab.until_reason("unmounted", "True", "Probed").await?;

    let with_secret = |secret: &str| {
        let mut spec = json!({"s3": lab.storage.s3("backups")});
        spec["s3"]["credentialsSecret"] = json!(secret);
        spec
    };
    lab.make_store("forbidden", with_secret("others")).await?;
    let message = lab.until_reason("forbidden", "False", "CredentialsMissing").await?;
    assert!(message.contains("store.credentialsSecrets"), "{message}");

    lab.make_store("unmade", with_secret("unmade")).await?;
    let message = lab.until_reason("unmade", "False", "CredentialsMissing").await?;
    assert!(message.contains("accessKeyId and secretAccessKey"), "{message}");
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), helm::NAMESPACE);
    let secret = |key: &str| json!({"metadata": {"name": "unmade"}, "stringData": {"accessKeyId": "tenantry", "secretAccessKey": key}});
    let wrong = serde_json::from_value(secret("wrong"))?;
    secrets.create(&PostParams::default(), &wrong).await?;
    lab.until_reason("unmade", "False", "AccessDenied").await?;
    assert_eq!(put(&lab, "unmade").await?, (502, "AccessDenied".to_owned()));
    let mut right: Secret = serde_json::from_value(secret(&lab.storage.secret_key))?;
    right.metadata.resource_version = secrets.get("unmade").await?.metadata.resource_version;
    secrets.replace("unmade", &PostParams::default(), &right).await?;
    lab.until_reason("unmade", "True", "Probed").await?;

    lab.make_store("bucketless", json!({"s3": lab.storage.s3("no-such-bucket")})).await?;
    let message = lab.until_reason("bucketless", "False", "BucketMissing").await?;
    assert!(message.contains("no-such-bucket"), "{message}");
    assert_eq!(put(&lab, "bucketless").await?.1, "BucketMissing");
    Ok(())
}

#[tokio::test]
async fn a_store_that_works_is_not_written_about_again_and_leaves_no_traces() -> Result<()> {
    let lab = Lab::start().await?;
    let probes = async || -> Result<f64> {
        let metrics = reqwest::get(format!("http://{}/metrics", lab.door.management)).await?.text().await?;
        let line = metrics.lines().find_map(|line| {
            line.strip_prefix("tenantry_store_probes_total{reason=\"Probed\",store=\"bucket\"} ")
        });
        Ok(line.context("probes are counted")?.parse()?)
    };
    let begun = probes().await?;
    Wait::new("three more probes", DEADLINE)
        .until(async || {
            let now = probes().await?;
            Ok(if begun + 3.0 <= now { Look::Done(()) } else { Look::NotYet(now.to_string()) })
        })
        .await?;
    let door = "system:serviceaccount:tenantry-system:tenantry-store";
    let events = lab.control_plane.audit_events()?;
    let writes = events.iter().filter(|event| event.user.username == door && event.is_mutation());
    let writes: Vec<_> = writes.filter(|event| event.is_about("backupstores")).collect();
    assert_eq!(writes.len(), 2, "one status for each store");
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event.user.username == door)
        .filter(|event| event.response_status.as_ref().is_some_and(|status| status.code == 403))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let probes: Vec<_> =
        lab.files().into_iter().filter(|path| path.to_string_lossy().contains("probe-")).collect();
    assert!(probes.len() <= 2, "at most those under way: {probes:?}");
    Ok(())
}
