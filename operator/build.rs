//! Has the addresses in the program that depend on where it is loaded packed (RELR): 1.4 MB less to read at each start, and to keep in
//! memory (<https://maskray.me/blog/2021-10-31-relative-relocations-and-relr>). Needs glibc 2.36, which Debian has since version 12.

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts about the target by their environment"
)]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = ["CARGO_CFG_TARGET_OS", "CARGO_CFG_TARGET_ENV", "CARGO_CFG_TARGET_ARCH"]
        .map(|name| std::env::var(name).unwrap_or_default());
    if target == ["linux", "gnu", "x86_64"] {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
