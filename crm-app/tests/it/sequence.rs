//! What a restore loses, measured: somebody writes numbered records all the time, before, while and after a backup is taken and
//! restored. Of what was acknowledged before the time that the restore claims nothing is missing, and of what began after the
//! snapshot nothing is there.

use crm_app::{
    backup::{self, Outcome},
    db::Instant,
};
use jiff::Timestamp;
use rstest::rstest;
use sqlx::PgPool;
use tokio::{sync::watch, time::timeout};

use crate::{
    app::TestApp,
    client::Client,
    database::Database,
    door::{FakeDoor, WITHIN},
    vault::{self, Gate, Keys},
};

/// Records between two events.
const SOME: usize = 15;

/// A record that the application said yes to, between two looks at the database's clock: it was committed in between.
#[derive(Clone, Debug)]
struct Written {
    number: usize,
    begun: Timestamp,
    acknowledged: Timestamp,
}

#[rstest]
#[tokio::test]
async fn what_is_lost_is_what_the_restore_says(#[values(false, true)] in_place: bool) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let clock = app.database.superuser_pool().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let target = if in_place { Database::create().await } else { app.database.planned() };
    let serving = if in_place { &target } else { &app.database };
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let mut plan = vault::plan(&app.database, &door, &keys);
    // The snapshot is there before the dump begins, and the dump goes on only when more was written.
    plan.programs.dump = vault::script(folder.path(), "pg_dump", &gate.before("exec pg_dump \"$@\""));

    let (log, mut written) = watch::channel(Vec::new());
    let course = async {
        more(&mut written).await;
        let writing_meanwhile = async {
            gate.reached().await;
            let dump_began = now(&clock).await;
            more(&mut written.clone()).await;
            gate.open().await;
            dump_began
        };
        let (taken, dump_began) = tokio::join!(backup::take(&plan, vault::soon()), writing_meanwhile);
        assert!(matches!(taken, Ok(Outcome::BackedUp { .. })), "{taken:?}");
        more(&mut written).await;
        let restored = vault::restored(&vault::restore_plan(serving, &target, &door, &keys)).await;
        more(&mut written).await;
        (restored, dump_began)
    };
    let (restored, dump_began) = tokio::select! {
        ended = course => ended,
        () = write(&admin, &clock, &log) => unreachable!("it writes for ever"),
    };
    let Ok(Outcome::Restored { created_at: claimed, .. }) = restored else { panic!("{restored:?}") };

    let written = log.borrow().clone();
    let (kept, live) = (numbers(&target).await, numbers(&app.database).await);
    assert!(kept.iter().copied().eq(1..=kept.len()), "a gap: {kept:?}");
    assert!(
        written.iter().all(|one| live.contains(&one.number)),
        "the database that serves has lost something"
    );
    let is_kept = |one: &&Written| one.number <= kept.len();
    for one in &written {
        assert!(claimed < one.acknowledged || is_kept(&one), "lost, and not said to be: {one:?}, {claimed}");
        assert!(one.begun < dump_began || !is_kept(&one), "younger than the snapshot: {one:?}");
    }
    // What was on its way in the moment of the snapshot may have come through; nothing else tells the two losses apart.
    let lost = written.iter().filter(|one| !is_kept(one)).count();
    let said = written.iter().filter(|one| claimed < one.acknowledged).count();
    let on_the_way =
        written.iter().filter(|one| claimed < one.acknowledged && one.begun < dump_began).count();
    assert!(3 * SOME <= lost && lost <= said && said <= lost + on_the_way, "{lost} {said} {on_the_way}");
    println!("lost: {lost} records, said: {said}, on their way at the snapshot: at most {on_the_way}");
}

/// Writes for ever, one record after the other.
async fn write(client: &Client, clock: &PgPool, log: &watch::Sender<Vec<Written>>) {
    for number in 1.. {
        let begun = now(clock).await;
        client.company_named(&format!("number {number}")).await;
        let acknowledged = now(clock).await;
        log.send_modify(|all| all.push(Written { number, begun, acknowledged }));
    }
}

/// Waits until some more were written.
async fn more(written: &mut watch::Receiver<Vec<Written>>) {
    let enough = written.borrow().len() + SOME;
    let came = written.wait_for(|all| enough <= all.len());
    timeout(WITHIN, came).await.expect("nothing is written any more").unwrap();
}

async fn now(clock: &PgPool) -> Timestamp {
    let now: Instant = sqlx::query_scalar("select clock_timestamp()").fetch_one(clock).await.unwrap();
    now.to_jiff()
}

/// Of the records that are there, in their order.
async fn numbers(database: &Database) -> Vec<usize> {
    let db = database.superuser_pool().await;
    let names: Vec<String> =
        sqlx::query_scalar("select name from crm.company order by seq").fetch_all(&db).await.unwrap();
    db.close().await;
    names.iter().map(|name| name.strip_prefix("number ").unwrap().parse().unwrap()).collect()
}
