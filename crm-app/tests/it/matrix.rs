//! What holds for every operation, taken from the OpenAPI document: a new one is covered from its first day.

use axum::{
    body::Body,
    http::{HeaderMap, Method, header},
};
use crm_app::entitlement::State;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::TestApp,
    client::{Client, ORIGIN, Reply},
};

/// Only administrators may.
const FOR_ADMINISTRATORS: [&str; 5] =
    ["inviteUser", "updateUser", "newUserLink", "newExitLink", "fetchExitBundle"];
/// Work in a read-only workspace although they are unsafe; so does signing out, which the test does last.
const WHEN_READ_ONLY: [&str; 4] = ["signIn", "spendLink", "inspectLink", "newExitLink"];

struct Operation {
    id: String,
    method: Method,
    /// With an id that nothing has.
    path: String,
    is_private: bool,
    takes_body: bool,
}

impl Operation {
    async fn call(&self, client: &Client) -> Reply {
        self.call_with(client, &HeaderMap::new()).await
    }

    /// With headers changed, or removed where the new value is empty.
    async fn call_with(&self, client: &Client, changed: &HeaderMap) -> Reply {
        let mut request = client.request(&self.method, &self.path).header(header::IF_MATCH, "\"1\"");
        let body = if self.takes_body {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(Self::body().to_string())
        } else {
            Body::empty()
        };
        let mut request = request.body(body).unwrap();
        for (name, value) in changed {
            request.headers_mut().remove(name);
            if !value.is_empty() {
                request.headers_mut().insert(name, value.clone());
            }
        }
        client.raw(request).await
    }

    /// Something that would be accepted.
    fn body() -> Value {
        json!({"name": "x", "email": "x@acme.example", "role": "member", "password": "correct horse", "token": "x"})
    }
}

fn operations() -> Vec<Operation> {
    let (_, document) = crm_app::api::routes();
    let document = serde_json::to_value(document).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.replace("{id}", &Uuid::now_v7().to_string()),
                is_private: operation.get("security").is_some(),
                takes_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(10 < operations.len());
    operations
}

fn headers(changed: &[(&'static str, &'static str)]) -> HeaderMap {
    changed.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn strangers_see_nothing_private() {
    let app = TestApp::start().await;
    let mut forged = app.stranger();
    forged.cookie = Some("a-cookie-of-some-other-tenant-0123456789abc".to_owned());
    forged.csrf = Some("x".to_owned());
    for operation in operations().iter().filter(|operation| operation.is_private) {
        operation.call(&app.stranger()).await.expect_problem(401, "unauthorized");
        operation.call(&forged).await.expect_problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn members_cannot_do_what_administrators_do() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let member = app.member(&admin, "lilei@acme.example").await;
    for operation in operations().iter().filter(|operation| operation.is_private && operation.id != "signOut")
    {
        let reply = operation.call(&member).await;
        if FOR_ADMINISTRATORS.contains(&operation.id.as_str()) {
            reply.expect_problem(403, "forbidden");
        } else {
            assert!([200, 201, 404].contains(&reply.status), "{}: {}", operation.id, reply.status);
        }
    }
    assert_eq!(admin.users().await.as_array().unwrap().len(), 2, "nobody was added");
}

#[rstest]
#[case::no_token(&[("x-csrf-token", "")])]
#[case::another_token(&[("x-csrf-token", "bm90LXRoaXMtc2Vzc2lvbnMtdG9rZW4tYXQtYWxsLW5vLW5v")])]
#[case::another_origin(&[("origin", "https://evil.example")])]
#[case::another_tenants_origin(&[("origin", "http://bluesky.crm.localhost:8080")])]
#[case::another_site(&[("sec-fetch-site", "cross-site")])]
#[case::a_sibling_site(&[("sec-fetch-site", "same-site")])]
#[case::no_source(&[("sec-fetch-site", ""), ("origin", "")])]
#[tokio::test]
async fn unsafe_requests_must_be_our_own(#[case] changed: &'static [(&'static str, &'static str)]) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let only_the_token = changed[0].0 == "x-csrf-token";
    for operation in operations().iter().filter(|operation| !operation.method.is_safe()) {
        // Who signs in has no token yet; the source of the request protects those.
        if operation.is_private || !only_the_token {
            operation.call_with(&admin, &headers(changed)).await.expect_problem(403, "forbidden");
        }
    }
    admin.session().await.expect(200);
    assert_eq!(admin.users().await.as_array().unwrap().len(), 1, "nobody was added");
}

#[tokio::test]
async fn a_read_only_workspace_can_be_read_and_left() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("示例").await;
    app.entitle(|entitlement| entitlement.state = State::ReadOnly);
    for operation in operations().iter().filter(|operation| operation.id != "signOut") {
        let reply = operation.call(&admin).await;
        if operation.method.is_safe() || WHEN_READ_ONLY.contains(&operation.id.as_str()) {
            assert_ne!(reply.status, 403, "{}", operation.id);
        } else {
            reply.expect_problem(403, "read-only");
        }
    }
    let mut again = app.stranger();
    again.sign_in(crate::app::ADMIN, crate::app::PASSWORD).await.expect(200);
    assert_eq!(again.session().await.expect(200)["workspace"]["state"], "ReadOnly");
    again.company(id).await.expect(200);
    again.update_company(id, 1, json!({"level": "A"})).await.expect_problem(403, "read-only");
    app.entitle(|entitlement| entitlement.state = State::Active);
    again.update_company(id, 1, json!({"level": "A"})).await.expect(200);
    again.sign_out().await.expect(204);
}

#[tokio::test]
async fn ids_that_nothing_has_lead_nowhere() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for operation in operations().iter().filter(|operation| operation.path.contains("-7")) {
        operation.call(&admin).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut replies = Vec::new();
    for operation in operations() {
        replies.push(operation.call(&app.stranger()).await);
        replies.push(operation.call(&admin).await);
    }
    for path in ["/", "/companies", "/assets/none.js", "/api/none", "/api/v1/openapi.json", "/api"] {
        replies.push(app.stranger().get(path).await);
    }
    for method in [Method::PUT, Method::OPTIONS, Method::TRACE] {
        replies.push(app.stranger().send(method.clone(), "/api/v1/session", None).await);
        replies.push(app.stranger().send(method, "/", None).await);
    }
    for reply in replies {
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "same-origin");
        assert_eq!(reply.header("x-frame-options"), "DENY");
        assert!(!reply.header("x-request-id").is_empty());
        assert!(reply.header("strict-transport-security").is_empty(), "came by HTTP");
        assert!(!reply.header("cache-control").is_empty());
    }
    let secure = admin.request(&Method::GET, "/api/v1/session").header("x-forwarded-proto", "https");
    let reply = admin.raw(secure.body(Body::empty()).unwrap()).await;
    assert!(reply.header("strict-transport-security").starts_with("max-age=31536000"));
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn addresses_and_methods_that_are_not_there_are_problems_too() {
    let app = TestApp::start().await;
    let client = app.stranger();
    client.get("/api/none").await.expect_problem(404, "not-found");
    client.get("/api/v1/none").await.expect_problem(404, "not-found");
    client.send(Method::PUT, "/api/v1/session", None).await.expect_problem(405, "invalid");
    client.send(Method::POST, "/", None).await.expect_problem(405, "invalid");
    assert_eq!(client.get("/api/v1/openapi.json").await.expect(200)["info"]["title"], "Tenantry CRM");
    let public = client.get("/api/v1/workspace").await.expect(200);
    assert_eq!(public, json!({"displayName": "杭州艾克米贸易有限公司", "locale": "zh-CN"}));
}

#[tokio::test]
async fn the_gateways_request_id_is_kept_if_it_can_be_logged() {
    let app = TestApp::start().await;
    let client = app.stranger();
    for (sent, kept) in [("0199-abc", true), ("a b", false), ("{\"x\":1}", false), (&"a".repeat(65), false)] {
        let request = client.request(&Method::GET, "/api/v1/workspace").header("x-request-id", sent);
        let reply = client.raw(request.header("origin", ORIGIN).body(Body::empty()).unwrap()).await;
        assert_eq!(reply.header("x-request-id") == sent, kept, "{sent}");
    }
}
