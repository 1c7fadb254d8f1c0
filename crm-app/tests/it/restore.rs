//! `crm-app restore` and `crm-app drop-database`: what comes back, and what is left alone.

use std::{fs, future::pending, time::Duration};

use crm_app::{
    args::Which,
    backup::{self, Deadline, Mark, Outcome, Problem},
    command::{drop_database::drop_database, restore::restore},
    db::{
        audit::{Verdict, verify},
        schema,
    },
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    app::{ADMIN, PASSWORD, TestApp},
    catalogue::{catalogue, content},
    database::{self, Database},
    door::{FakeDoor, TENANT, UID},
    pod::{Pod, output},
    vault::{self, Keys},
};

#[tokio::test]
async fn what_comes_back_is_the_backup_ready_to_serve_with_nobody_signed_in() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    app.member(&admin, "li@acme.example").await;
    let company = admin.company_named("杭州示例").await;
    let invited = json!({"name": "韩梅梅", "email": "han@acme.example", "role": "member"});
    let invited = admin.create_user(invited).await.expect(201);
    let link = invited["link"].as_str().unwrap().strip_prefix("/welcome#").unwrap().to_owned();
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let taken = vault::take(&app.database, &door, &keys).await;
    let Outcome::BackedUp { backup, created_at, .. } = taken else { panic!("{taken:?}") };
    let backed_up = content(&app.database).await;
    admin.company_named("too late").await;
    let live = content(&app.database).await;

    let target = app.database.planned();
    let plan = vault::restore_plan(&app.database, &target, &door, &keys);
    let outcome = vault::restored(&plan).await.unwrap();
    let Outcome::Restored { restored_in, rows, .. } = outcome else { panic!("{outcome:?}") };
    let tables = door.manifest()["tables"].as_array().unwrap().clone();
    assert_eq!(rows, tables.iter().map(|table| table["rows"].as_u64().unwrap()).sum::<u64>());
    let schema_version = schema::needed();
    assert_eq!(outcome, Outcome::Restored { backup, created_at, restored_in, rows, schema_version });

    assert_eq!(content(&target).await, backed_up);
    assert_eq!(content(&app.database).await, live, "the database that serves");
    assert_eq!(catalogue(&target).await, catalogue(&database::migrated().await).await);

    // Owner, application and backups work at once.
    let mut client = app.stranger_to(&target);
    client.cookie.clone_from(&admin.cookie);
    client.session().await.expect_problem(401, "unauthorized");
    client.inspect_link(&link).await.expect_problem(410, "link-invalid");
    client.sign_in(ADMIN, PASSWORD).await.expect(200);
    assert_eq!(client.company(company).await.expect(200)["name"], "杭州示例");
    client.company_named("afterwards").await;
    vault::take(&target, &FakeDoor::start([]).await, &keys).await;
    let han = client.user_id("han@acme.example").await;
    client.new_link(&han).await.expect(201);
}

/// Also that of one that was restored from a backup of a restored one.
#[tokio::test]
async fn the_audit_log_says_where_the_database_goes_back_to() {
    let app = TestApp::start().await;
    app.admin().await.company_named("示例").await;
    let keys = Keys::generate();
    let mut serving = app.database;
    for restores in 1..=2 {
        let door = FakeDoor::start([]).await;
        vault::take(&serving, &door, &keys).await;
        let manifest = door.manifest();
        let target = serving.planned();
        let plan = vault::restore_plan(&serving, &target, &door, &keys);
        vault::restored(&plan).await.unwrap();
        assert!(vault::restored(&plan).await.is_ok(), "it is found again, and not noted again");
        let db = target.superuser_pool().await;
        let entries = "select actor_id is null, changes from crm.audit_log
                       where action = 'restore' and object = 'workspace' order by id";
        let entries: Vec<(bool, Value)> = sqlx::query_as(entries).fetch_all(&db).await.unwrap();
        assert_eq!(entries.len(), restores);
        let expected = json!({
            "backup": [null, manifest["id"]], "backupCreatedAt": [null, manifest["createdAt"]],
            "backupOf": [null, format!("{TENANT}/{UID}")], "request": [null, "TenantRestore/5f0c6a2e"],
        });
        assert_eq!(entries.last().unwrap(), &(true, expected));
        let last = "select action from crm.audit_log order by id desc limit 1";
        let last: String = sqlx::query_scalar(last).fetch_one(&db).await.unwrap();
        assert_eq!(last, "restore", "nothing that came after the backup");
        let verdict = verify(&mut db.acquire().await.unwrap()).await.unwrap();
        assert!(matches!(verdict, Verdict::Whole(_)), "{verdict:?}");
        db.close().await;
        // Its backup counts the entry, and is as good as any.
        vault::take(&target, &door, &keys).await;
        vault::drilled(&vault::drill_plan(&door, &keys), vault::soon()).await.unwrap();
        serving = target;
    }
}

/// The mark is in the database itself, and every role can read it.
#[tokio::test]
async fn a_restore_that_was_done_is_found_and_reported_again() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let target = database.planned();
    let mut plan = vault::restore_plan(&database, &target, &door, &keys);
    let first = vault::restored(&plan).await.unwrap();
    let mut app = PgConnection::connect_with(&target.options("crm_app")).await.unwrap();
    let comment: String = sqlx::query_scalar(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()",
    )
    .fetch_one(&mut app)
    .await
    .unwrap();
    let Some(Mark::Finished(restored)) = Mark::read(&comment) else { panic!("{comment}") };
    assert_eq!(first, Outcome::from(restored.clone()));

    // Whoever works in it by now is not disturbed, and a newer backup changes nothing.
    vault::take(&database, &door, &keys).await;
    assert_eq!(vault::restored(&plan).await.as_ref(), Ok(&first));
    plan.backup = Which::Before(restored.created_at);
    assert_eq!(vault::restored(&plan).await.as_ref(), Ok(&first));
    plan.backup = Which::Id(restored.backup);
    plan.door = door.door_at("http://127.0.0.1:1");
    assert_eq!(vault::restored(&plan).await.as_ref(), Ok(&first));
    plan.backup = Which::Id("20261122T010000Z-k3v9x2".parse().unwrap());
    assert_eq!(vault::restored(&plan).await, Err(Problem::DatabaseInUse));
    app.ping().await.unwrap();
}

#[tokio::test]
async fn the_newest_backup_before_a_time_is_found() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let mut taken = Vec::new();
    for number in 0..3 {
        let outcome = vault::take(&app.database, &door, &keys).await;
        let Outcome::BackedUp { backup, created_at, .. } = outcome else { panic!("{outcome:?}") };
        taken.push((created_at, backup, content(&app.database).await));
        admin.company_named(&format!("after {number}")).await;
    }
    let moment = jiff::SignedDuration::from_micros(1);
    let (first, second) = (taken[0].0, taken[1].0);
    for (limit, expected) in [(first, &taken[0]), (second - moment, &taken[0]), (second + moment, &taken[1])]
    {
        let target = app.database.planned();
        let mut plan = vault::restore_plan(&app.database, &target, &door, &keys);
        plan.backup = Which::Before(limit);
        let outcome = vault::restored(&plan).await.unwrap();
        assert!(matches!(&outcome, Outcome::Restored { backup, .. } if *backup == expected.1), "{outcome:?}");
        assert_eq!(content(&target).await, expected.2);
    }
    let target = app.database.planned();
    let mut plan = vault::restore_plan(&app.database, &target, &door, &keys);
    plan.backup = Which::Before(first - moment);
    assert_eq!(vault::restored(&plan).await, Err(Problem::NoBackup));
    assert!(!target.exists().await);
}

/// A new tenant that begins with somebody's backup: its database is there, and nothing is in it.
#[tokio::test]
async fn an_empty_current_database_is_restored_in_its_place() {
    let app = TestApp::start().await;
    app.admin().await.company_named("示例").await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&app.database, &door, &keys).await;
    let new = Database::create().await;
    let plan = vault::restore_plan(&new, &new, &door, &keys);
    let outcome = vault::restored(&plan).await;
    assert!(matches!(outcome, Ok(Outcome::Restored { .. })), "{outcome:?}");
    assert_eq!(content(&new).await, content(&app.database).await);
    assert_eq!(catalogue(&new).await, catalogue(&app.database).await);
    let again = vault::restored(&plan).await;
    assert_eq!(again, outcome);
}

#[tokio::test]
async fn a_database_that_holds_something_else_is_left_alone() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&app.database, &door, &keys).await;
    admin.company_named("after the backup").await;
    let other = database::migrated().await;
    for (serving, target) in [(&app.database, &app.database), (&app.database, &other)] {
        let before = content(target).await;
        let plan = vault::restore_plan(serving, target, &door, &keys);
        assert_eq!(vault::restored(&plan).await, Err(Problem::DatabaseInUse));
        assert_eq!(content(target).await, before);
        assert_eq!(target.comment().await, Some(None));
    }
    let noted = format!("comment on database {} is 'keep this: see the minutes'", other.name());
    database::execute_as_superuser(&other, &noted).await;
    let plan = vault::restore_plan(&app.database, &other, &door, &keys);
    assert_eq!(vault::restored(&plan).await, Err(Problem::DatabaseInUse));
}

#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_to_this_one() {
    let database = Database::create().await;
    let mut owner = PgConnection::connect_with(&database.options("crm_owner")).await.unwrap();
    schema::MIGRATOR.run_to(2, &mut owner).await.unwrap();
    owner.close().await.unwrap();
    let grants =
        "grant usage on schema crm to crm_backup; grant select on all tables in schema crm to crm_backup";
    database::execute_as_superuser(&database, grants).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let target = database.planned();
    let outcome = vault::restored(&vault::restore_plan(&database, &target, &door, &keys)).await.unwrap();
    let now = schema::needed();
    assert!(
        matches!(outcome, Outcome::Restored { schema_version, .. } if schema_version == now),
        "{outcome:?}"
    );
    assert_eq!(catalogue(&target).await, catalogue(&database::migrated().await).await);
}

/// Rights that somebody changed by hand are not those of the release that serves it.
#[tokio::test]
async fn rights_are_those_of_this_release() {
    let database = database::migrated().await;
    database::execute_as_superuser(&database, "grant delete on crm.audit_log to crm_app").await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let target = database.planned();
    vault::restored(&vault::restore_plan(&database, &target, &door, &keys)).await.unwrap();
    assert_eq!(catalogue(&target).await, catalogue(&database::migrated().await).await);
}

/// The first one is thought to be dead, and is not: only the second can finish.
#[tokio::test]
async fn of_two_runs_the_later_one_wins() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let target = database.planned();
    let folder = tempfile::tempdir().unwrap();
    let gate = vault::Gate::new(folder.path());
    let mut slow = vault::restore_plan(&database, &target, &door, &keys);
    slow.programs.restore = vault::script(folder.path(), "pg_restore", &gate.after("pg_restore \"$@\""));
    let overtaking = async {
        gate.reached().await;
        let second = vault::restored(&vault::restore_plan(&database, &target, &door, &keys)).await;
        gate.open().await;
        second
    };
    let (first, second) = tokio::join!(vault::restored(&slow), overtaking);
    assert!(matches!(second, Ok(Outcome::Restored { .. })), "{second:?}");
    assert_eq!(first, Err(Problem::DatabaseInUse));
    assert_eq!(content(&target).await, content(&database).await);
}

#[tokio::test]
async fn the_command_reports_what_it_restored_and_what_it_dropped() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let (pod, target) = (Pod::new(&keys), database.planned());
    let ended = output(pod.restore(&database, &target, &door)).await;
    assert!(ended.status.success(), "{ended:?}");
    let manifest = door.manifest();
    let mut report = pod.report();
    assert!(report["restoredIn"].take().as_u64().is_some_and(|seconds| 1 <= seconds));
    let expected = json!({
        "code": "Restored", "backup": manifest["id"], "createdAt": manifest["createdAt"], "restoredIn": null,
        "rows": schema::needed(), "schemaVersion": schema::needed(),
    });
    assert_eq!(report, expected);
    assert!(fs::read(pod.file("report")).unwrap().len() <= 2048);

    let dropping = |serving: &Database, old: &Database| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_crm-app"));
        command.args(["drop-database", "--deadline", "3s"]).arg("--report").arg(pod.file("report"));
        pod.own(&mut command, serving, old);
        output(command)
    };
    assert_eq!(dropping(&target, &target).await.status.code(), Some(1));
    assert_eq!(pod.report(), json!({"code": "DatabaseCurrent"}));
    for _ in 0..2 {
        assert!(dropping(&target, &database).await.status.success());
        assert_eq!(pod.report(), json!({"code": "Dropped"}));
        assert!(!database.exists().await && target.exists().await);
    }
}

#[tokio::test]
async fn a_database_in_which_somebody_works_is_not_dropped() {
    let [old, serving] = [database::migrated().await, database::migrated().await];
    let mut app = PgConnection::connect_with(&old.options("crm_app")).await.unwrap();
    // What a command of ours has left behind is in nobody's way.
    let left = PgConnection::connect_with(&old.options("crm_owner")).await.unwrap();
    let dropping = |limit| {
        let deadline = Deadline::within(limit);
        let old = old.login("crm_owner");
        let current = serving.name().to_owned();
        async move { drop_database(&old, &current, deadline).await }
    };
    assert_eq!(dropping(Duration::from_secs(6)).await, Err(Problem::DatabaseInUse));
    app.ping().await.unwrap();
    app.close().await.unwrap();
    assert_eq!(dropping(Duration::from_secs(30)).await, Ok(Outcome::Dropped));
    assert!(!old.exists().await);
    drop(left);
}

#[tokio::test]
async fn a_restore_that_is_told_to_stop_leaves_nothing() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let folder = tempfile::tempdir().unwrap();
    for (target, remains) in [(database.planned(), false), (Database::create().await, true)] {
        let gate = vault::Gate::new(folder.path());
        let serving = if remains { &target } else { &database };
        let mut plan = vault::restore_plan(serving, &target, &door, &keys);
        plan.programs.restore = vault::script(folder.path(), "pg_restore", &gate.after("pg_restore \"$@\""));
        let stopped = async {
            gate.reached().await;
            assert!(matches!(
                target.comment().await.flatten().as_deref().map(Mark::read),
                Some(Some(Mark::Begun(_)))
            ));
            Problem::Interrupted
        };
        assert_eq!(restore(&plan, vault::soon(), stopped).await, Err(Problem::Interrupted));
        assert_eq!(target.comment().await, remains.then_some(None));
        // And can be done again.
        plan.programs = backup::Programs::default();
        let again = restore(&plan, vault::soon(), pending()).await;
        assert!(matches!(again, Ok(Outcome::Restored { .. })), "{again:?}");
        assert_eq!(content(&target).await, content(&database).await);
    }
}
