//! Changes that are being made are counted for whoever has to know that nobody makes any more.

use crm_app::{entitlement::State, health, leaving::Leaving};
use serde_json::json;
use tokio::time::timeout;

use crate::{app::TestApp, client::Client, door::WITHIN, killing::Lock};

/// What one look says: whether the workspace is read-only, and how many changes are in flight.
async fn look(app: &TestApp) -> (u8, u8) {
    let management = Client::new(health::router(app.app.clone(), Leaving::default()));
    let text = String::from_utf8(management.get("/metrics").await.bytes).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().unwrap()
    };
    (value("crm_read_only"), value("crm_http_changes_in_flight"))
}

/// Waits until no change is in flight any more.
async fn quiet(app: &TestApp) {
    let quiet = async {
        while look(app).await.1 != 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, quiet).await.expect("a change is in flight for ever");
}

async fn companies(admin: &Client) -> usize {
    admin.companies(&[]).await.expect(200)["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn who_found_the_workspace_active_is_counted_until_the_answer() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    assert_eq!(look(&app).await, (0, 0));
    let lock = Lock::take(app.database.superuser(), "lock table crm.company in share mode").await;
    let writing = admin.company_named("示例");
    let watching = async {
        lock.awaited().await;
        app.entitle(|entitlement| entitlement.state = State::ReadOnly);
        assert_eq!(companies(&admin).await, 0, "who only reads is not counted");
        assert_eq!(look(&app).await, (1, 1), "one has found the workspace active");
        lock.let_go().await;
    };
    tokio::join!(writing, watching);
    assert_eq!(look(&app).await, (1, 0));
    assert_eq!(companies(&admin).await, 1);
}

#[tokio::test]
async fn who_has_not_looked_at_the_state_yet_is_counted_too() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let lock = Lock::take(app.database.superuser(), "lock table crm.session in access exclusive mode").await;
    let writing = admin.create_company(json!({"name": "示例"}));
    let watching = async {
        lock.awaited().await;
        assert_eq!(look(&app).await, (0, 1), "it waits to know who asks, and may find the workspace active");
        app.entitle(|entitlement| entitlement.state = State::ReadOnly);
        assert_eq!(look(&app).await, (1, 1));
        lock.let_go().await;
    };
    let (refused, ()) = tokio::join!(writing, watching);
    refused.expect_problem(403, "read-only");
    assert_eq!(look(&app).await, (1, 0));
}

/// As when a browser is closed, or the gateway goes: what it had asked for may be at the commit by then.
#[tokio::test]
async fn who_hangs_up_is_counted_until_nothing_is_written_any_more() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let lock = Lock::take(app.database.superuser(), "lock table crm.company in share mode").await;
    {
        let writing = admin.create_company(json!({"name": "示例"}));
        tokio::select! {
            reply = writing => panic!("it did not wait: {}", reply.status),
            () = lock.awaited() => {}
        }
    }
    assert_eq!(look(&app).await, (0, 1), "nobody waits for the answer, and the database is still to write");
    lock.let_go().await;
    quiet(&app).await;
    assert_eq!(companies(&admin).await, 1, "what was counted was done");
}
