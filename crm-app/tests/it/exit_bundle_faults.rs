//! Exit bundles on their way to a browser, over a real connection, when something goes wrong: what breaks off looks broken, and
//! nothing is left of it.

use std::{fs, path::Path, time::Duration};

use axum::{Router, body::Body, http::Method};
use crm_app::db::exit_bundle;
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rstest::rstest;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    app::{ADMIN, PASSWORD, TestApp},
    bundle::workspace,
    client::Client,
    door::WITHIN,
    vault::{self, Gate},
};

async fn signed_in(app: &TestApp, router: Router) -> Client {
    let mut admin = app.stranger().at(router);
    admin.sign_in(ADMIN, PASSWORD).await.expect(200);
    admin
}

/// The application with a `pg_dump` of the test's own.
fn dumping(app: &TestApp, folder: &Path, script: &str) -> Router {
    let dump = vault::script(folder, "pg_dump", script);
    app.router_with(|exit| exit.programs.dump = dump)
}

/// Asks over a connection, which is open until its task is ended.
async fn asked(router: &Router, admin: &Client, link: &str) -> (Response<Incoming>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(async move { _ = connection.await });
    let request = admin.request(&Method::GET, link).body(Body::empty()).unwrap();
    (sender.send_request(request).await.unwrap(), connection)
}

/// Waits until nobody has the turn any more.
async fn is_over(app: &TestApp) {
    let over = async {
        let mut db = app.app.db.acquire().await.unwrap();
        while exit_bundle::is_taken(&mut db).await.unwrap() {}
    };
    timeout(WITHIN, over).await.expect("the snapshot is still held");
}

async fn is_gone(pid: &str) {
    let process = Path::new("/proc").join(pid);
    let gone = async {
        while process.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, gone).await.unwrap_or_else(|_| panic!("the process {pid} runs on"));
}

/// And the next one gets everything.
async fn can_be_fetched(app: &TestApp, admin: &Client) {
    is_over(app).await;
    let admin = admin.at(app.router.clone());
    let link = admin.exit_link().await;
    assert_eq!(admin.get(&link).await.status, 200);
}

/// Before its first byte, in its middle, and behind its last byte.
#[rstest]
#[case::at_once("exit 1")]
#[case::in_the_middle("head -c 3000000 /dev/urandom; exit 1")]
#[case::at_the_end("pg_dump \"$@\"; exit 1")]
#[case::killed("head -c 100000 /dev/urandom; kill -KILL $$")]
#[tokio::test]
async fn a_dump_that_fails_breaks_the_download_off(#[case] script: &str) {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let router = dumping(&app, folder.path(), script);
    let admin = signed_in(&app, router.clone()).await;
    let (response, connection) = asked(&router, &admin, &admin.exit_link().await).await;
    assert_eq!(response.status(), 200, "it had begun");
    let body = timeout(WITHIN, response.into_body().collect()).await.expect("it never ends");
    assert!(body.is_err(), "it looks like an end");
    connection.abort();
    can_be_fetched(&app, &admin).await;
}

/// While the dump says nothing, so that nobody tries to write to the one who is gone.
#[tokio::test]
async fn who_hangs_up_ends_the_dump() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let script = format!("echo $$ >'{}/pid'\n{}", folder.path().display(), gate.before("true"));
    let router = dumping(&app, folder.path(), &script);
    let admin = signed_in(&app, router.clone()).await;
    let link = admin.exit_link().await;
    let (response, connection) = asked(&router, &admin, &link).await;
    gate.reached().await;
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    admin.new_exit_link(PASSWORD).await.expect_problem(409, "export-running");
    connection.abort();
    drop(response);
    is_gone(pid.trim()).await;
    can_be_fetched(&app, &admin).await;
}

/// What is made before the dump comes at once, however long that takes.
#[tokio::test]
async fn the_first_bytes_do_not_wait_for_the_dump() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let router = dumping(&app, folder.path(), &gate.before("exec pg_dump \"$@\""));
    let admin = signed_in(&app, router.clone()).await;
    let (mut response, _connection) = asked(&router, &admin, &admin.exit_link().await).await;
    gate.reached().await;
    let first = timeout(WITHIN, response.body_mut().frame()).await.expect("nothing comes");
    let first = first.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"PK\x03\x04"), "{first:?}");
    gate.open().await;
    let rest = timeout(WITHIN, response.into_body().collect()).await.expect("it never ends");
    assert!(!rest.unwrap().to_bytes().is_empty());
}

/// A browser that takes nothing holds no snapshot for ever.
#[tokio::test]
async fn who_does_not_read_is_given_up() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let dump = vault::script(folder.path(), "pg_dump", "head -c 3000000 /dev/zero");
    let router = app.router_with(|exit| {
        exit.programs.dump = dump;
        exit.patience = Duration::from_millis(200);
    });
    let admin = signed_in(&app, router).await;
    let response = admin.open(&admin.exit_link().await).await;
    assert_eq!(response.status(), 200);
    is_over(&app).await;
    assert!(response.into_body().collect().await.is_err(), "it looks like an end");
    can_be_fetched(&app, &admin).await;
}
