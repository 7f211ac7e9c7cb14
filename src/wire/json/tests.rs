use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::scan::plain_prefix;
use super::*;

/// A small generator of pseudo-random numbers (SplitMix64): the same seed gives the same test.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Up to `max` bytes, mostly of those that mean something to a packet.
    pub(crate) fn text(&mut self, max: usize) -> Vec<u8> {
        const MEANINGFUL: &[u8] = b"0123456789-,/[]{}\":\\u aedftrnsl.+eEb\xff\xc3\x00\x1f";
        let length = self.below(max + 1);
        (0..length)
            .map(|_| {
                if self.below(8) == 0 {
                    self.next() as u8
                } else {
                    self.pick(MEANINGFUL)
                }
            })
            .collect()
    }

    /// A random change of one place.
    pub(crate) fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        let byte = self.text(1).first().copied().unwrap_or(b'"');
        match self.below(4) {
            0 => text.insert(at, byte),
            1 if at < text.len() => text[at] = byte,
            2 if at < text.len() => drop(text.remove(at)),
            _ => text.truncate(at),
        }
    }

    pub(crate) fn string(&mut self) -> String {
        const CHARS: &[char] = &[
            'a', 'Z', '"', '\\', '/', '\n', '\u{1}', '\u{7f}', 'é', '\u{2028}', '😀', ' ', ',', ']',
        ];
        let length = self.below(12);
        (0..length).map(|_| self.pick(CHARS)).collect()
    }

    pub(crate) fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => json!(self.next() as i64),
            3 => json!(self.below(1000) as f64 / 8.0),
            4 | 5 => Value::String(self.string()),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let entries = (0..self.below(4)).map(|_| (self.string(), self.value(depth - 1)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// `value` as a text with whitespace and escapes here and there.
    pub(crate) fn write(&mut self, value: &Value, out: &mut Vec<u8>) {
        self.space(out);
        match value {
            Value::String(text) => self.write_string(text, out),
            Value::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    out.extend((index > 0).then_some(b','));
                    self.write(item, out);
                }
                self.space(out);
                out.push(b']');
            }
            Value::Object(entries) => {
                out.push(b'{');
                for (index, (key, item)) in entries.iter().enumerate() {
                    out.extend((index > 0).then_some(b','));
                    self.space(out);
                    self.write_string(key, out);
                    self.space(out);
                    out.push(b':');
                    self.write(item, out);
                }
                self.space(out);
                out.push(b'}');
            }
            plain => serde_json::to_writer(&mut *out, plain).unwrap(),
        }
        self.space(out);
    }

    fn space(&mut self, out: &mut Vec<u8>) {
        if self.below(4) == 0 {
            out.push(self.pick(b" \t\r\n"));
        }
    }

    fn write_string(&mut self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for character in text.chars() {
            if self.below(4) == 0 {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
                }
            } else {
                let quoted = serde_json::to_string(&character.to_string()).unwrap();
                out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
            }
        }
        out.push(b'"');
    }
}

/// Runs `body` once for each seed below `count`, and says which seed failed.
pub(crate) fn for_each_seed(count: u64, body: fn(&mut Random)) {
    for seed in 0..count {
        let run = std::panic::catch_unwind(|| body(&mut Random::new(seed)));
        assert!(run.is_ok(), "seed {seed}");
    }
}

fn check(text: &[u8]) -> Result<(), JsonError> {
    Reader::new(text, MAX_DEPTH).finish()
}

/// The same, asked for token by token.
fn check_by_token(text: &[u8], max_depth: usize) -> Result<(), JsonError> {
    let mut reader = Reader::new(text, max_depth);
    while reader.token()?.is_some() {}
    Ok(())
}

fn nested(depth: usize) -> Vec<u8> {
    ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes()
}

const GOOD: &[&str] = &[
    "0",
    "-0",
    "10",
    "1.5",
    "-1.5e+10",
    "1E-3",
    "1e999",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    " [ ] ",
    "[1]",
    "[1,2]",
    "[[],[]]",
    "{}",
    "{\"a\":1}",
    "{\"a\":1,\"a\":2}",
    " { \"a\" : [ { } ] } ",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{7f}é😀\"",
    "[1,\"x\",null,true,{\"k\":[]}]\n",
];

const BAD: &[&str] = &[
    "",
    " ",
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "tru",
    "truee",
    "True",
    "nul",
    "\"",
    "\"a",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\",
    "\"\\u",
    "\"\n\"",
    "\"\0\"",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    "{]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{1:1}",
    "{a:1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1]",
    "1 2",
    "[] []",
    "[]]",
    "{}}",
    "[1],",
    "'a'",
    "/**/1",
    "\u{feff}1",
    "[1:2]",
    "{\"a\",\"b\"}",
];

#[test]
fn grammar_is_rfc_8259() {
    let wrong = Err(JsonError::Syntax);
    for (texts, wanted) in [(GOOD, Ok(())), (BAD, wrong)] {
        for text in texts {
            let bytes = text.as_bytes();
            assert_eq!(check(bytes), wanted, "{text}");
            assert_eq!(check_by_token(bytes, MAX_DEPTH), wanted, "{text}");
        }
    }
}

/// Each text is checked whole, and from behind each of its tokens on: what `finish` says does not depend on where it takes over.
#[test]
fn the_rest_is_what_its_tokens_are() {
    for_each_seed(3000, |random| {
        let value = random.value(4);
        let mut text = Vec::new();
        random.write(&value, &mut text);
        let max_depth = random.pick(&[1, 2, 3, MAX_DEPTH]);
        for _ in 0..4 {
            let wanted = check_by_token(&text, max_depth);
            let mut tokens = 0;
            loop {
                let mut reader = Reader::new(&text, max_depth);
                let before: Result<Vec<_>, _> = (0..tokens).map(|_| reader.token()).collect();
                match before {
                    Ok(before) if !before.contains(&None) => {
                        assert_eq!(reader.finish(), wanted, "{text:?} after {tokens}");
                    }
                    _ => break,
                }
                tokens += 1;
            }
            random.mutate(&mut text);
        }
    });
}

#[test]
fn tokens_come_in_order() {
    let mut reader = Reader::new(br#" {"k" : [1, "a\n", true], "" :null} "#, MAX_DEPTH);
    let plain = |raw| Quoted {
        raw,
        escaped: false,
    };
    let wanted = [
        (Token::ObjectStart, 1),
        (Token::Key(plain(b"k")), 1),
        (Token::ArrayStart, 2),
        (Token::Number(b"1"), 2),
        (
            Token::String(Quoted {
                raw: br"a\n",
                escaped: true,
            }),
            2,
        ),
        (Token::True, 2),
        (Token::ArrayEnd, 1),
        (Token::Key(plain(b"")), 1),
        (Token::Null, 1),
        (Token::ObjectEnd, 0),
    ];
    for (token, depth) in wanted {
        assert_eq!(reader.token(), Ok(Some(token)));
        assert_eq!(reader.depth(), depth, "after {token:?}");
    }
    assert_eq!(reader.token(), Ok(None));
    assert_eq!(reader.token(), Ok(None), "the end stays the end");
}

#[test]
fn depth_is_bounded_where_serde_json_is() {
    assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
    assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
    assert_eq!(check(&nested(1_000_000)), Err(JsonError::TooDeep));
    assert!(serde_json::from_slice::<Value>(&nested(MAX_DEPTH)).is_ok());
    assert!(serde_json::from_slice::<Value>(&nested(MAX_DEPTH + 1)).is_err());
    assert_eq!(Reader::new(&nested(3), 2).finish(), Err(JsonError::TooDeep));
    assert_eq!(Reader::new(&nested(2), 2).finish(), Ok(()));
    assert_eq!(
        Reader::new(b"[[],[],{\"a\":[]}]", 3).finish(),
        Ok(()),
        "depth, not count"
    );
    assert_eq!(
        Reader::new(&nested(200), usize::MAX).finish(),
        Err(JsonError::TooDeep)
    );
}

/// A note on `serde_json`, and the reason why this reader exists: it checks lone surrogates well enough when it ignores a value, but
/// without a depth limit; and a handler that deserialises to a string does get an error.
#[test]
fn lone_surrogates_are_json() {
    let text = br#"["\ud800","\udc00x","\ud800\ud800"]"#;
    assert_eq!(check(text), Ok(()));
    assert!(serde_json::from_slice::<IgnoredAny>(text).is_ok());
    assert!(serde_json::from_slice::<Value>(text).is_err());
    assert!(serde_json::from_slice::<IgnoredAny>(&nested(100_000)).is_ok());
}

#[test]
fn unescaping_agrees_with_serde_json() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let text = random.string();
        let mut json = Vec::new();
        random.write_string(&text, &mut json);
        let raw = str::from_utf8(&json[1..json.len() - 1]).unwrap();
        assert_eq!(Unescaped::new(raw).collect::<String>(), text, "seed {seed}");
        let quoted = Quoted {
            raw: raw.as_bytes(),
            escaped: raw.contains('\\'),
        };
        assert!(quoted.is(&text), "seed {seed}");
        assert!(!quoted.is(&format!("{text}x")), "seed {seed}");
    }
    let lossy = |raw| Unescaped::new(raw).collect::<String>();
    assert_eq!(lossy(r"a\ud800b"), "a\u{fffd}b");
    assert_eq!(lossy(r"\udc00"), "\u{fffd}");
    assert_eq!(lossy(r"\ud800\ud83d\ude00"), "\u{fffd}😀");
    assert_eq!(lossy(r"\ud800A"), "\u{fffd}A");
    // No well-formed string, and yet no panic.
    for raw in [
        r"\",
        r"\u",
        r"\u12",
        r"\u12é",
        r"\ud800\u",
        r"\ud800\u1",
        r"\q",
    ] {
        assert!(lossy(raw).len() <= raw.len() + 3, "{raw}");
    }
}

#[test]
fn plain_prefix_finds_the_first_byte_that_matters() {
    for length in [0, 1, 7, 8, 9, 17, 40, 63, 64, 65, 130, 200] {
        for at in 0..length {
            for byte in 0..=255_u8 {
                let mut text = vec![b'x'; length];
                text[at] = byte;
                let stops = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(
                    plain_prefix(&text),
                    if stops { at } else { length },
                    "{byte:#x} at {at} of {length}"
                );
            }
        }
    }
    // Bytes whose differences to the sought ones borrow from their neighbours.
    assert_eq!(plain_prefix(b"!#[] \x7f\x80\xff!#[] \x7f\x80\xff\""), 16);
    assert_eq!(plain_prefix(b"ab\"#\"#!!"), 2);
}

/// Accepts what `serde_json` accepts, but for the depth.
fn fuzz_reader(data: &[u8]) {
    let reference = serde_json::from_slice::<IgnoredAny>(data).is_ok();
    match check(data) {
        Ok(()) => assert!(reference, "{data:?}"),
        Err(JsonError::Syntax) => assert!(!reference, "{data:?}"),
        Err(JsonError::TooDeep) => assert!(data.len() > MAX_DEPTH),
    }
}

#[test]
fn agrees_with_serde_json_on_random_texts() {
    for_each_seed(4000, |random| {
        let value = random.value(4);
        let mut text = Vec::new();
        random.write(&value, &mut text);
        assert_eq!(check(&text), Ok(()), "{}", String::from_utf8_lossy(&text));
        for _ in 0..3 {
            random.mutate(&mut text);
            fuzz_reader(&text);
        }
        fuzz_reader(&random.text(40));
    });
}

#[test]
fn decimals() {
    for number in [
        0,
        1,
        9,
        10,
        99,
        100,
        12345,
        u64::from(u32::MAX),
        (1 << 53) - 1,
        u64::MAX,
    ] {
        let mut out = b"x".to_vec();
        write_decimal(&mut out, number);
        assert_eq!(out, format!("x{number}").into_bytes());
    }
}
