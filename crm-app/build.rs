//! Makes a placeholder for the front end, so that the crate compiles without Node; release builds refuse it.

use std::{error::Error, fs, path::Path};

const PLACEHOLDER: &str = "<!doctype html><title>CRM</title><p>The front end is not built: npm ci && npm run build in crm-app/web.\n";

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
    let is_release = std::env::var("PROFILE")? == "release";
    let page = Path::new("web/dist/index.html");
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=test-migrations");
    println!("cargo::rerun-if-changed=sqlx.toml");
    if !page.exists() {
        fs::create_dir_all("web/dist")?;
        fs::write(page, PLACEHOLDER)?;
    }
    if is_release && fs::read_to_string(page)? == PLACEHOLDER {
        println!("cargo::error=crm-app/web/dist holds only the placeholder; build the front end first");
    }
    Ok(())
}
