//! WebSockets through the gateway, and other upgrades not.

use futures::{SinkExt, StreamExt};
use http::Response;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

use crate::support::{
    edge, eventually, listener, mirror, read_all, read_until, route, seen, tenant, text, within,
};

/// A tenant that sends every message back.
async fn echo() -> std::net::SocketAddr {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_web_socket_echoes() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.example", "acme", echo().await)]);
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let (mut socket, response) = client_async("ws://acme.example/live", stream).await.unwrap();
    assert_eq!(response.headers()["x-request-id"].len(), 32);
    for message in [Message::text("你好"), Message::binary(vec![7; 200_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(within("the echo", socket.next()).await.unwrap().unwrap(), message);
    }
    assert_eq!(edge.metric("requests_open").await, 1);
    socket.close(None).await.unwrap();
    drop(socket);
    eventually("the tunnel to be over", async || {
        edge.metric("requests_total{result=\"1xx\",tenant=\"acme\"}").await == 1
    })
    .await;
    assert_eq!(edge.metric("requests_open").await, 0);
}

#[tokio::test]
async fn a_silent_web_socket_ends() {
    let edge = edge(&["--tunnel-timeout", "200ms"]).await;
    edge.route(&[route("acme.example", "acme", echo().await)]);
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let (mut socket, _) = client_async("ws://acme.example/live", stream).await.unwrap();
    assert!(!matches!(within("the end", socket.next()).await, Some(Ok(_))));
}

#[tokio::test]
async fn a_refused_handshake_is_an_ordinary_answer() {
    let edge = edge(&["--idle-timeout", "200ms"]).await;
    let acme = tenant(|request| async move {
        let mut response = Response::new(text(request.uri().path().to_owned()));
        if request.headers().contains_key("upgrade") {
            *response.status_mut() = http::StatusCode::FORBIDDEN;
        }
        response
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    // The next request on the same connection is one: nothing has become a tunnel.
    let answers = edge
        .raw(
            "GET /live HTTP/1.1\r\nHost: acme.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\
             GET /next HTTP/1.1\r\nHost: acme.example\r\n\r\n\
             GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n",
        )
        .await;
    let codes: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(codes, ["403", "200", "404"], "{answers}");
    assert!(answers.contains("/live") && answers.contains("/next"), "{answers}");
    eventually("all to be over", async || edge.metric("requests_open").await == 0).await;
}

#[tokio::test]
async fn no_other_protocol_gets_through() {
    let edge = edge(&["--idle-timeout", "200ms"]).await;
    edge.route(&[route("acme.example", "acme", mirror("acme").await)]);
    let answer = edge
        .raw(
            "GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mirrored = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    for gone in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(seen(&mirrored, gone), None, "{gone}");
    }
}

/// Switching protocols without being asked would leave a raw tunnel into the tenant.
#[tokio::test]
async fn a_tenant_cannot_switch_protocols_by_itself() {
    let edge = edge(&["--idle-timeout", "200ms"]).await;
    let acme = tenant(|_| async {
        Response::builder()
            .status(101)
            .header("upgrade", "raw")
            .header("connection", "upgrade")
            .body(text(""))
            .unwrap()
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let plain = edge.raw("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 0\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 502 "), "{plain}");
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    let handshake =
        "GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(!read_all(&mut stream).await.contains("101"));
}

#[tokio::test]
async fn bytes_right_behind_the_handshake_are_not_lost() {
    let edge = edge(&[]).await;
    let acme = tenant(|mut request| async move {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            let mut early = [0; 5];
            io.read_exact(&mut early).await.unwrap();
            io.write_all(&early).await.unwrap();
        });
        let switching = Response::builder().status(101).header("upgrade", "websocket");
        switching.header("connection", "upgrade").body(text("")).unwrap()
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let answer = edge
        .raw("GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        .await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("early"), "{answer}");
}
