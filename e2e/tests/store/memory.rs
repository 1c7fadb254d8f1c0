//! The size of a backup is not the size of the door.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use e2e::host::wait::{Look, Wait};
use futures::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};

use serde_json::json;

use crate::{
    lab::{DEADLINE, Lab, STORES, ids},
    past::ago,
};

const GIBIBYTE: u64 = 1 << 30;
/// The parts of one upload, and buffers. The program itself comes on top, which as a test is built is as much again.
const GROWTH: u64 = 32 << 20;

#[tokio::test]
async fn a_gibibyte_goes_in_and_out_in_bounded_memory() -> Result<()> {
    let mut lab = Lab::start().await?;
    lab.restart_patient_door().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    for store in STORES {
        Wait::new("the store to be opened", DEADLINE)
            .until(async || Ok(lab.list(&acme, store).await.map(Look::Done)?))
            .await?;
    }
    let piece: Bytes = (0..251).cycle().take(1 << 20).collect();
    let before = lab.door.peak_memory()?;
    for store in STORES {
        let path = acme.path(store, &format!("{}/data", ids().0));
        let pieces = vec![piece.clone(); 1024];
        let body = Body::wrap_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
        let answer = lab.send(Method::PUT, &acme.token, &path, body).await?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let mut back = lab.send(Method::GET, &acme.token, &path, "").await?.bytes_stream();
        let mut size = 0;
        while let Some(bytes) = back.next().await {
            size += bytes?.len() as u64;
        }
        assert_eq!(size, GIBIBYTE);
        let after = lab.door.peak_memory()?;
        println!("{store}: the door had {} MiB before and {} MiB at most", before >> 20, after >> 20);
        assert!(after - before < GROWTH, "{store}: from {before} to {after} bytes");
    }
    Ok(())
}

#[tokio::test]
async fn thousands_of_backups_are_gone_through_in_bounded_memory() -> Result<()> {
    const BACKUPS: u16 = 1500;
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    for store in STORES {
        for hour in 0..i64::from(BACKUPS) {
            lab.plant(store, &acme, ago(2, hour), "Scheduled")?;
        }
    }
    let before = lab.door.peak_memory()?;
    let began = Instant::now();
    lab.plan("standard", "bucket", json!({"daily": 3, "weekly": 0, "monthly": 0})).await?;
    for store in STORES {
        let words = [store, "state=\"kept\""];
        lab.until_metric("tenantry_store_removed_objects_total", &[store], 2.0 * f64::from(BACKUPS - 3))
            .await?;
        lab.until_metric("tenantry_store_backups", &words, 3.0).await?;
        assert_eq!(lab.kept(store, &acme).len(), 6, "{store}");
        println!("{store}: {BACKUPS} backups after {} ms", began.elapsed().as_millis());
    }
    let after = lab.door.peak_memory()?;
    println!("the door had {} MiB before and {} MiB at most", before >> 20, after >> 20);
    assert!(after - before < GROWTH, "from {before} to {after} bytes");
    Ok(())
}
