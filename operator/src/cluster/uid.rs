//! Identity of an object, in few bytes.

use std::fmt;

use uuid::Uuid;

/// The uid of an object. To clients it is any text; API servers make it a UUID, which as such needs less than half of the
/// memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Uuid(Uuid),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        // Other spellings of one UUID are other uids.
        let uuid = Uuid::try_parse(text)
            .ok()
            .filter(|uuid| *uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text);
        Self(uuid.map_or_else(|| Form::Other(text.into()), Form::Uuid))
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Uuid(uuid) => uuid.fmt(f),
            Form::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for text in [
            "0190f3c1-7a3e-7c22-9d52-2f9f3a1b0c4d",
            "0190F3C1-7A3E-7C22-9D52-2F9F3A1B0C4D",
            "0190f3c17a3e7c229d522f9f3a1b0c4d",
            "urn:uuid:0190f3c1-7a3e-7c22-9d52-2f9f3a1b0c4d",
            "uid-of-acme",
            "",
        ] {
            assert_eq!(Uid::from(text).to_string(), text);
        }
        assert_ne!(
            Uid::from("0190f3c1-7a3e-7c22-9d52-2f9f3a1b0c4d"),
            Uid::from("0190F3C1-7A3E-7C22-9D52-2F9F3A1B0C4D")
        );
    }

    #[test]
    fn it_needs_no_allocation() {
        assert_eq!(size_of::<Uid>(), 24);
        assert!(matches!(Uid::from("0190f3c1-7a3e-7c22-9d52-2f9f3a1b0c4d").0, Form::Uuid(_)));
    }
}
