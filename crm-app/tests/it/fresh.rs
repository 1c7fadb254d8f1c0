//! Generated files are committed; here is what proves them fresh. `UPDATE=1 cargo test` rewrites them.

use std::{fs, path::Path};

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
