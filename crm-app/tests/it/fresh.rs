//! Generated files are committed; here is what proves them fresh.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// Reads the environment, once for all of this file.
fn update() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
    std::env::var_os("UPDATE").is_some()
}

#[test]
fn the_openapi_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let (_, document) = crm_app::api::routes();
    let current = document.to_pretty_json().unwrap() + "\n";
    if update() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "crm-app/openapi.json is stale: UPDATE=1 cargo test -p crm-app fresh");
}

/// Compiles the crate against a migrated database and compares what the macros write down.
#[tokio::test]
async fn the_query_metadata_is_fresh() {
    let database = crate::database::migrated().await;
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = tempfile::tempdir().unwrap();
    let url = database.superuser_url();
    let nonce = format!("sqlx_fresh=\"{}\"", written.path().display());
    // An unknown --cfg makes cargo compile again, without a trace in the builds that others use.
    let compiled = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--quiet",
            "--package",
            "crm-app",
            "--lib",
            "--profile",
            "check",
            "--",
            "--cfg",
            &nonce,
        ])
        .args(["--allow", "unexpected_cfgs"])
        .env("CRM_APP_SCHEMA_URL", &url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", written.path())
        .current_dir(package)
        .status();
    assert!(compiled.unwrap().success(), "the crate does not compile against its own schema");
    let fresh = files(&package.join(".sqlx")) == files(written.path());
    assert!(fresh, "crm-app/.sqlx is stale: cargo e2e queries");
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}
