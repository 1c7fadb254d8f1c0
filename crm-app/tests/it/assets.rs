//! The front end's files. They are whatever the build left in `web/dist`, at least a placeholder page.

use axum::{body::Body, http::Method};

use crate::app::TestApp;

#[tokio::test]
async fn addresses_of_the_front_end_get_its_page() {
    let app = TestApp::start().await;
    let client = app.stranger();
    for path in [
        "/",
        "/companies",
        "/companies/0199?tab=audit",
        "/welcome",
        "/index.html",
        "/../../etc/passwd",
        "/%2e%2e/x",
    ] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-cache");
        assert!(String::from_utf8_lossy(&reply.bytes).to_lowercase().starts_with("<!doctype html>"));
    }
    let missing = client.get("/assets/of-an-old-release.js").await;
    missing.expect_problem(404, "not-found");
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let app = TestApp::start().await;
    let client = app.stranger();
    let etag = client.get("/").await.header("etag").to_owned();
    let ask = async |tag: &str| {
        let request = client.request(&Method::GET, "/").header("if-none-match", tag);
        client.raw(request.body(Body::empty()).unwrap()).await
    };
    let known = ask(&format!("\"x\", {etag}")).await;
    assert_eq!(known.status, 304);
    assert!(known.bytes.is_empty());
    assert_eq!(known.header("etag"), etag);
    assert_eq!(ask("\"x\"").await.status, 200);
}

#[tokio::test]
async fn an_encoding_is_sent_only_to_who_takes_it() {
    let app = TestApp::start().await;
    let client = app.stranger();
    for accepted in ["", "identity", "zstd", "br;q=0, gzip;q=0"] {
        let request = client.request(&Method::GET, "/").header("accept-encoding", accepted);
        let reply = client.raw(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.header("content-encoding"), "", "{accepted}");
        assert_eq!(reply.header("vary"), "accept-encoding");
    }
}
