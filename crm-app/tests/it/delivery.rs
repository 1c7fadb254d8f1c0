//! Exit bundles on their way to the door: what arrives, for whom, and what is there when it goes wrong.

use std::{fs, process::Stdio};

use crm_app::{
    backup::{Problem, Recipients},
    exchange::delivery::deliver,
};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::{
    bundle::{Bundle, plan, workspace},
    door::{FakeDoor, Fault, WITHIN},
    pod::{Pod, output},
    vault::{self, Gate, Keys},
};

/// By the stock programs, with the customer's key and nothing else.
#[tokio::test]
async fn what_arrives_is_the_whole_bundle_for_its_recipients() {
    let app = workspace().await;
    let (keys, door) = (Keys::generate(), FakeDoor::start([]).await);
    let pod = Pod::new(&keys);
    let ended = output(pod.export(&app.database, &door)).await;
    assert!(ended.status.success(), "{ended:?}");
    let report = pod.report();
    let objects = door.objects();
    assert_eq!(objects, [format!("exports/{}.zip.age", report["export"].as_str().unwrap())]);
    let object = door.object(".zip.age");
    assert_eq!(report["code"], "Delivered");
    assert_eq!(report["store"], crate::door::STORE);
    assert_eq!(report["size"], object.len());
    assert_eq!(report["sha256"], hex::encode(Sha256::digest(&object)));

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crm.zip.age"), object).unwrap();
    fs::copy(pod.file("report"), folder.path().join("report")).unwrap();
    let mut age = std::process::Command::new("age");
    age.args(["--decrypt", "--output", "crm.zip", "--identity"]).arg(pod.file("identity")).arg("crm.zip.age");
    assert!(age.current_dir(&folder).status().unwrap().success());
    let bundle = Bundle::extracted(folder);
    let sums = hex::encode(Sha256::digest(bundle.text("SHA256SUMS")));
    assert_eq!(bundle.report["sumsSha256"], sums);
    let sums = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(bundle.path())
        .output();
    assert!(sums.unwrap().status.success());
    assert_eq!(bundle.json("manifest.json")["createdAt"], bundle.report["createdAt"]);
}

fn refused(status: u16, reason: &str) -> Problem {
    Problem::DoorRefused { status, reason: Some(reason.to_owned()) }
}

#[rstest]
#[case::forbidden(Fault::Refuse("PUT bundle", 403, "Forbidden"), refused(403, "Forbidden"))]
#[case::full(Fault::Refuse("PUT bundle", 507, "OutOfSpace"), refused(507, "OutOfSpace"))]
#[case::hangs_up(Fault::HangUp("PUT bundle"), Problem::DoorUnreachable)]
#[case::other_bytes(Fault::Garble("PUT bundle"), Problem::ChecksumMismatch { of: "bundle" })]
#[tokio::test]
async fn a_door_that_fails_is_named(#[case] fault: Fault, #[case] problem: Problem) {
    let app = workspace().await;
    let (keys, door) = (Keys::generate(), FakeDoor::start([fault]).await);
    let recipients = Recipients::parse(&keys.recipient()).unwrap();
    let delivered = deliver(&plan(&app.database), &door.door(), &recipients, vault::soon()).await;
    assert_eq!(delivered, Err(problem));
}

#[tokio::test]
async fn a_dump_that_ends_badly_is_no_object() {
    let app = workspace().await;
    let (keys, door) = (Keys::generate(), FakeDoor::start([]).await);
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(&app.database);
    plan.programs.dump = vault::script(folder.path(), "pg_dump", "head -c 3000000 /dev/urandom; exit 1");
    let recipients = Recipients::parse(&keys.recipient()).unwrap();
    let delivered = deliver(&plan, &door.door(), &recipients, vault::soon()).await;
    assert_eq!(delivered, Err(Problem::DumpFailed { status: Some(1), sqlstate: None }));
    door.broke_off("PUT bundle").await;
    assert_eq!(door.objects(), [""; 0]);
}

/// Told to end before the dump, in its middle, and when the dump has ended. What is killed is in `export_killed.rs`.
#[rstest]
#[case::before("GATE; exec /usr/bin/pg_dump \"$@\"")]
#[case::in_the_middle("head -c 3000000 /dev/urandom; GATE")]
#[case::after("/usr/bin/pg_dump \"$@\"; GATE")]
#[tokio::test]
async fn told_to_end_it_leaves_nothing_that_looks_whole(#[case] script: &str) {
    let app = workspace().await;
    let (keys, door) = (Keys::generate(), FakeDoor::start([]).await);
    let pod = Pod::new(&keys);
    let gate = Gate::new(pod.folder());
    let programs = pod.file("programs");
    fs::create_dir(&programs).unwrap();
    vault::script(&programs, "pg_dump", &script.replace("GATE", &gate.before("true")));
    let mut command = pod.export(&app.database, &door);
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display())).stdout(Stdio::null());
    let mut running = command.spawn().unwrap();
    gate.reached().await;
    door.asked("PUT bundle").await;
    let pid = Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(WITHIN, running.wait()).await.expect("SIGTERM does not end it").unwrap();
    assert!(!ended.success());
    door.broke_off("PUT bundle").await;
    assert_eq!(door.objects(), [""; 0]);
    assert_eq!(pod.report()["code"], "Interrupted");
}
