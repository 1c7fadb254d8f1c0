//! `/api/v1/companies`

use axum::{body::Body, http::Method};
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;
use uuid::Uuid;

use crate::app::TestApp;

#[tokio::test]
async fn a_company_comes_back_as_it_was_sent() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let sent = json!({
        "id": Uuid::now_v7(), "name": " 杭州示例科技有限公司 ", "shortName": "示例", "uscc": "91330100799655058b", "level": "A",
        "industry": "软件", "phone": "0571-8888 6666", "email": "Info@Example.com", "website": "www.example.com",
        "address": "杭州市", "annualRevenue": "1250000.5", "nextContactOn": "2026-12-01",
        "version": 77, "createdAt": "2001-01-01T00:00:00Z",
    });
    let reply = admin.create_company(sent.clone()).await;
    assert_eq!(reply.header("etag"), "\"1\"");
    let mut made = reply.expect(201);
    assert_eq!(made["owner"]["name"], "王芳");
    assert_eq!(made["ownerId"], made["owner"]["id"]);
    let id = sent["id"].as_str().unwrap().parse().unwrap();
    let read = admin.company(id).await;
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(read.expect(200), made);
    let fields = made.as_object_mut().unwrap();
    fields.retain(|field, _| !["owner", "ownerId"].contains(&field.as_str()));
    assert_eq!(
        made,
        json!({
            "id": sent["id"], "version": 1, "name": "杭州示例科技有限公司", "shortName": "示例",
            "uscc": "91330100799655058B", "level": "A", "industry": "软件", "phone": "0571-8888 6666",
            "email": "info@example.com", "website": "https://www.example.com", "address": "杭州市",
            "annualRevenue": "1250000.50", "nextContactOn": "2026-12-01",
            "createdAt": "2026-11-22T01:00:00Z", "updatedAt": "2026-11-22T01:00:00Z",
        })
    );
}

#[tokio::test]
async fn sending_the_same_again_adds_nothing() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = Uuid::now_v7();
    let company = json!({"id": id, "name": "示例"});
    let send = || admin.create_company(company.clone());
    let mut statuses: Vec<u16> =
        join_all((0..10).map(|_| send())).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!(admin.company_audit(id).await.as_array().unwrap().len(), 1);
    let other = app.member(&admin, "lilei@acme.example").await;
    other.create_company(company).await.expect_problem(409, "conflict");
    admin.create_company(json!({"id": Uuid::nil(), "name": "x"})).await.expect_invalid("/id", "format");
}

#[tokio::test]
async fn a_change_says_what_it_changes() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let company = json!({"name": "示例", "phone": "110", "level": "B"});
    let id: Uuid = admin.create_company(company).await.expect(201)["id"].as_str().unwrap().parse().unwrap();
    app.advance(SignedDuration::from_secs(1));
    let changed = admin.update_company(id, 1, json!({"phone": null, "level": "A", "address": ""})).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.expect(200);
    assert_eq!(
        (&changed["name"], &changed["phone"], &changed["level"]),
        (&json!("示例"), &json!(null), &json!("A"))
    );
    assert_eq!(changed["updatedAt"], "2026-11-22T01:00:01Z");

    // Nothing new: no new version, no entry.
    assert_eq!(admin.update_company(id, 2, json!({"level": "A"})).await.expect(200)["version"], 2);
    let audit = admin.company_audit(id).await;
    assert_eq!(audit.as_array().unwrap().len(), 2);
    assert_eq!(audit[0]["action"], "update");
    assert_eq!(audit[0]["actor"]["name"], "王芳");
    assert_eq!(audit[0]["changes"], json!({"phone": ["110", null], "level": ["B", "A"]}));
    assert_eq!(audit[1]["action"], "create");
    assert_eq!(audit[1]["changes"]["name"], json!([null, "示例"]));
}

#[tokio::test]
async fn a_change_of_an_old_version_gets_the_current_record() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("示例").await;
    let current = admin.update_company(id, 1, json!({"level": "A"})).await.expect(200);
    let stale = admin.update_company(id, 1, json!({"level": "B"})).await.expect_problem(409, "stale");
    assert_eq!(stale["current"], current);
    let path = format!("/api/v1/companies/{id}");
    admin.send(Method::PATCH, &path, Some(json!({"level": "B"}))).await.expect_problem(428, "invalid");
    for tag in ["*", "2", "W/\"2\"", "\"x\""] {
        let request = admin
            .request(&Method::PATCH, &path)
            .header("if-match", tag)
            .header("content-type", "application/json");
        admin.raw(request.body(Body::from("{}")).unwrap()).await.expect_invalid("If-Match", "format");
    }
    assert_eq!(admin.company(id).await.expect(200), current);
}

#[tokio::test]
async fn of_fifty_changes_at_once_each_version_has_one_winner() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("示例").await;
    for version in 1..4 {
        let changes = (0..50).map(|n| {
            let admin = admin.clone();
            async move {
                admin.update_company(id, version, json!({"address": format!("{version}/{n}")})).await.status
            }
        });
        let mut statuses = join_all(changes).await;
        statuses.sort_unstable();
        assert_eq!(statuses[0], 200);
        assert!(statuses[1..].iter().all(|&status| status == 409), "{statuses:?}");
        assert_eq!(admin.company(id).await.expect(200)["version"], version + 1);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let reply = admin
        .create_company(json!({
            "name": " ", "shortName": "x".repeat(61), "uscc": "91330100799655058A", "phone": "call me", "email": "x",
            "website": "javascript:alert(1)", "annualRevenue": "-1", "address": "a\nb",
        }))
        .await;
    for (pointer, code) in [
        ("/name", "required"),
        ("/shortName", "too-long"),
        ("/uscc", "checksum"),
        ("/phone", "format"),
        ("/email", "format"),
        ("/website", "format"),
        ("/annualRevenue", "format"),
        ("/address", "format"),
    ] {
        reply.expect_invalid(pointer, code);
    }
    admin.create_company(json!({})).await.expect_invalid("/name", "required");
    admin
        .create_company(json!({"name": "x", "ownerId": Uuid::now_v7()}))
        .await
        .expect_invalid("/ownerId", "unknown");
    admin.create_company(json!({"name": "x", "level": "D"})).await.expect_problem(422, "invalid");
    let id = admin.company_named("示例").await;
    admin.update_company(id, 1, json!({"name": null})).await.expect_invalid("/name", "required");
    admin.update_company(Uuid::now_v7(), 1, json!({})).await.expect_problem(404, "not-found");
    admin.company(Uuid::now_v7()).await.expect_problem(404, "not-found");
    admin.get("/api/v1/companies/1").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_credit_code_belongs_to_one_company() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let company = json!({"name": "示例", "uscc": "91330100799655058B"});
    admin.create_company(company.clone()).await.expect(201);
    let taken = admin.create_company(company).await.expect_problem(409, "conflict");
    assert_eq!(taken["errors"], json!([{"pointer": "/uscc", "code": "taken"}]));
    let id = admin.company_named("另一个").await;
    admin.update_company(id, 1, json!({"uscc": "91330100799655058b"})).await.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_company_may_belong_to_nobody_or_somebody_else() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let member = app.member(&admin, "lilei@acme.example").await;
    let member_id = member.session().await.expect(200)["user"]["id"].clone();
    let made = admin.create_company(json!({"name": "示例", "ownerId": null})).await.expect(201);
    assert_eq!((&made["ownerId"], &made["owner"]), (&json!(null), &json!(null)));
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let given = admin.update_company(id, 1, json!({"ownerId": member_id})).await.expect(200);
    assert_eq!(given["owner"]["name"], "李雷");
}
