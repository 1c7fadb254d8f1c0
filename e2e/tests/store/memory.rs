//! The size of a backup is not the size of the door.

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};

use crate::lab::{Lab, STORES, ids};

const GIBIBYTE: u64 = 1 << 30;
/// The parts of one upload, and buffers. The program itself comes on top, which as a test is built is as much again.
const GROWTH: u64 = 32 << 20;

#[tokio::test]
async fn a_gibibyte_goes_in_and_out_in_bounded_memory() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
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
