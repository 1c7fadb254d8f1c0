//! How text is found: normal form, pieces for the index, and what a query asks for.
//!
//! A record is found exactly when the normal form of its name or short name contains the normal form of the
//! query. The index holds every piece of one and two characters (words are no help in Chinese, and a
//! trigram index cannot find the two characters of a surname and a given name); a query asks for all of its
//! own pieces, and the few records that have them are compared as text. Phone numbers are found by their
//! last four or more digits: each tail is a piece of its own, marked with `#` so that it meets no other.

use std::{collections::BTreeSet, fmt::Write as _};

use caseless::Caseless;
use pinyin::ToPinyin;
use unicode_normalization::UnicodeNormalization;

use super::phone;

const SHORTEST_PHONE_TAIL: usize = 4;
/// What an index entry for sorting may take; names that are equal so far are in order of their ids.
const LONGEST_SORT_KEY_BYTES: usize = 600;

/// What is stored with a record, so that it can be found and sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The normal forms, one per line: a query has no line break, so it never matches across two fields.
    pub text: String,
    /// The pieces, sorted, each once.
    pub grams: Vec<String>,
    /// What sorting by name compares.
    pub sort_key: String,
}

/// Prepares a company for search.
pub fn index(name: &str, short_name: Option<&str>, phone_digits: Option<&str>) -> Indexed {
    let lines: Vec<String> = [Some(name), short_name].into_iter().flatten().map(normalize).collect();
    let mut grams: BTreeSet<String> = lines.iter().flat_map(|line| pieces(line)).collect();
    grams.extend(phone_digits.into_iter().flat_map(phone_tails));
    Indexed { text: lines.join("\n"), grams: grams.into_iter().collect(), sort_key: sort_key(name) }
}

/// What a query asks of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Must be part of the record's text.
    pub text: String,
    /// The record must have all of these.
    pub grams: Vec<String>,
    /// Or this one.
    pub phone_tail: Option<String>,
}

impl Query {
    /// `None` when nothing is left to look for.
    pub fn parse(raw: &str) -> Option<Self> {
        let text = normalize(raw);
        if text.is_empty() {
            return None;
        }
        let looks_like_a_number = text.chars().all(|c| c.is_ascii_digit() || " +-().".contains(c));
        let digits = phone::digits(&text);
        let phone_tail =
            (looks_like_a_number && SHORTEST_PHONE_TAIL <= digits.len()).then(|| format!("#{digits}"));
        // All pairs imply all single characters, which are only needed when there is no pair.
        let grams: BTreeSet<String> = match pairs(&text).collect::<BTreeSet<_>>() {
            none if none.is_empty() => singles(&text).collect(),
            pairs => pairs,
        };
        Some(Self { text, grams: grams.into_iter().collect(), phone_tail })
    }
}

/// Width, case and compatibility forms folded; control characters dropped; runs of blanks made one.
pub fn normalize(raw: &str) -> String {
    let folded = raw.nfd().default_case_fold().nfkd().default_case_fold().nfkc();
    let visible: String = folded.filter(|c| c.is_whitespace() || !is_ignorable(*c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that show nothing, and come along when text is copied from web pages and chats.
fn is_ignorable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Chinese characters sort by their pronunciation, as in every Chinese address book.
fn sort_key(name: &str) -> String {
    let mut key = String::new();
    for character in normalize(name).chars() {
        if LONGEST_SORT_KEY_BYTES < key.len() + 8 {
            break;
        }
        match character.to_pinyin() {
            // The blank keeps 西安 (xi an) and 先 (xian) apart; the character orders those that sound alike.
            Some(pinyin) => _ = write!(key, "{}{character} ", pinyin.with_tone_num_end()),
            None => key.push(character),
        }
    }
    key
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    singles(text).chain(pairs(text))
}

fn singles(text: &str) -> impl Iterator<Item = String> {
    text.chars().map(String::from)
}

fn pairs(text: &str) -> impl Iterator<Item = String> {
    text.chars().zip(text.chars().skip(1)).map(|(first, second)| String::from_iter([first, second]))
}

fn phone_tails(digits: &str) -> impl Iterator<Item = String> {
    let longest = digits.len();
    (SHORTEST_PHONE_TAIL..=longest).map(move |length| format!("#{}", &digits[longest - length..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ＡＢＣ　１２３", "abc 123")]
    #[case("Straße", "strasse")]
    #[case("ΣΊΣΥΦΟΣ", "σίσυφοσ")]
    #[case(" 杭州\t示例 ", "杭州 示例")]
    #[case("a\u{200b}b\u{feff}", "ab")]
    #[case("①㈱", "1(株)")]
    #[case("İ", "i\u{307}")]
    fn normal_forms(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(normalize(raw), expected);
    }

    #[rstest]
    #[case("示", &["示"], None)]
    #[case("示例", &["示例"], None)]
    #[case("示例科", &["例科", "示例"], None)]
    #[case("8000", &["00", "80"], Some("#8000"))]
    #[case("1380-013", &["-0", "0-", "01", "13", "38", "80"], Some("#1380013"))]
    #[case("800", &["00", "80"], None)]
    #[case("3m 8000", &[" 8", "00", "3m", "80", "m "], None)]
    fn what_a_query_asks_for(#[case] raw: &str, #[case] grams: &[&str], #[case] tail: Option<&str>) {
        let query = Query::parse(raw).unwrap();
        assert_eq!(query.grams, grams);
        assert_eq!(query.phone_tail.as_deref(), tail);
    }

    #[test]
    fn an_empty_query_asks_for_nothing() {
        assert_eq!(Query::parse(" \u{3000}\u{200b}"), None);
    }

    #[test]
    fn phone_tails_begin_with_four_digits() {
        let tails: Vec<_> = phone_tails("138001").collect();
        assert_eq!(tails, ["#8001", "#38001", "#138001"]);
        assert_eq!(phone_tails("110").count(), 0);
    }

    #[test]
    fn chinese_names_sort_by_pronunciation() {
        let mut names = ["中国", "北京", "Acme", "重阳", "西安", "先锋", "阿里"];
        names.sort_by_key(|name| sort_key(name));
        assert_eq!(names, ["阿里", "Acme", "北京", "西安", "先锋", "中国", "重阳"]);
    }

    #[test]
    fn the_longest_name_fits_an_index_entry() {
        let key = sort_key(&"\u{fdfa}".repeat(200));
        assert!(key.len() <= LONGEST_SORT_KEY_BYTES);
    }

    proptest! {
        #[test]
        fn normal_forms_stay_as_they_are(raw in any::<String>()) {
            let once = normalize(&raw);
            prop_assert_eq!(normalize(&once), once);
        }

        #[test]
        fn whatever_is_part_of_a_name_has_all_its_pieces(name in "\\PC{1,30}", from in 0..30_usize, length in 1..10_usize) {
            let part: String = normalize(&name).chars().skip(from).take(length).collect();
            let indexed = index(&name, None, None);
            if let Some(query) = Query::parse(&part) {
                prop_assert!(query.grams.iter().all(|gram| indexed.grams.contains(gram)));
            }
        }
    }
}
