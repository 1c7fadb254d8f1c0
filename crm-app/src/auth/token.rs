//! Secrets that are handed out once and stored as hashes only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::random;

/// 32 random bytes, URL-safe. Shown to the one who holds it, never logged, never stored.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn generate() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
    }

    /// One that came back. Anything else than what we hand out is not worth a query.
    pub fn parse(text: &str) -> Option<Self> {
        let plausible = (20..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'=');
        plausible.then(|| Self(text.to_owned()))
    }

    /// What is stored.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The token that unsafe requests of a session must repeat: derived, so that it needs no storage, and of no
    /// use to find the session's own.
    pub fn csrf(&self) -> String {
        URL_SAFE_NO_PAD
            .encode(Sha256::new().chain_update(b"csrf\0").chain_update(self.0.as_bytes()).finalize())
    }

    /// The clear text, for its holder.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let token = Token::generate();
        let back = Token::parse(token.reveal()).unwrap();
        assert_eq!(token.hash(), back.hash());
        assert_eq!(token.csrf(), back.csrf());
        assert_ne!(token.csrf(), token.reveal());
        assert_ne!(token.hash(), Token::generate().hash());
    }

    #[test]
    fn other_texts_are_no_tokens() {
        assert!(Token::parse("").is_none());
        assert!(Token::parse("short").is_none());
        assert!(Token::parse(&"a".repeat(129)).is_none());
        assert!(Token::parse("a' or '1'='1 aaaaaaaaaaaaaaaa").is_none());
    }
}
