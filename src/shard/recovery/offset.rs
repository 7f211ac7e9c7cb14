//! Names of messages, by which a client says how far it came.
//!
//! A name is unique among all cores of a server without their sharing a counter: each counts by itself, in steps of as many as there are
//! sources. As text it begins with four characters that are another server's, or another start's, only by chance: a client takes the
//! last argument of *every* event for a name if it is a string, and what it takes wrongly for one must not look like one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Digits of the largest number.
const DIGITS_MAX: usize = 11;

/// The name of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offset {
    tag: Tag,
    number: u64,
}

/// What the names of one server begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag([u8; 4]);

impl Tag {
    pub(crate) fn new(random: [u8; 3]) -> Self {
        let mut text = [b'A'; 4];
        let written = URL_SAFE_NO_PAD.encode_slice(random, &mut text);
        debug_assert_eq!(written, Ok(4));
        Tag(text)
    }
}

impl Offset {
    /// The `count`-th name of one of so many sources.
    pub(crate) fn new(tag: Tag, count: u64, source: u64, sources: u64) -> Self {
        debug_assert!(source < sources);
        let number = count.wrapping_mul(sources).wrapping_add(source);
        Offset { tag, number }
    }

    /// Which of so many sources has given it.
    pub(crate) fn source(self, sources: u64) -> u64 {
        self.number % sources
    }

    /// Appends the name as text: letters, digits, `-` and `_`.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag.0);
        let mut rest = self.number;
        loop {
            out.push(DIGITS[(rest % 64) as usize]);
            rest /= 64;
            if rest == 0 {
                break;
            }
        }
    }

    /// The JSON of an event without this name, which is its last argument.
    pub(crate) fn taken_off(self, event: &mut [u8]) -> &mut [u8] {
        let mut end = b",\"".to_vec();
        self.write(&mut end);
        end.extend_from_slice(b"\"]");
        let kept = event.strip_suffix(&end[..]).map(<[u8]>::len);
        let Some(bracket) = kept else {
            debug_assert!(false, "it was written into the event");
            return event;
        };
        if let Some(byte) = event.get_mut(bracket) {
            *byte = b']';
        }
        event.get_mut(..=bracket).unwrap_or_default()
    }

    /// Reads what [`Offset::write`] wrote, and nothing else.
    pub(crate) fn parse(tag: Tag, text: &str) -> Option<Self> {
        let digits = text.as_bytes().strip_prefix(&tag.0)?;
        if digits.is_empty() || digits.len() > DIGITS_MAX {
            return None;
        }
        let mut number = 0_u64;
        for digit in digits.iter().rev() {
            let value = DIGITS.iter().position(|known| known == digit)?;
            number = number.checked_mul(64)?.checked_add(value as u64)?;
        }
        // One number has one name.
        let is_shortest = digits.len() == 1 || digits.last() != Some(&DIGITS[0]);
        is_shortest.then_some(Offset { tag, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::property::check;
    use proptest::prelude::*;

    fn text(offset: Offset) -> String {
        let mut out = Vec::new();
        offset.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        check(
            0x0FF5E7,
            (any::<[u8; 3]>(), any::<u64>()),
            |(tag, number)| {
                let tag = Tag::new(tag);
                let written = text(Offset { tag, number });
                assert!(written.len() <= 15, "{written}");
                assert_eq!(Offset::parse(tag, &written), Some(Offset { tag, number }));
            },
        );
    }

    #[test]
    fn a_name_is_taken_off_the_event_that_it_was_written_into() {
        let offset = Offset::new(Tag::new([9, 9, 9]), 70, 0, 1);
        for args in ["", r#",1,"CQkJGB""#] {
            let mut event = format!(r#"["e"{args},"CQkJGB"]"#).into_bytes();
            let without = format!(r#"["e"{args}]"#);
            assert_eq!(offset.taken_off(&mut event), without.as_bytes());
        }
    }

    #[test]
    fn two_texts_are_two_names() {
        let tag = Tag::new([1, 2, 3]);
        check(0x0FF5E8, "[A-Ca-c_é]{0,13}", |text_of_peer: String| {
            let given = format!("AQID{text_of_peer}");
            if let Some(offset) = Offset::parse(tag, &given) {
                assert_eq!(text(offset), given);
            }
        });
    }

    #[test]
    fn names_are_short_and_those_of_others_are_not_taken() {
        let tag = Tag::new([9, 9, 9]);
        assert_eq!(text(Offset::new(tag, 1_000_000, 3, 5)).len(), 8);
        for text in [
            "",
            "ok",
            "AQIDA",
            "CQkJ",
            "CQkJ AA",
            "CQkJAA",
            "CQkJ____________",
        ] {
            assert_eq!(Offset::parse(tag, text), None, "{text}");
        }
        assert_eq!(Offset::parse(tag, "CQkJA"), Some(Offset { tag, number: 0 }));
    }

    #[test]
    fn sources_share_no_name() {
        let (tag, mut names) = (Tag::new([0; 3]), std::collections::HashSet::new());
        for count in 0..1000 {
            for source in 0..3 {
                assert!(names.insert(Offset::new(tag, count, source, 3)));
            }
        }
    }
}
