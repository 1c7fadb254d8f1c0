//! Which tenant answers, what it is told, and what is said when none does.

use serde_json::{Value, json};

use crate::support::{edge, mirror, nobody, route, seen, text, with};

#[tokio::test]
async fn two_hosts_of_one_tenant_and_one_of_another() {
    let edge = edge(&[]).await;
    let (acme, bluesky) = (mirror("acme").await, mirror("bluesky").await);
    edge.route(&[
        route("acme.crm.localhost", "acme", acme),
        route("crm.acme.example", "acme", acme),
        route("bluesky.crm.localhost", "bluesky", bluesky),
    ]);
    for (host, tenant) in [
        ("acme.crm.localhost", "acme"),
        ("ACME.crm.localhost:8080", "acme"),
        ("crm.acme.example.", "acme"),
        ("bluesky.crm.localhost", "bluesky"),
    ] {
        let answer = edge.get(host, "/companies?q=%E7%A4%BA%E4%BE%8B").await.json();
        assert_eq!(answer["tenant"], tenant, "{host}");
        assert_eq!(answer["uri"], "/companies?q=%E7%A4%BA%E4%BE%8B");
    }
}

#[tokio::test]
async fn an_unknown_address_says_so_in_the_clients_language_and_names_nobody() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.crm.localhost", "acme", nobody().await)]);
    let ask = |host: &str, path: &str, language: &str| {
        edge.request("GET", host, path).header("accept-language", language).body(text("")).unwrap()
    };
    for host in ["other.crm.localhost", "crm.localhost", "x.acme.crm.localhost", "127.0.0.1", "[::1]"] {
        let chinese = edge.send(ask(host, "/", "zh-CN,zh;q=0.9")).await;
        assert_eq!(chinese.status, 404, "{host}");
        assert!(chinese.text.contains("没有这个地址"), "{}", chinese.text);
        assert!(!chinese.text.contains("acme"), "{}", chinese.text);
        assert_eq!(chinese.header("cache-control"), "no-store");
        assert!(chinese.header("content-security-policy").contains("default-src 'none'"));
        let english = edge.send(ask(host, "/", "en-GB")).await;
        assert!(english.text.contains("There is nothing at this address"), "{}", english.text);
        assert_eq!(english.header("content-language"), "en");
        let program = edge.send(ask(host, "/api/v1/session", "en")).await;
        assert_eq!(program.header("content-type"), "application/problem+json");
        assert_eq!(program.json()["type"], "not-found");
        assert_eq!(program.json()["requestId"], program.header("x-request-id"));
    }
}

#[tokio::test]
async fn a_suspended_tenant_says_so_in_its_own_language() {
    let edge = edge(&[]).await;
    let suspended = |host, locale: &str, upstream| {
        with(with(route(host, "acme", upstream), "state", "Suspended"), "locale", locale)
    };
    let acme = mirror("acme").await;
    edge.route(&[suspended("zh.example", "zh-CN", acme), suspended("en.example", "en", acme)]);
    for (host, other_language, title) in
        [("zh.example", "en", "服务已暂停"), ("en.example", "zh-CN", "This workspace is suspended")]
    {
        let request = edge.request("GET", host, "/").header("accept-language", other_language);
        let page = edge.send(request.body(text("")).unwrap()).await;
        assert_eq!(page.status, 503);
        assert_eq!(page.header("retry-after"), "600");
        assert!(page.text.contains(title), "{}", page.text);
    }
    let problem = edge.get("en.example", "/api/v1/companies").await;
    assert_eq!((problem.status.as_u16(), &problem.json()["type"]), (503, &json!("suspended")));
    assert_eq!(edge.metric("requests_total{result=\"suspended\",tenant=\"acme\"}").await, 3);
}

#[tokio::test]
async fn the_tenant_is_told_where_a_request_comes_from_and_only_by_the_gateway() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.crm.localhost", "acme", mirror("acme").await)]);
    let request = edge
        .request("POST", "acme.crm.localhost:8080", "/")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "for=10.0.0.1")
        .header("x-request-id", "mine")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("cookie", "session=1");
    let answer = edge.send(request.body(text("hello")).unwrap()).await;
    let mirrored = answer.json();
    assert_eq!(seen(&mirrored, "host"), Some("acme.crm.localhost:8080"));
    assert_eq!(seen(&mirrored, "x-forwarded-host"), Some("acme.crm.localhost:8080"));
    assert_eq!(seen(&mirrored, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen(&mirrored, "x-forwarded-proto"), Some("http"));
    assert_eq!(seen(&mirrored, "forwarded"), None);
    assert_eq!(seen(&mirrored, "x-hop"), None);
    assert_eq!(seen(&mirrored, "cookie"), Some("session=1"));
    assert_eq!(seen(&mirrored, "x-request-id"), Some(answer.header("x-request-id")));
    assert_ne!(answer.header("x-request-id"), "mine");
    assert_eq!(mirrored["bytes"], 5);
}

#[tokio::test]
async fn ready_with_the_first_route_table_even_an_empty_one() {
    let edge = edge(&[]).await;
    assert_eq!(edge.manage("/livez").await.status, 200);
    assert_eq!(edge.manage("/readyz").await.status, 503);
    assert_eq!(edge.get("acme.crm.localhost", "/").await.status, 503);
    edge.route(&[]);
    assert_eq!(edge.manage("/readyz").await.status, 200);
    assert_eq!(edge.get("acme.crm.localhost", "/").await.status, 404);
    assert_eq!(edge.manage("/else").await.status, 404);
}

#[tokio::test]
async fn a_tenants_metrics_go_with_its_last_route() {
    let edge = edge(&[]).await;
    let acme = mirror("acme").await;
    edge.route(&[route("acme.crm.localhost", "acme", acme), route("b.crm.localhost", "b", acme)]);
    edge.get("acme.crm.localhost", "/").await;
    edge.get("b.crm.localhost", "/").await;
    edge.get("nobody.crm.localhost", "/").await;
    assert_eq!(edge.metric("requests_total{result=\"2xx\",tenant=\"acme\"}").await, 1);
    assert_eq!(edge.metric("refused_total{result=\"unknown_address\"}").await, 1);
    assert_eq!(edge.metric("routes ").await, 2);
    edge.route(&[route("b.crm.localhost", "b", acme)]);
    let metrics = edge.manage("/metrics").await.text;
    assert!(!metrics.contains("acme") && metrics.contains("tenant=\"b\""), "{metrics}");
    assert!(!metrics.contains("nobody"), "{metrics}");
}

#[tokio::test]
async fn head_and_empty_answers_keep_their_shape() {
    let edge = edge(&[]).await;
    let acme = crate::support::tenant(|request| async move {
        let builder = http::Response::builder();
        match request.uri().path() {
            "/204" => builder.status(204).body(text("")).unwrap(),
            "/304" => builder.status(304).header("etag", "\"1\"").body(text("")).unwrap(),
            _ => builder.header("content-length", "1000").body(text("")).unwrap(),
        }
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let head = edge.send(edge.request("HEAD", "acme.example", "/").body(text("")).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.text.as_str()), (200, "1000", ""));
    let empty = edge.get("acme.example", "/204").await;
    assert_eq!((empty.status.as_u16(), empty.header("content-length")), (204, ""));
    let unchanged = edge.get("acme.example", "/304").await;
    assert_eq!((unchanged.status.as_u16(), unchanged.header("etag")), (304, "\"1\""));
    let unknown = edge.send(edge.request("HEAD", "unknown.example", "/").body(text("")).unwrap()).await;
    assert_eq!((unknown.status.as_u16(), unknown.text.as_str()), (404, ""));
    let _: Value = edge.get("unknown.example", "/api/").await.json();
}
