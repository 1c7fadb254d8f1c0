//! Tenants that are not there, hang up, are silent, or have too much to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Response;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Notify};

use crate::support::{
    TestBody, edge, eventually, listener, nobody, read_all, read_until, reflect, route, serve_tenant, tenant,
    text, with, within,
};

#[tokio::test]
async fn a_refused_connection_is_tried_again_until_the_tenant_is_there() {
    let edge = edge(&["--connect-timeout", "20s"]).await;
    let address = nobody().await;
    edge.route(&[route("acme.example", "acme", address)]);
    let (answer, ()) = tokio::join!(
        edge.send(edge.request("POST", "acme.example", "/").body(text("once")).unwrap()),
        async {
            eventually("a second attempt", async || 1 <= edge.metric("connect_retries_total").await).await;
            let listener = TcpListener::bind(address).await.unwrap();
            tokio::spawn(serve_tenant(listener, |request| reflect("acme", request)));
        }
    );
    assert_eq!(answer.json()["bytes"], 4);
}

#[tokio::test]
async fn a_tenant_that_is_not_there_gives_a_page_that_tries_again() {
    let edge = edge(&["--connect-timeout", "200ms"]).await;
    let address = nobody().await;
    edge.route(&[
        route("en.example", "acme", address),
        with(route("zh.example", "acme", address), "locale", "zh-CN"),
    ]);
    let page = edge.get("en.example", "/").await;
    assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "5"));
    assert!(page.text.contains("Not reachable right now") && page.text.contains("http-equiv=\"refresh\""));
    assert!(edge.get("zh.example", "/").await.text.contains("暂时无法访问"));
    let problem = edge.get("en.example", "/api/v1/session").await;
    assert_eq!(problem.json()["type"], "unavailable");
}

/// A tenant that reads a request head and hangs up, and counts how often.
async fn hanging_up() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_broken_connection_is_tried_once_more_only_when_that_repeats_nothing() {
    let edge = edge(&[]).await;
    let (address, count) = hanging_up().await;
    edge.route(&[route("acme.example", "acme", address)]);
    assert_eq!(edge.get("acme.example", "/").await.status, 502);
    assert_eq!(count.swap(0, Ordering::SeqCst), 2);
    let post = edge.send(edge.request("POST", "acme.example", "/").body(text("order")).unwrap()).await;
    assert_eq!(post.status, 502);
    assert_eq!(count.swap(0, Ordering::SeqCst), 1);
    let delete = edge.send(edge.request("DELETE", "acme.example", "/").body(text("")).unwrap()).await;
    assert_eq!(delete.status, 502);
    assert_eq!(count.swap(0, Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_silent_tenant_is_not_waited_for_without_end() {
    let edge = edge(&["--response-timeout", "100ms"]).await;
    let silent = tenant(|_| std::future::pending::<Response<TestBody>>()).await;
    edge.route(&[route("acme.example", "acme", silent)]);
    let page = edge.get("acme.example", "/").await;
    assert_eq!(page.status, 504);
    assert_eq!(edge.metric("requests_total{result=\"silent_tenant\",tenant=\"acme\"}").await, 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let edge = edge(&[]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await
            .unwrap();
    });
    let answer = edge.raw("GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n").await;
    assert!(answer.contains("hello") && !answer.contains("0\r\n\r\n"), "{answer}");
    eventually("the broken answer to be counted", async || {
        edge.metric("requests_total{result=\"broken_off\",tenant=\"acme\"}").await == 1
    })
    .await;
}

#[tokio::test]
async fn nonsense_from_a_tenant_is_not_passed_on() {
    let edge = edge(&[]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await;
        }
    });
    let answer = edge.get("acme.example", "/").await;
    assert_eq!(answer.status, 502);
    assert!(!answer.text.contains("SSH"));
}

#[tokio::test]
async fn one_hanging_tenant_leaves_the_others_their_places() {
    let edge = edge(&["--max-requests-per-tenant", "2"]).await;
    let go = Arc::new(Notify::new());
    let (going, entered) = (Arc::clone(&go), Arc::new(AtomicUsize::new(0)));
    let entering = Arc::clone(&entered);
    let slow = tenant(move |request| {
        let (go, entered) = (Arc::clone(&going), Arc::clone(&entering));
        async move {
            entered.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            reflect("slow", request).await
        }
    })
    .await;
    let quick = crate::support::mirror("quick").await;
    edge.route(&[route("slow.example", "slow", slow), route("quick.example", "quick", quick)]);
    let (first, second, ()) =
        tokio::join!(edge.get("slow.example", "/"), edge.get("slow.example", "/"), async {
            eventually("both requests to hang", async || entered.load(Ordering::SeqCst) == 2).await;
            let busy = edge.get("slow.example", "/").await;
            assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (503, "5"));
            assert_eq!(edge.get("quick.example", "/").await.status, 200);
            go.notify_waiters();
        });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(edge.metric("requests_total{result=\"busy\",tenant=\"slow\"}").await, 1);
}

/// A CRM that ends goes on listening for five seconds (`crm-app/src/leaving.rs`) and then closes what nobody has used in them.
#[tokio::test]
async fn an_unused_connection_is_given_up_before_a_tenant_that_ends_would_close_it() {
    let edge = edge(&[]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    let (answer, idle) = tokio::join!(edge.get("acme.example", "/"), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        let answered = Instant::now();
        assert_eq!(read_all(&mut stream).await, "");
        answered.elapsed()
    });
    assert_eq!(answer.status, 200);
    assert!(idle < Duration::from_secs(5), "{idle:?}");
}

#[tokio::test]
async fn connections_to_a_tenant_are_kept_and_used_again() {
    let edge = edge(&[]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    // One connection only: a second one would wait for ever.
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
        stream
    });
    for _ in 0..3 {
        assert_eq!(edge.get("acme.example", "/").await.text, "ok");
    }
    within("the tenant", serving).await.unwrap();
}
