//! `/api/v1/users`

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};

use crate::app::{ADMIN, PASSWORD, TestApp};

fn id_of(user: &Value) -> String {
    user["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_invited_person_takes_a_seat_and_becomes_active() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let invited = admin
        .create_user(json!({"name": " 李雷 ", "email": "LiLei@acme.example", "role": "member"}))
        .await
        .expect(201);
    assert_eq!(invited["name"], "李雷");
    assert_eq!(invited["email"], "lilei@acme.example");
    assert_eq!(invited["status"], "invited");
    let token = invited["link"].as_str().unwrap().strip_prefix("/welcome#").unwrap();
    let mut member = app.stranger();
    member.spend_link(token, PASSWORD).await.expect(200);
    let user = admin.user("lilei@acme.example").await;
    assert_eq!(user["status"], "active");
    assert!(user.get("link").is_none() && user.get("passwordHash").is_none());
}

#[tokio::test]
async fn the_last_seat_is_given_once() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    app.entitle(|entitlement| entitlement.seats = 4);
    let invite = |n: i32| {
        let admin = admin.clone();
        async move {
            let user = json!({"name": "x", "email": format!("x{n}@acme.example"), "role": "member"});
            admin.create_user(user).await.status
        }
    };
    let mut statuses = join_all((0..20).map(invite)).await;
    statuses.sort_unstable();
    assert_eq!(statuses[..4], [201, 201, 201, 403]);
    admin
        .create_user(json!({"name": "x", "email": "last@acme.example", "role": "member"}))
        .await
        .expect_problem(403, "seat-limit");

    // A seat becomes free when somebody leaves, and is needed to come back.
    let users = admin.users().await;
    let mut invited = users.as_array().unwrap().iter().filter(|user| user["status"] == "invited").map(id_of);
    let (first, second) = (invited.next().unwrap(), invited.next().unwrap());
    admin.update_user(&first, json!({"status": "deactivated"})).await.expect(200);
    admin.create_user(json!({"name": "x", "email": "last@acme.example", "role": "member"})).await.expect(201);
    admin.update_user(&first, json!({"status": "active"})).await.expect_problem(403, "seat-limit");
    admin.update_user(&second, json!({"status": "deactivated"})).await.expect(200);
    let back = admin.update_user(&first, json!({"status": "active"})).await.expect(200);
    assert_eq!(back["status"], "invited", "never had a password");
}

#[tokio::test]
async fn deactivating_ends_sessions_and_links_at_once() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let member = app.member(&admin, "lilei@acme.example").await;
    let id = admin.user_id("lilei@acme.example").await;
    let link =
        admin.new_link(&id).await.expect(201)["link"].as_str().unwrap()["/welcome#".len()..].to_owned();
    admin.update_user(&id, json!({"status": "deactivated"})).await.expect(200);
    member.session().await.expect_problem(401, "unauthorized");
    app.stranger().inspect_link(&link).await.expect_problem(410, "link-invalid");
    app.stranger().sign_in("lilei@acme.example", PASSWORD).await.expect_problem(401, "unauthorized");
    admin.new_link(&id).await.expect_problem(409, "conflict");

    admin.update_user(&id, json!({"status": "active"})).await.expect(200);
    member.session().await.expect_problem(401, "unauthorized");
    app.stranger().sign_in("lilei@acme.example", PASSWORD).await.expect(200);
}

#[rstest]
#[case(json!({"status": "deactivated"}))]
#[case(json!({"role": "member"}))]
#[tokio::test]
async fn the_last_active_administrator_stays(#[case] patch: Value) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.user_id(ADMIN).await;
    // An invited administrator does not count: nobody has come in by that link yet.
    admin.create_user(json!({"name": "x", "email": "x@acme.example", "role": "admin"})).await.expect(201);
    admin.update_user(&id, patch.clone()).await.expect_problem(409, "conflict");
    admin.session().await.expect(200);
    app.member(&admin, "lilei@acme.example").await;
    let other = admin.user_id("lilei@acme.example").await;
    admin.update_user(&other, json!({"role": "admin"})).await.expect(200);
    admin.update_user(&id, patch).await.expect(200);
}

#[tokio::test]
async fn two_administrators_cannot_remove_each_other() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let other = app.member(&admin, "lilei@acme.example").await;
    let (first, second) = (admin.user_id(ADMIN).await, admin.user_id("lilei@acme.example").await);
    admin.update_user(&second, json!({"role": "admin"})).await.expect(200);
    let (one, two) = tokio::join!(
        admin.update_user(&second, json!({"role": "member"})),
        other.update_user(&first, json!({"role": "member"})),
    );
    assert_eq!([one.status, two.status].iter().filter(|&&status| status == 200).count(), 1);
    let users = app.database.superuser_pool().await;
    let admins: i64 = sqlx::query_scalar("select count(*) from crm.app_user where role = 'admin'")
        .fetch_one(&users)
        .await
        .unwrap();
    assert_eq!(admins, 1);
}

#[tokio::test]
async fn what_cannot_be_accepted_is_named() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let reply = admin.create_user(json!({"name": " ", "email": "x", "role": "member"})).await;
    reply.expect_invalid("/name", "required");
    reply.expect_invalid("/email", "format");
    let taken = admin
        .create_user(json!({"name": "x", "email": ADMIN, "role": "member"}))
        .await
        .expect_problem(409, "conflict");
    assert_eq!(taken["errors"], json!([{"pointer": "/email", "code": "taken"}]));
    admin
        .create_user(json!({"name": "x", "email": "x@acme.example", "role": "owner"}))
        .await
        .expect_problem(422, "invalid");
    let id = admin.user_id(ADMIN).await;
    admin.update_user(&id, json!({"name": "x".repeat(101)})).await.expect_invalid("/name", "too-long");
    // Whatever else is sent is not looked at.
    let extra = json!({"name": "王小芳", "email": "new@acme.example", "passwordHash": "x", "id": "x"});
    assert_eq!(admin.update_user(&id, extra).await.expect(200)["email"], ADMIN);
}
