//! `/api/v1/session`

use axum::{body::Body, http::Method};
use jiff::SignedDuration;
use serde_json::json;

use crate::app::{ADMIN, PASSWORD, TestApp};

#[tokio::test]
async fn signing_in_tells_who_and_where() {
    let app = TestApp::start().await;
    app.admin().await;
    let mut client = app.stranger();
    client.session().await.expect_problem(401, "unauthorized");
    let reply = client.sign_in(" Fang@Acme.Example ", PASSWORD).await;
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-session="));
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=2592000"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{attribute} in {cookie}");
    }
    let signed_in = reply.expect(200);
    assert_eq!(signed_in["user"]["email"], ADMIN);
    assert_eq!(signed_in["user"]["role"], "admin");
    assert_eq!(
        signed_in["workspace"],
        json!({"displayName": "杭州艾克米贸易有限公司", "locale": "zh-CN", "timeZone": "Asia/Shanghai",
               "currency": "CNY", "state": "Active", "seats": 10})
    );
    assert_eq!(client.session().await.expect(200), signed_in);
}

#[tokio::test]
async fn wrong_password_and_unknown_address_look_the_same() {
    let app = TestApp::start().await;
    app.admin().await;
    let wrong = app.stranger().sign_in(ADMIN, "wrong horse").await.expect_problem(401, "unauthorized");
    let unknown =
        app.stranger().sign_in("nobody@acme.example", PASSWORD).await.expect_problem(401, "unauthorized");
    let no_address = app.stranger().sign_in("nobody", PASSWORD).await.expect_problem(401, "unauthorized");
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, no_address);
}

#[tokio::test]
async fn an_invited_person_without_password_cannot_sign_in() {
    let app = TestApp::start().await;
    app.stranger().sign_in(ADMIN, "").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn each_sign_in_has_a_token_of_its_own() {
    let app = TestApp::start().await;
    let mut client = app.admin().await;
    let before = client.clone();
    client.sign_in(ADMIN, PASSWORD).await.expect(200);
    assert_ne!(before.cookie, client.cookie);
    assert_ne!(before.csrf, client.csrf);
    before.session().await.expect_problem(401, "unauthorized");
    client.session().await.expect(200);
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server() {
    let app = TestApp::start().await;
    let mut client = app.admin().await;
    let copy = client.clone();
    let reply = client.sign_out().await;
    reply.expect(204);
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(client.cookie, None);
    copy.session().await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn an_unused_session_ends_after_a_week_and_a_used_one_after_thirty_days() {
    let app = TestApp::start().await;
    let used = app.admin().await;
    let mut unused = app.stranger();
    unused.sign_in(ADMIN, PASSWORD).await.expect(200);
    let days = |days: i64| SignedDuration::from_hours(days * 24);
    for _ in 0..4 {
        app.advance(days(6));
        used.session().await.expect(200);
    }
    unused.session().await.expect_problem(401, "unauthorized");
    app.advance(days(6) - SignedDuration::from_secs(1));
    used.session().await.expect(200);
    app.advance(SignedDuration::from_secs(1));
    used.session().await.expect_problem(401, "unauthorized");
    let swept = crm_app::command::housekeeping::sweep(&app.app).await.unwrap();
    assert!(2 <= swept, "both sessions, not {swept}");
}

#[tokio::test]
async fn guessing_one_account_is_slowed_down_from_wherever() {
    let app = TestApp::start().await;
    app.admin().await;
    let guess = async |attempt: u32, password: &str| {
        let body = json!({"email": ADMIN, "password": password}).to_string();
        let request = app
            .stranger()
            .request(&Method::POST, "/api/v1/session")
            .header("content-type", "application/json")
            .header("x-forwarded-for", format!("203.0.113.{attempt}"));
        app.stranger().raw(request.body(Body::from(body)).unwrap()).await
    };
    for attempt in 0..10 {
        guess(attempt, "wrong horse").await.expect_problem(401, "unauthorized");
    }
    let refused = guess(10, PASSWORD).await;
    refused.expect_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "30");
    app.advance(SignedDuration::from_secs(30));
    guess(11, PASSWORD).await.expect(200);
    guess(12, "wrong horse").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn guessing_many_accounts_from_one_address_is_slowed_down() {
    let app = TestApp::start().await;
    let mut client = app.stranger();
    for attempt in 0..60 {
        // Links count as well, and cost no hashing.
        client
            .inspect_link(&format!("not-a-token-we-ever-handed-out-{attempt}"))
            .await
            .expect_problem(410, "link-invalid");
    }
    client.sign_in("somebody@acme.example", PASSWORD).await.expect_problem(429, "rate-limited");
    app.advance(SignedDuration::from_secs(5));
    client.sign_in("somebody@acme.example", PASSWORD).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn only_json_signs_in() {
    let app = TestApp::start().await;
    let client = app.stranger();
    let form = client
        .request(&Method::POST, "/api/v1/session")
        .header("content-type", "application/x-www-form-urlencoded");
    let reply = client.raw(form.body(Body::from("email=a&password=b")).unwrap()).await;
    reply.expect_problem(415, "invalid");
    let broken = client.request(&Method::POST, "/api/v1/session").header("content-type", "application/json");
    client.raw(broken.body(Body::from("{")).unwrap()).await.expect_problem(400, "invalid");
    client.post("/api/v1/session", json!({"email": 1})).await.expect_problem(422, "invalid");
    let huge = json!({"email": ADMIN, "password": "x".repeat(300 * 1024)});
    client.post("/api/v1/session", huge).await.expect_problem(413, "invalid");
}
