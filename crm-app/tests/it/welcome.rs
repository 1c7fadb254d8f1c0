//! `/api/v1/welcome`

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;

use crate::app::{ADMIN, PASSWORD, TestApp};

#[tokio::test]
async fn looking_does_not_spend() {
    let app = TestApp::start().await;
    let mut client = app.stranger();
    let token = app.first_token.reveal().to_owned();
    for path in ["/welcome", "/api/v1/welcome", &format!("/welcome?{token}")] {
        client.get(path).await;
    }
    for _ in 0..3 {
        assert_eq!(
            client.inspect_link(&token).await.expect(200),
            json!({"name": "王芳", "email": ADMIN, "displayName": "杭州艾克米贸易有限公司"})
        );
    }
    client.spend_link(&token, PASSWORD).await.expect(200);
    client.session().await.expect(200);
}

#[tokio::test]
async fn a_link_works_once() {
    let app = TestApp::start().await;
    app.admin().await;
    let token = app.first_token.reveal();
    app.stranger().inspect_link(token).await.expect_problem(410, "link-invalid");
    app.stranger().spend_link(token, "another horse").await.expect_problem(410, "link-invalid");
    app.stranger().sign_in(ADMIN, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn of_many_at_once_one_spends_it() {
    let app = TestApp::start().await;
    let attempts =
        (0..8).map(|_| async { app.stranger().spend_link(app.first_token.reveal(), PASSWORD).await.status });
    let mut statuses = join_all(attempts).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410, 410, 410, 410, 410, 410, 410]);
}

#[tokio::test]
async fn expired_unknown_and_malformed_links_look_the_same() {
    let app = TestApp::start().await;
    app.advance(SignedDuration::from_hours(7 * 24));
    let expired = app.stranger().spend_link(app.first_token.reveal(), PASSWORD).await;
    let expired = expired.expect_problem(410, "link-invalid");
    for token in ["", "x", "never-handed-out-to-anybody-at-all", "' or true --"] {
        assert_eq!(app.stranger().spend_link(token, PASSWORD).await.expect(410), expired);
        assert_eq!(app.stranger().inspect_link(token).await.expect(410), expired);
    }
}

#[tokio::test]
async fn a_weak_password_does_not_spend_it() {
    let app = TestApp::start().await;
    let token = app.first_token.reveal();
    app.stranger().spend_link(token, "short").await.expect_invalid("/password", "too-short");
    app.stranger().spend_link(token, "password123").await.expect_invalid("/password", "common");
    app.stranger().spend_link(token, ADMIN).await.expect_invalid("/password", "common");
    app.stranger().spend_link(token, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_new_link_sets_a_new_password_and_ends_the_old_sessions() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let member = app.member(&admin, "lilei@acme.example").await;
    let id = admin.user_id("lilei@acme.example").await;
    let first = admin.new_link(&id).await.expect(201);
    let second = admin.new_link(&id).await.expect(201);
    let token = |link: &serde_json::Value| link["link"].as_str().unwrap()["/welcome#".len()..].to_owned();
    member.session().await.expect(200);
    app.stranger().spend_link(&token(&first), "staple battery").await.expect_problem(410, "link-invalid");
    app.stranger().spend_link(&token(&second), "staple battery").await.expect(200);
    member.session().await.expect_problem(401, "unauthorized");
    app.stranger().sign_in("lilei@acme.example", PASSWORD).await.expect_problem(401, "unauthorized");
    app.stranger().sign_in("lilei@acme.example", "staple battery").await.expect(200);
}
