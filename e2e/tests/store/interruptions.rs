//! Whatever breaks in the middle leaves nothing that can be seen, and nothing in the way.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use e2e::host::wait::{Look, Wait};
use jiff::SignedDuration;
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{
    lab::{DEADLINE, Lab, STORES, SWEEP_INTERVAL, Tenant, id, ids, manifest, now},
    relay::{Fate, Relay},
};

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000001";
/// More than two parts of an upload to a bucket.
const MUCH: usize = 20 << 20;

/// Begins to put data, and sends some of it.
async fn half_a_put(lab: &Lab, tenant: &Tenant, store: &str, length: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(&lab.door.address).await?;
    let path = tenant.path(store, &format!("{}/data", ids().0));
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {}\r\n{length}\r\n\r\n",
        tenant.token
    );
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..MUCH >> 20 {
        if length.contains("chunked") {
            stream.write_all(b"100000\r\n").await?;
        }
        stream.write_all(&piece).await?;
        if length.contains("chunked") {
            stream.write_all(b"\r\n").await?;
        }
    }
    Ok(stream)
}

async fn until_no_files(lab: &Lab) -> Result<()> {
    Wait::new("the stores to be empty", DEADLINE)
        .explained_by(&lab.door.log)
        .until(async || {
            let files = lab.files();
            // A probe comes and goes.
            let left: Vec<_> =
                files.iter().filter(|path| !path.to_string_lossy().contains("/probe-")).collect();
            Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
        })
        .await
}

async fn until_something_is_written(lab: &Lab) -> Result<()> {
    Wait::new("half an upload in the store", DEADLINE)
        .explained_by(&lab.door.log)
        .until(async || {
            let size = |path: &std::path::PathBuf| path.metadata().map_or(0, |meta| meta.len());
            let largest = lab.files().iter().map(size).max().unwrap_or(0);
            Ok(if 1 << 20 < largest { Look::Done(()) } else { Look::NotYet(format!("{largest} bytes")) })
        })
        .await
}

/// Puts half of it, and waits until that is in the store. The place of an upload that was broken off right before may be free only
/// a moment later: until then there is an answer.
async fn half_a_put_in_the_store(lab: &Lab, tenant: &Tenant, store: &str, length: &str) -> Result<TcpStream> {
    Wait::new("a place for an upload", DEADLINE)
        .explained_by(&lab.door.log)
        .until(async || {
            let stream = half_a_put(lab, tenant, store, length).await?;
            tokio::select! {
                written = until_something_is_written(lab) => written?,
                _ = stream.readable() => return Ok(Look::NotYet("the door answers".to_owned())),
            }
            Ok(Look::Done(stream))
        })
        .await
}

/// Nothing is there, and the same backup can be put.
async fn nothing_is_in_the_way(lab: &Lab, acme: &Tenant, store: &str) -> Result<()> {
    assert_eq!(lab.get(acme, store, &format!("{}/data", ids().0)).await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(lab.list(acme, store).await?, [""; 0]);
    Wait::new("a place for the next upload", DEADLINE)
        .explained_by(&lab.door.log)
        .until(async || Ok(lab.put_backup(acme, store, ids().0, b"whole").await.map(Look::Done)?))
        .await?;
    assert_eq!(lab.get(acme, store, &format!("{}/data", ids().0)).await?.bytes().await?, "whole");
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    for length in ["Transfer-Encoding: chunked", "Content-Length: 30000000"] {
        for store in STORES {
            let stream = half_a_put_in_the_store(&lab, &acme, store, length).await?;
            drop(stream);
            until_no_files(&lab).await?;
        }
    }
    for store in STORES {
        nothing_is_in_the_way(&lab, &acme, store).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_falls_silent_is_told_and_leaves_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    for store in STORES {
        let mut stream = half_a_put(&lab, &acme, store, "Transfer-Encoding: chunked").await?;
        let mut answer = [0; 12];
        tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await??;
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    until_no_files(&lab).await?;
    Ok(())
}

#[tokio::test]
async fn a_door_that_was_killed_in_the_middle_leaves_nothing_to_be_seen() -> Result<()> {
    let mut lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    for store in STORES {
        let stream = half_a_put_in_the_store(&lab, &acme, store, "Transfer-Encoding: chunked").await?;
        lab.restart_door(SWEEP_INTERVAL).await?;
        drop(stream);
        for store in STORES {
            lab.until_reason(store, "True", "Probed").await?;
            Wait::new("the store to be opened", DEADLINE)
                .until(async || Ok(lab.list(&acme, store).await.map(Look::Done)?))
                .await?;
        }
        nothing_is_in_the_way(&lab, &acme, store).await?;
    }
    Ok(())
}

/// Data and manifest of a backup are put by a client that outlives the door.
fn putting(lab: &Lab, tenant: &Tenant, id: &str) -> JoinHandle<()> {
    let (http, token) = (lab.http.clone(), tenant.token.clone());
    let manifest = manifest(tenant, "bucket", id, MUCH).to_string().into_bytes();
    let objects = [("data", vec![b'x'; MUCH]), ("manifest.json", manifest)].map(|(name, body)| {
        let path = tenant.path("bucket", &format!("{id}/{name}"));
        (format!("http://{}{path}", lab.door.address), body)
    });
    tokio::spawn(async move {
        for (url, body) in objects {
            // It ends with the door, whatever it is told.
            let _ = http.put(url).bearer_auth(&token).body(body).send().await;
        }
    })
}

/// A stage of an upload, and the line of the request by which it is known.
type Stage = (&'static str, fn(&str) -> bool);

/// What the door asks of a bucket while a large backup comes in.
const STAGES: [Stage; 4] = [
    ("begins", |line| line.starts_with("POST ") && line.contains("uploads")),
    ("sends a part", |line| line.starts_with("PUT ") && line.contains("partNumber=")),
    ("puts the parts together", |line| line.starts_with("POST ") && line.contains("uploadId=")),
    ("writes the manifest", |line| line.starts_with("PUT ") && line.contains("/manifest.json")),
];

#[tokio::test]
async fn a_door_that_is_killed_at_each_stage_of_an_upload_never_shows_half_a_backup() -> Result<()> {
    let mut lab = Lab::without_stores().await?;
    let relay = Relay::start(lab.storage.address.clone()).await?;
    lab.make_store("bucket", lab.bucket_at(&relay.address)).await?;
    lab.until_reason("bucket", "True", "Probed").await?;
    let acme = lab.tenant("acme", UID).await?;
    lab.put_backup(&acme, "bucket", ids().0, b"the last good one").await?;
    let mut whole = vec![ids().0.to_owned()];
    for (number, (stage, is_it)) in STAGES.into_iter().enumerate() {
        // Before the storage has heard of it, and when it is done and nobody has heard of that.
        for (moment, fate) in [("before", Fate::Silence), ("after", Fate::Unheard)] {
            let id = id(now() - SignedDuration::from_mins(30), &format!("st{number}{}", &moment[..3]));
            relay.judge(move |line| if is_it(line) { fate } else { Fate::Pass });
            let client = putting(&lab, &acme, &id);
            relay.until_disturbed(1).await?;
            lab.kill_door().await?;
            client.await?;
            relay.judge(|_| Fate::Pass);
            lab.restart_door(SWEEP_INTERVAL).await?;
            let listed = Wait::new("the store to be opened", DEADLINE)
                .until(async || Ok(lab.list(&acme, "bucket").await.map(Look::Done)?))
                .await?;
            if listed.contains(&id) {
                assert_eq!(stage, "writes the manifest");
                let data = lab.get(&acme, "bucket", &format!("{id}/data")).await?.bytes().await?;
                assert!(data.len() == MUCH && data.iter().all(|byte| *byte == b'x'), "{stage}, {moment}");
                whole.push(id);
            }
            let (listed, whole): (BTreeSet<_>, BTreeSet<_>) =
                (listed.iter().collect(), whole.iter().collect());
            assert_eq!(listed, whole, "{stage}, {moment}");
            let good = lab.get(&acme, "bucket", &format!("{}/data", ids().0)).await?.bytes().await?;
            assert_eq!(good, "the last good one", "{stage}, {moment}");
        }
    }
    assert_eq!(whole.len(), 2, "the manifest that the storage had before the door died");
    lab.put_backup(&acme, "bucket", ids().1, b"the next one").await
}

#[tokio::test]
async fn a_reader_of_a_door_that_is_killed_is_never_told_that_it_has_everything() -> Result<()> {
    let mut lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    for store in STORES {
        // More than what fits between the two.
        lab.put_backup(&acme, store, ids().0, &vec![b'x'; 2 * MUCH]).await?;
        let mut answer = lab.get(&acme, store, &format!("{}/data", ids().0)).await?;
        let begun = answer.chunk().await?.map_or(0, |bytes| bytes.len());
        assert!(0 < begun && begun < 2 * MUCH, "{begun} bytes");
        lab.restart_door(SWEEP_INTERVAL).await?;
        let rest = async {
            let mut length = begun;
            while let Some(bytes) = answer.chunk().await? {
                length += bytes.len();
            }
            anyhow::Ok(length)
        };
        assert!(rest.await.is_err(), "{store}: the end of the answer looks like one");
        Wait::new("the store to be opened", DEADLINE)
            .until(async || Ok(lab.list(&acme, store).await.map(Look::Done)?))
            .await?;
        let again = lab.get(&acme, store, &format!("{}/data", ids().0)).await?.bytes().await?;
        assert_eq!(again.len(), 2 * MUCH);
    }
    Ok(())
}

#[tokio::test]
async fn a_door_that_is_stopped_lets_nobody_wait_and_leaves_nothing() -> Result<()> {
    let mut lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    let stream = half_a_put_in_the_store(&lab, &acme, "bucket", "Transfer-Encoding: chunked").await?;
    lab.door.stop().await?;
    drop(stream);
    until_no_files(&lab).await
}

#[tokio::test]
async fn of_two_uploads_of_one_backup_one_comes_through_whole() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    for store in STORES {
        let data = format!("{}/data", ids().0);
        let (first, second) = tokio::join!(
            lab.put(&acme, store, &data, vec![b'1'; MUCH]),
            lab.put(&acme, store, &data, vec![b'2'; MUCH]),
        );
        let answers = [first?.status(), second?.status()];
        let taken = answers.iter().filter(|status| **status == StatusCode::CREATED).count();
        assert_eq!(taken, 1, "{store}: {answers:?}");
        let content: Bytes = lab.get(&acme, store, &data).await?.bytes().await?;
        assert_eq!(content.len(), MUCH);
        assert!(content.iter().all(|byte| *byte == content[0]), "{store}: two uploads are mixed");
    }
    Ok(())
}
