//! Stopping: what is under way is finished, what hangs is ended.

use std::sync::Arc;

use http::Response;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, mpsc},
};

use crate::support::{TestBody, edge, eventually, read_all, reflect, route, tenant, within};

#[tokio::test]
async fn open_requests_are_finished_idle_connections_closed_new_ones_refused() {
    let edge = edge(&[]).await;
    let (go, (entered, mut entries)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let going = Arc::clone(&go);
    let acme = tenant(move |request| {
        let (go, entered) = (Arc::clone(&going), entered.clone());
        async move {
            entered.send(()).unwrap();
            go.notified().await;
            reflect("acme", request).await
        }
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let address = edge.http;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n").await.unwrap();
    within("the request", entries.recv()).await.unwrap();

    let stopped = edge.stop();
    assert_eq!(read_all(&mut idle).await, "");
    eventually("new connections to be refused", async || TcpStream::connect(address).await.is_err()).await;
    assert!(!stopped.is_finished());
    go.notify_one();
    let answer = read_all(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    within("the gateway to stop", stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_hangs_does_not_keep_the_gateway_alive() {
    let edge = edge(&["--drain-timeout", "100ms"]).await;
    let (entered, mut entries) = mpsc::unbounded_channel();
    let silent = tenant(move |_| {
        entered.send(()).unwrap();
        std::future::pending::<Response<TestBody>>()
    })
    .await;
    edge.route(&[route("acme.example", "acme", silent)]);
    let mut busy = TcpStream::connect(edge.http).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n").await.unwrap();
    within("the request", entries.recv()).await.unwrap();
    within("the gateway to stop", edge.stop()).await.unwrap().unwrap();
    assert_eq!(read_all(&mut busy).await, "");
}

#[tokio::test]
async fn a_stopping_gateway_says_so_before_it_refuses() {
    let edge = edge(&["--shutdown-delay", "20s"]).await;
    edge.route(&[]);
    assert_eq!(edge.manage("/readyz").await.status, 200);
    edge.begin_stop();
    eventually("readiness to go", async || edge.manage("/readyz").await.status == 503).await;
    assert_eq!(edge.manage("/livez").await.status, 200);
    assert_eq!(edge.get("acme.example", "/").await.status, 404);
}
