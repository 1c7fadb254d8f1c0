//! Size and checksum of bytes that pass by.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Size and checksum of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// In bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// Counts and hashes.
#[derive(Default)]
pub(crate) struct Tally {
    size: u64,
    sha256: Sha256,
}

impl Tally {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn sum(self) -> Sum {
        Sum { size: self.size, sha256: hex::encode(self.sha256.finalize()) }
    }
}
