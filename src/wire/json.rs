//! JSON (RFC 8259) read token by token: no tree, no recursion, no allocation, bounded depth.
//!
//! A packet's JSON is passed on as it came, so all the engine wants is to know that it is well formed, and to see a few
//! tokens of it: an event's name, a binary placeholder. `serde_json` would do most of this with `IgnoredAny`, but that has no depth
//! limit (it keeps a heap stack instead), and its other ways in decode strings, which fails on a lone surrogate such
//! as `"\ud800"`: browsers send those, and they are legal JSON.
//!
//! The reader works on bytes and takes what a string holds for UTF-8: the transport has checked the message as a whole.

use std::ops::Deref;

mod scan;
pub(crate) use scan::plain_prefix;
#[cfg(test)]
pub(crate) mod tests;

/// The deepest nesting read. It is what `serde_json` reads too, so a handler can deserialise whatever was let in; and
/// a bit per level fits a `u128`.
pub(crate) const MAX_DEPTH: usize = 127;

/// Why a text is not JSON that we pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON.
    Syntax,
    /// More arrays and objects inside each other than allowed.
    TooDeep,
}

/// One token. A comma and a colon are checked, not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    ArrayStart,
    ArrayEnd,
    ObjectStart,
    ObjectEnd,
    Key(Quoted<'t>),
    String(Quoted<'t>),
    /// The number as written.
    Number(&'t [u8]),
    True,
    False,
    Null,
}

/// What stands between the quotes of a string, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted<'t> {
    pub raw: &'t [u8],
    /// True when `raw` holds a backslash.
    pub escaped: bool,
}

impl Quoted<'_> {
    /// True when the string, unescaped, is `text`. Allocates nothing.
    pub(crate) fn is(&self, text: &str) -> bool {
        if !self.escaped {
            return self.raw == text.as_bytes();
        }
        std::str::from_utf8(self.raw).is_ok_and(|raw| Unescaped::new(raw).eq(text.chars()))
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    /// The first item of an array, or its end.
    FirstItem,
    Key,
    /// The first key of an object, or its end.
    FirstKey,
    /// A comma, or the end of the container.
    Next,
    /// Nothing but whitespace: the value is whole.
    End,
}

/// Reads one JSON value from a text that holds nothing else. A clone of it looks ahead.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    max_depth: usize,
    /// Bit `d` is set when the container at depth `d` is an object.
    objects: u128,
    expect: Expect,
}

impl<'t> Reader<'t> {
    /// `max_depth` above [`MAX_DEPTH`] counts as that.
    pub(crate) fn new(text: &'t [u8], max_depth: usize) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            max_depth: max_depth.min(MAX_DEPTH),
            objects: 0,
            expect: Expect::Value,
        }
    }

    /// The text of an array, from behind its first item on: that one ends at `at`, and is known to be well formed.
    #[inline]
    pub(crate) fn behind_first_item(text: &'t [u8], at: usize, max_depth: usize) -> Self {
        Self {
            at,
            depth: 1,
            expect: Expect::Next,
            ..Self::new(text, max_depth)
        }
    }

    /// How many containers are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Where the last token ended: the index of the byte after it (after its colon, for a key).
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next token, or `None` once the value is whole and only whitespace followed.
    pub(crate) fn token(&mut self) -> Result<Option<Token<'t>>, JsonError> {
        let Some(mut byte) = self.peek_past_whitespace() else {
            return if self.expect == Expect::End {
                Ok(None)
            } else {
                Err(JsonError::Syntax)
            };
        };
        if self.expect == Expect::Next && byte == b',' {
            self.at += 1;
            self.expect = if self.in_object() {
                Expect::Key
            } else {
                Expect::Value
            };
            byte = self.peek_past_whitespace().ok_or(JsonError::Syntax)?;
        }
        let token = match (self.expect, byte) {
            (Expect::FirstItem, b']') => self.close(Token::ArrayEnd),
            (Expect::FirstKey, b'}') => self.close(Token::ObjectEnd),
            (Expect::Next, b']') if !self.in_object() => self.close(Token::ArrayEnd),
            (Expect::Next, b'}') if self.in_object() => self.close(Token::ObjectEnd),
            (Expect::Value | Expect::FirstItem, _) => self.value(byte)?,
            (Expect::Key | Expect::FirstKey, b'"') => self.key()?,
            _ => return Err(JsonError::Syntax),
        };
        Ok(Some(token))
    }

    fn value(&mut self, first: u8) -> Result<Token<'t>, JsonError> {
        let token = match first {
            b'"' => Token::String(self.quoted()?),
            b'[' => return self.open(Token::ArrayStart),
            b'{' => return self.open(Token::ObjectStart),
            b't' => self.literal(b"true", Token::True)?,
            b'f' => self.literal(b"false", Token::False)?,
            b'n' => self.literal(b"null", Token::Null)?,
            _ => Token::Number(self.number()?),
        };
        self.after_value();
        Ok(token)
    }

    #[inline]
    fn after_value(&mut self) {
        self.expect = if self.depth == 0 {
            Expect::End
        } else {
            Expect::Next
        };
    }

    fn open(&mut self, token: Token<'t>) -> Result<Token<'t>, JsonError> {
        if self.depth >= self.max_depth {
            return Err(JsonError::TooDeep);
        }
        self.at += 1;
        self.depth += 1;
        let bit = 1 << self.depth;
        if token == Token::ObjectStart {
            self.objects |= bit;
            self.expect = Expect::FirstKey;
        } else {
            self.objects &= !bit;
            self.expect = Expect::FirstItem;
        }
        Ok(token)
    }

    fn close(&mut self, token: Token<'t>) -> Token<'t> {
        debug_assert!(self.depth > 0, "an end is only expected inside a container");
        self.at += 1;
        self.depth -= 1;
        self.after_value();
        token
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.objects & (1 << self.depth) != 0
    }

    fn key(&mut self) -> Result<Token<'t>, JsonError> {
        let key = self.quoted()?;
        if self.peek_past_whitespace() != Some(b':') {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        self.expect = Expect::Value;
        Ok(Token::Key(key))
    }

    fn literal(&mut self, text: &[u8], token: Token<'t>) -> Result<Token<'t>, JsonError> {
        self.at = scan::literal_end(self.text, self.at, text)?;
        Ok(token)
    }

    fn number(&mut self) -> Result<&'t [u8], JsonError> {
        let start = self.at;
        self.at = scan::number_end(self.text, start)?;
        self.text.get(start..self.at).ok_or(JsonError::Syntax)
    }

    /// A string from its opening quote (which the caller has seen) to past its closing one.
    #[inline]
    fn quoted(&mut self) -> Result<Quoted<'t>, JsonError> {
        let start = self.at + 1;
        let (end, escaped) = scan::string_end(self.text, start)?;
        let raw = self.text.get(start..end).ok_or(JsonError::Syntax)?;
        self.at = end + 1;
        Ok(Quoted { raw, escaped })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn peek_past_whitespace(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(byte) if is_whitespace(byte) => self.at += 1,
                other => return other,
            }
        }
    }
}

/// RFC 8259 §2.
pub(crate) fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The characters of a string's raw text, unescaped. A lone surrogate, which no Rust string can hold, becomes U+FFFD.
pub(crate) struct Unescaped<'t> {
    rest: std::str::Chars<'t>,
}

impl<'t> Unescaped<'t> {
    /// `raw` is what stood between the quotes of a well-formed string.
    pub(crate) fn new(raw: &'t str) -> Self {
        Self { rest: raw.chars() }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.as_str().get(..4)?;
        let unit = u32::from_str_radix(digits, 16).ok()?;
        self.rest = self.rest.as_str().get(4..)?.chars();
        Some(unit)
    }

    /// The `\uXXXX` of a low surrogate, if that is what comes next.
    fn low_surrogate(&mut self) -> Option<u32> {
        let mut ahead = Unescaped {
            rest: self.rest.as_str().strip_prefix("\\u")?.chars(),
        };
        let low = ahead
            .unit()
            .filter(|unit| (0xDC00..=0xDFFF).contains(unit))?;
        self.rest = ahead.rest;
        Some(low)
    }

    fn unicode(&mut self) -> Option<char> {
        let unit = self.unit()?;
        let code = match unit {
            0xD800..=0xDBFF => self
                .low_surrogate()
                .map(|low| 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)),
            _ => Some(unit),
        };
        code.and_then(char::from_u32)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = self.rest.next()?;
        if first != '\\' {
            return Some(first);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode().unwrap_or(char::REPLACEMENT_CHARACTER),
            same => same,
        })
    }
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(
        written.is_ok(),
        "a string always has a JSON form, and a Vec takes all that is written"
    );
}

/// Appends `number` in decimal.
pub(crate) fn write_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&Decimal::new(number));
}

/// A number in decimal: dereferences to its digits.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    #[inline]
    pub(crate) fn new(number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut left = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return Self { digits, start };
            }
        }
    }
}

impl Deref for Decimal {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}
