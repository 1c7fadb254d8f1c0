//! `/api/v1/exit-bundle`: who gets everything, and how often.

use axum::{
    body::Body,
    http::{Method, header},
};
use crm_app::{
    db::{
        audit::{Verdict, verify},
        exit_bundle,
    },
    entitlement::State,
};
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::{
    app::{ADMIN, PASSWORD, TestApp},
    bundle::{AWKWARD, Bundle, IMAGE, workspace},
    client::Client,
    door::TENANT,
};

const LI: &str = "li@acme.example";

/// The first administrator of a workspace that has been worked in.
async fn signed_in(app: &TestApp) -> Client {
    let mut admin = app.stranger();
    admin.sign_in(ADMIN, PASSWORD).await.expect(200);
    admin
}

/// What happened to the workspace as a whole: action, who did it, what changed.
pub async fn entries(app: &TestApp) -> Vec<(String, Option<String>, Value)> {
    let db = app.database.superuser_pool().await;
    let entries =
        "select action, email, changes from crm.audit_log a left join crm.app_user u on u.id = a.actor_id
                   where object = 'workspace' order by a.id";
    let rows = sqlx::query(entries).fetch_all(&db).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[rstest]
#[tokio::test]
async fn an_administrator_takes_everything_along(#[values(State::Active, State::ReadOnly)] state: State) {
    let app = workspace().await;
    let admin = signed_in(&app).await;
    app.entitle(|entitlement| entitlement.state = state);
    let request = admin.request(&Method::GET, &admin.exit_link().await).header("accept-encoding", "gzip");
    let reply = admin.raw(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/zip");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(reply.headers.get(header::CONTENT_ENCODING).is_none(), "it is packed already");

    let bundle = Bundle::downloaded(&reply.bytes);
    let name = bundle.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("crm-{TENANT}-2")), "{name}");
    assert_eq!(reply.header("content-disposition"), format!("attachment; filename=\"{name}.zip\""));
    let mut sums = std::process::Command::new("sha256sum");
    sums.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(bundle.path());
    assert!(sums.status().unwrap().success());
    let manifest = bundle.json("manifest.json");
    assert_eq!(manifest["tenant"], json!({"name": TENANT}));
    assert_eq!(manifest["app"]["image"], IMAGE);
    assert_eq!(manifest["displayName"], "杭州艾克米贸易有限公司");
    assert!(bundle.text("compose.yaml").contains(&format!("--tenant={TENANT}\n")));
    assert_eq!(bundle.lines("company")[0]["name"], AWKWARD);

    // By the application's own role nothing is missing that is there by the role for backups.
    let by_backup = Bundle::of(&app.database).await;
    for table in ["app_user", "company"] {
        assert_eq!(bundle.lines(table), by_backup.lines(table));
    }
    let position = |bundle: &Bundle| {
        let dump = bundle.dump();
        dump.lines().find(|line| line.contains("setval('crm.change_seq'")).map(str::to_owned)
    };
    assert!(position(&bundle).is_some());
    assert_eq!(position(&bundle), position(&by_backup));

    let who = Some(ADMIN.to_owned());
    let asked = ("new-exit-link".to_owned(), who.clone(), json!({}));
    let taken = ("exit-bundle".to_owned(), who, json!({"bundle": [null, name]}));
    assert_eq!(entries(&app).await, [asked, taken]);
    let mut db = app.app.db.acquire().await.unwrap();
    assert!(matches!(verify(&mut db).await.unwrap(), Verdict::Whole(_)));
}

#[tokio::test]
async fn a_link_holds_once_for_some_minutes_and_for_the_one_who_asked() {
    let app = workspace().await;
    let admin = signed_in(&app).await;
    let gone = async |client: &Client, link: &str| {
        client.get(link).await.expect_problem(410, "link-invalid");
    };

    let link = admin.exit_link().await;
    assert_eq!(admin.send(Method::HEAD, &link, None).await.status, 405);
    app.stranger().get(&link).await.expect_problem(401, "unauthorized");
    assert_eq!(admin.get(&link).await.status, 200);
    gone(&admin, &link).await;

    let replaced = admin.exit_link().await;
    let link = admin.exit_link().await;
    gone(&admin, &replaced).await;
    app.advance(SignedDuration::from_secs(5 * 60));
    gone(&admin, &link).await;

    let link = admin.exit_link().await;
    let li = admin.user_id(LI).await;
    admin.update_user(&li, json!({"role": "admin"})).await.expect(200);
    let mut other = app.stranger();
    other.sign_in(LI, PASSWORD).await.expect(200);
    gone(&other, &link).await;
    gone(&admin, "/api/v1/exit-bundle?token=x").await;
    admin.get("/api/v1/exit-bundle").await.expect_problem(422, "invalid");

    // And only while the one who asked may.
    let me = admin.user_id(ADMIN).await;
    admin.update_user(&me, json!({"role": "member"})).await.expect(200);
    admin.get(&link).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn the_password_is_asked_for_again_and_cannot_be_guessed() {
    let app = workspace().await;
    let admin = signed_in(&app).await;
    let db = app.database.superuser_pool().await;
    for _ in 0..10 {
        admin.new_exit_link("not the password").await.expect_invalid("/password", "wrong");
    }
    admin.new_exit_link(PASSWORD).await.expect_problem(429, "rate-limited");
    app.stranger().sign_in(ADMIN, PASSWORD).await.expect_problem(429, "rate-limited");
    let links: i64 = sqlx::query_scalar("select count(*) from crm.exit_link").fetch_one(&db).await.unwrap();
    assert_eq!(links, 0);
    app.advance(SignedDuration::from_secs(30));
    admin.new_exit_link(PASSWORD).await.expect(201);
    assert_eq!(admin.session().await.status, 200, "a wrong password signs nobody out");
}

#[tokio::test]
async fn links_are_few() {
    let app = workspace().await;
    let admin = signed_in(&app).await;
    for _ in 0..5 {
        admin.exit_link().await;
    }
    let refused = admin.new_exit_link(PASSWORD).await;
    refused.expect_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "300");
    app.advance(SignedDuration::from_secs(300));
    admin.exit_link().await;
}

#[tokio::test]
async fn there_is_one_at_a_time() {
    let app = workspace().await;
    let admin = signed_in(&app).await;
    let link = admin.exit_link().await;
    let mut other = app.app.db.begin().await.unwrap();
    assert!(exit_bundle::take_turn(&mut other).await.unwrap());
    let said = admin.get(&link).await.expect_problem(409, "export-running");
    assert!(said["detail"].as_str().unwrap().contains("one at a time"));
    admin.new_exit_link(PASSWORD).await.expect_problem(409, "export-running");
    let taken = entries(&app).await.iter().filter(|entry| entry.0 == "exit-bundle").count();
    assert_eq!(taken, 0, "nothing was taken");
    other.rollback().await.unwrap();
    let link = admin.exit_link().await;
    assert_eq!(admin.get(&link).await.status, 200);
}

#[tokio::test]
async fn a_server_that_does_not_know_whose_it_is_says_what_it_lacks() {
    let app = workspace().await;
    let admin = signed_in(&app).await.at(app.router_with(|exit| exit.origin = None));
    for reply in [admin.new_exit_link(PASSWORD).await, admin.get("/api/v1/exit-bundle?token=x").await] {
        let said = reply.expect_problem(501, "export-unavailable");
        assert!(said["detail"].as_str().unwrap().contains("--tenant and --image"));
    }
}
