//! `crm-app backup` and `crm-app drill` as processes: flags, files, exit codes, reports, signals.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, process::Child, time::timeout};

use crate::{
    database,
    door::{FakeDoor, WITHIN},
    pod::{Pod, output},
    vault::{self, Keys},
};

/// Whether the program has releases inside that only tests run.
pub fn holds_test_releases() -> bool {
    let program = fs::read(env!("CARGO_BIN_EXE_crm-app")).unwrap();
    String::from_utf8_lossy(&program).contains("CRM_TEST_RELEASE")
}

#[cfg(not(feature = "test-releases"))]
#[test]
fn a_product_holds_nothing_that_only_tests_run() {
    assert!(!holds_test_releases());
}

#[tokio::test]
async fn a_backup_and_its_drill_report_what_they_did() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let pod = Pod::new(&keys);
    let ended = output(pod.backup(&database, &door)).await;
    assert!(ended.status.success(), "{ended:?}");
    let manifest = door.manifest();
    let (id, created_at) = (&manifest["id"], &manifest["createdAt"]);
    let schema_version = &manifest["schemaVersion"];
    let report = json!({
        "code": "BackedUp", "backup": id, "createdAt": created_at, "size": manifest["data"]["size"],
        "schemaVersion": schema_version,
    });
    assert_eq!((pod.report(), &manifest["reason"]), (report, &json!("OnDemand")));

    let _turn = vault::SCRATCH_TURN.lock().await;
    let ended = output(pod.drill(&door)).await;
    assert!(ended.status.success(), "{ended:?}");
    let mut report = pod.report();
    assert!(report["restoredIn"].take().as_u64().is_some_and(|seconds| 1 <= seconds));
    let expected = json!({
        "code": "Drilled", "backup": id, "createdAt": created_at, "restoredIn": null,
        "rows": schema_version, "schemaVersion": schema_version, "signedIn": false,
    });
    assert_eq!(report, expected, "only migrations have left rows");
}

#[tokio::test]
async fn why_a_backup_was_taken_stands_in_its_manifest() {
    let database = database::migrated().await;
    let keys = Keys::generate();
    for reason in ["Scheduled", "OnDemand", "Final", "Safety", "BeforeUpgrade"] {
        let door = FakeDoor::start([]).await;
        let pod = Pod::new(&keys);
        let ended = output(pod.backup_because(reason, &database, &door)).await;
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(door.manifest()["reason"], reason);
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_reported() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    for (file, report) in [
        ("password", json!({"code": "PasswordUnreadable"})),
        ("recipients", json!({"code": "RecipientsInvalid"})),
    ] {
        let pod = Pod::new(&keys);
        fs::remove_file(pod.file(file)).unwrap();
        let ended = output(pod.backup(&database, &door)).await;
        assert_eq!((ended.status.code(), pod.report()), (Some(1), report));
    }
    let pod = Pod::new(&keys);
    let mut drill = pod.command("drill", &door);
    drill.arg("--identity-file").arg(pod.file("nowhere")).args(["--scratch-socket", &database::socket()]);
    assert_eq!(output(drill).await.status.code(), Some(1));
    assert_eq!(pod.report(), json!({"code": "IdentityInvalid"}));
    assert!(door.seen().is_empty());
}

/// The program in place of `pg_dump` says who it is, writes a beginning, and would go on for minutes.
#[tokio::test]
async fn sigterm_ends_a_backup_and_its_dump_and_leaves_nothing_half() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let pod = Pod::new(&keys);
    let pid_file = pod.file("pid");
    let endless = format!("echo $$ >'{}'; head -c 300000 /dev/urandom; exec sleep 600", pid_file.display());
    let programs = pod.file("programs");
    fs::create_dir(&programs).unwrap();
    vault::script(&programs, "pg_dump", &endless);
    let mut command = pod.backup(&database, &door);
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let mut backup = command.spawn().unwrap();
    door.took(100_000).await;
    let dump: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(runs(dump));

    terminate(&backup);
    let ended = timeout(WITHIN, backup.wait()).await.expect("SIGTERM does not end it").unwrap();
    let mut words = String::new();
    backup.stdout.take().unwrap().read_to_string(&mut words).await.unwrap();
    assert_eq!((ended.code(), pod.report()), (Some(1), json!({"code": "Interrupted"})), "{words}");
    door.broke_off("PUT data").await;
    assert_eq!(door.objects(), [""; 0]);
    let gone = async {
        while runs(dump) {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, gone).await.expect("the dump still runs");
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
}

/// Whether a process is there and not only waiting to be collected.
fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
