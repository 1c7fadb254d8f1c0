//! Each tenant has its own backups and nothing else; what is there stays as it is.

use anyhow::Result;
use e2e::helm;
use operator::store::AUDIENCE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::lab::{Lab, STORES, Tenant, id, ids, manifest, now};

async fn two_tenants(lab: &Lab) -> Result<(Tenant, Tenant)> {
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    let bluesky = lab.tenant("bluesky", "0b7f8f0e-5a1b-4c3d-9e8f-000000000002").await?;
    Ok((acme, bluesky))
}

#[tokio::test]
async fn a_tenant_puts_gets_and_lists_its_own() -> Result<()> {
    let (first, second) = ids();
    let lab = Lab::start().await?;
    let (acme, _) = two_tenants(&lab).await?;
    for store in STORES {
        assert_eq!(lab.list(&acme, store).await?, [""; 0]);
        // Small and large: in a bucket these are one request and many.
        for (id, size) in [(first, 1000), (second, 20_000_001)] {
            let data: Vec<u8> = (0..251).cycle().take(size).collect();
            lab.put_backup(&acme, store, id, &data).await?;
            let back = lab.get(&acme, store, &format!("{id}/data")).await?;
            assert_eq!(back.content_length(), Some(size as u64));
            assert!(back.bytes().await? == data, "{store} {id}");
            let text = lab.get(&acme, store, &format!("{id}/manifest.json")).await?;
            assert_eq!(text.json::<Value>().await?, manifest(&acme, store, id, size));
        }
        assert_eq!(lab.list(&acme, store).await?, [second, first], "{store}: newest first");
        let absent = lab.get(&acme, store, &format!("{}/data", id(now(), "zzzzzz"))).await?;
        assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    }
    let answer = lab.put(&acme, "bucket", &format!("{}/data", id(now(), "cccccc")), b"abc".to_vec()).await?;
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(answer.json::<Value>().await?, json!({"size": 3, "sha256": known}));
    Ok(())
}

#[tokio::test]
async fn nobody_reads_lists_or_harms_anothers_nor_changes_its_own() -> Result<()> {
    let (first, second) = ids();
    let lab = Lab::start().await?;
    let (acme, bluesky) = two_tenants(&lab).await?;
    for store in STORES {
        lab.put_backup(&bluesky, store, first, b"of bluesky").await?;
        let theirs = |rest: &str| bluesky.path(store, rest);
        let data = theirs(&format!("{first}/data"));
        let (uid, other) = (&bluesky.uid, &acme.uid);
        for (method, path) in [
            (Method::GET, data.clone()),
            (Method::GET, theirs(&format!("{first}/manifest.json"))),
            (Method::GET, theirs("")),
            (Method::PUT, data.clone()),
            (Method::PUT, theirs(&format!("{second}/data"))),
            (Method::PUT, theirs(&format!("{second}/manifest.json"))),
            // Its own name with another's uid, and the other way round.
            (Method::GET, format!("/v1/{store}/acme/{uid}/{first}/data")),
            (Method::GET, format!("/v1/{store}/bluesky/{other}/{first}/data")),
        ] {
            let (status, reason, _) = lab.refusal(method, &acme.token, &path, "of acme").await?;
            assert_eq!((status, reason.as_str()), (StatusCode::FORBIDDEN, "Forbidden"), "{path}");
        }
        for rest in ["/..", "/../bluesky", "%2f..%2fbluesky", "/.%2e/", "/%2e%2e/", "//"] {
            let path = format!("/v1/{store}/acme{rest}/{uid}/{first}/data");
            let answer = raw_get(&lab, &acme.token, &path).await?;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        }
        // Neither may they change or remove what is theirs.
        for method in [Method::DELETE, Method::POST, Method::PATCH] {
            let (status, reason, _) = lab.refusal(method, &bluesky.token, &data, "").await?;
            assert_eq!((status, reason.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"));
        }
        for part in ["data", "manifest.json"] {
            let path = theirs(&format!("{first}/{part}"));
            // More than a connection holds: the refusal must be read all the same.
            let again = vec![b'x'; 4 << 20];
            let (status, reason, _) = lab.refusal(Method::PUT, &bluesky.token, &path, again).await?;
            assert_eq!((status, reason.as_str()), (StatusCode::CONFLICT, "AlreadyExists"), "{path}");
        }
        let back = lab.get(&bluesky, store, &format!("{first}/data")).await?;
        assert_eq!(back.bytes().await?, "of bluesky");
        assert_eq!(lab.list(&acme, store).await?, [""; 0]);
    }
    Ok(())
}

/// As it stands: a client that follows rules would tidy the path up first.
async fn raw_get(lab: &Lab, token: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(&lab.door.address).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_operator_reads_every_backup_and_writes_none() -> Result<()> {
    let (first, second) = ids();
    let lab = Lab::start().await?;
    let (acme, bluesky) = two_tenants(&lab).await?;
    let operator = lab.token(helm::NAMESPACE, "tenantry-operator", &[AUDIENCE]).await?;
    for (tenant, store) in [(&acme, "bucket"), (&bluesky, "volume")] {
        lab.put_backup(tenant, store, first, b"data").await?;
        let list = lab.send(Method::GET, &operator, &tenant.path(store, ""), "").await?;
        assert_eq!(list.json::<Value>().await?["backups"][0]["id"], first);
        let data = tenant.path(store, &format!("{first}/data"));
        assert_eq!(lab.send(Method::GET, &operator, &data, "").await?.bytes().await?, "data");
        let new = tenant.path(store, &format!("{second}/data"));
        let (status, reason, _) = lab.refusal(Method::PUT, &operator, &new, "x").await?;
        assert_eq!((status, reason.as_str()), (StatusCode::FORBIDDEN, "Forbidden"));
    }
    Ok(())
}

#[tokio::test]
async fn a_manifest_comes_after_its_data_and_speaks_of_it() -> Result<()> {
    let (first, second) = ids();
    let lab = Lab::start().await?;
    let (acme, _) = two_tenants(&lab).await?;
    for store in STORES {
        let path = acme.path(store, &format!("{first}/manifest.json"));
        let refused = async |text: String, status, reason: &str, message: &str| -> Result<()> {
            let (was, why, said) = lab.refusal(Method::PUT, &acme.token, &path, text).await?;
            assert_eq!((was, why.as_str()), (status, reason), "{said}");
            assert!(said.contains(message), "{said}");
            Ok(())
        };
        let invalid = StatusCode::UNPROCESSABLE_ENTITY;
        let right = manifest(&acme, store, first, 4);
        refused(right.to_string(), invalid, "InvalidManifest", "put it first").await?;
        let answer = lab.put(&acme, store, &format!("{first}/data"), b"data".to_vec()).await?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(lab.list(&acme, store).await?, [""; 0], "without a manifest there is no backup");
        let size = manifest(&acme, store, first, 5).to_string();
        refused(size, invalid, "InvalidManifest", "4 bytes are stored").await?;
        let id = manifest(&acme, store, second, 4).to_string();
        refused(id, invalid, "InvalidManifest", "id is not that of the path").await?;
        refused("{".to_owned(), invalid, "InvalidManifest", "no manifest").await?;
        let mut large = right.clone();
        large["notes"] = json!("x".repeat(300 << 10));
        refused(large.to_string(), StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", "262144 bytes").await?;
        let answer =
            lab.put(&acme, store, &format!("{first}/manifest.json"), right.to_string().into()).await?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(lab.list(&acme, store).await?, [first]);
    }
    let (status, reason, _) = lab.refusal(Method::GET, &acme.token, &acme.path("elsewhere", ""), "").await?;
    assert_eq!((status, reason.as_str()), (StatusCode::NOT_FOUND, "StoreNotFound"));
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_was_damaged_in_the_store_does_not_hide_the_others() -> Result<()> {
    let (first, second) = ids();
    let lab = Lab::start().await?;
    let (acme, _) = two_tenants(&lab).await?;
    for id in [first, second] {
        lab.put_backup(&acme, "volume", id, b"data").await?;
    }
    let found = lab.files().into_iter().find(|path| path.ends_with(format!("{second}/manifest.json")));
    std::fs::write(found.expect("the manifest is on the volume"), "{\"version\": 1")?;
    assert_eq!(lab.list(&acme, "volume").await?, [first]);
    let metrics = reqwest::get(format!("http://{}/metrics", lab.door.management)).await?.text().await?;
    assert!(metrics.contains("tenantry_store_unreadable_manifests_total 1"), "{metrics}");
    Ok(())
}
