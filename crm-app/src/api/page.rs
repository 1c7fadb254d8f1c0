//! Pages by keyset: a cursor says behind which record the next page begins, so that nothing is shown twice
//! or left out while others add records.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::{domain::Invalid, error::Error};

const DEFAULT_LIMIT: u32 = 50;
const MOST: u32 = 200;

/// How many records a page has.
#[derive(Clone, Copy, Debug)]
pub struct Limit(u32);

impl Limit {
    /// 1 to 200, 50 if nothing is said.
    pub fn parse(raw: Option<u32>) -> Result<Self, Error> {
        match raw.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MOST => Ok(Self(limit)),
            _ => Err(Error::invalid("limit", Invalid::Range)),
        }
    }

    /// One more than a page, to see whether another follows.
    pub fn with_one_more(self) -> i64 {
        i64::from(self.0) + 1
    }

    /// Cuts to one page; the cursor is made from its last record when another page follows.
    pub fn cut<T>(self, mut rows: Vec<T>, cursor: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let page = self.0 as usize;
        if rows.len() <= page {
            return (rows, None);
        }
        rows.truncate(page);
        let next = rows.last().map(cursor);
        (rows, next)
    }
}

/// Opaque to clients.
pub fn encode(position: &impl Serialize) -> String {
    // Positions are plain data: there is nothing in them that JSON cannot hold.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// What we once handed out.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Error::invalid("cursor", Invalid::Format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_another_follows() {
        let limit = Limit::parse(Some(2)).unwrap();
        let cursor = |n: &i32| n.to_string();
        assert_eq!(limit.cut(vec![1, 2], cursor), (vec![1, 2], None));
        assert_eq!(limit.cut(vec![1, 2, 3], cursor), (vec![1, 2], Some("2".to_owned())));
        assert!(Limit::parse(Some(0)).is_err());
        assert!(Limit::parse(Some(201)).is_err());
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        let position = ("name".to_owned(), 7);
        assert_eq!(decode::<(String, i32)>(&encode(&position)).unwrap(), position);
        assert!(decode::<(String, i32)>("!").is_err());
        assert!(decode::<(String, i32)>(&encode(&7)).is_err());
    }
}
