//! Where things are kept that are costly to make: `~/.cache/tenantry`, by content hash.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The folder of all caches of this user.
pub fn root() -> Result<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the user's caches are; tests and the library ask here too"
    )]
    let chosen = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = match chosen {
        Some(folder) => folder,
        None => std::env::home_dir().context("no home directory: set HOME or XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(cache.join("tenantry"))
}

/// A short name for content: the first 12 hexadecimal digits of its SHA-256. Parts are told apart, not just joined.
pub fn content_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(12);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_parts_apart() {
        let hash = |parts: &[&str]| content_hash(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(hash(&["ab", "c"]), hash(&["ab", "c"]));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(hash(&["ab"]).len(), 12);
    }
}
