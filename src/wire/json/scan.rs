//! Where a string, a number or a literal ends, and the rest of a value checked in one go.
//!
//! Nearly all of a packet's JSON is looked at by nobody but its receiver. What the engine wants of it is a yes or no, and showing it
//! token by token would cost more than the reading.

use super::{Expect, JsonError, Reader, is_whitespace};

impl Reader<'_> {
    /// Reads what is left and says whether all of it is well formed. The same as asking for tokens until there are no more.
    pub(crate) fn finish(mut self) -> Result<(), JsonError> {
        // Where the reader is, is where this loop is: nothing else is looked up for each token.
        let mut in_object = self.in_object();
        let mut before_value = match self.expect {
            Expect::Value => true,
            Expect::Next | Expect::End => false,
            Expect::Key => self.skip_key().map(|()| true)?,
            Expect::FirstItem | Expect::FirstKey => self.skip_beginning(&mut in_object)?,
        };
        loop {
            if before_value {
                match self.byte() {
                    Some(first @ (b'[' | b'{')) => {
                        in_object = first == b'{';
                        self.enter(in_object)?;
                        before_value = self.skip_beginning(&mut in_object)?;
                        continue;
                    }
                    Some(first) => self.at = scalar_end(self.text, self.at, first)?,
                    None => return Err(JsonError::Syntax),
                }
            }
            // A value, or a container, has just ended.
            let byte = self.byte();
            if self.depth == 0 {
                return byte.map_or(Ok(()), |_| Err(JsonError::Syntax));
            }
            before_value = byte == Some(b',');
            if before_value {
                self.at += 1;
                if in_object {
                    self.skip_key()?;
                }
            } else if byte == Some(if in_object { b'}' } else { b']' }) {
                in_object = self.leave();
            } else {
                return Err(JsonError::Syntax);
            }
        }
    }

    /// The next byte that is no whitespace.
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(&byte) if is_whitespace(byte) => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    #[inline(always)]
    fn enter(&mut self, object: bool) -> Result<(), JsonError> {
        if self.depth >= self.max_depth {
            return Err(JsonError::TooDeep);
        }
        (self.at, self.depth) = (self.at + 1, self.depth + 1);
        let bit = 1 << self.depth;
        self.objects = if object {
            self.objects | bit
        } else {
            self.objects & !bit
        };
        Ok(())
    }

    /// Past the bracket of an empty container, or past the first key of an object. True: a value comes next.
    #[inline(always)]
    fn skip_beginning(&mut self, in_object: &mut bool) -> Result<bool, JsonError> {
        let end = if *in_object { b'}' } else { b']' };
        if self.byte() == Some(end) {
            *in_object = self.leave();
            return Ok(false);
        }
        if *in_object {
            self.skip_key()?;
        }
        Ok(true)
    }

    /// Past a key and its colon.
    #[inline(always)]
    fn skip_key(&mut self) -> Result<(), JsonError> {
        if self.byte() != Some(b'"') {
            return Err(JsonError::Syntax);
        }
        let (end, _) = string_end(self.text, self.at + 1)?;
        self.at = end + 1;
        if self.byte() != Some(b':') {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Past the end of a container; says whether what it was in is an object.
    #[inline(always)]
    fn leave(&mut self) -> bool {
        (self.at, self.depth) = (self.at + 1, self.depth - 1);
        self.in_object()
    }
}

/// Where the scalar at `at`, of which `first` is the first byte, ends: the index of the byte after it.
#[inline]
fn scalar_end(text: &[u8], at: usize, first: u8) -> Result<usize, JsonError> {
    match first {
        b'"' => string_end(text, at + 1).map(|(end, _)| end + 1),
        b't' => literal_end(text, at, b"true"),
        b'f' => literal_end(text, at, b"false"),
        b'n' => literal_end(text, at, b"null"),
        _ => number_end(text, at),
    }
}

/// The same of one of the three literals.
#[inline]
pub(super) fn literal_end(text: &[u8], at: usize, literal: &[u8]) -> Result<usize, JsonError> {
    let end = at + literal.len();
    if text.get(at..end) == Some(literal) {
        Ok(end)
    } else {
        Err(JsonError::Syntax)
    }
}

/// RFC 8259 §6: no leading zeros, and digits on both sides of the point. Any magnitude: it is not evaluated.
pub(super) fn number_end(text: &[u8], mut at: usize) -> Result<usize, JsonError> {
    let peek = |at: usize| text.get(at).copied().unwrap_or_default();
    at += usize::from(peek(at) == b'-');
    at = match peek(at) {
        b'0' => at + 1,
        _ => digits_end(text, at)?,
    };
    if peek(at) == b'.' {
        at = digits_end(text, at + 1)?;
    }
    if matches!(peek(at), b'e' | b'E') {
        let sign = usize::from(matches!(peek(at + 1), b'+' | b'-'));
        at = digits_end(text, at + 1 + sign)?;
    }
    Ok(at)
}

/// Past the digits at `at`, of which there must be one.
#[inline]
fn digits_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let rest = text.get(at..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(JsonError::Syntax);
    }
    Ok(at + digits)
}

/// Where the string ends whose content begins at `at`: the index of its closing quote, and whether it holds a backslash.
#[inline]
pub(super) fn string_end(text: &[u8], mut at: usize) -> Result<(usize, bool), JsonError> {
    let mut escaped = false;
    loop {
        at += plain_prefix(text.get(at..).unwrap_or_default());
        match text.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => at = escape_end(text, at)?,
            // A raw control character, or the end of the text.
            _ => return Err(JsonError::Syntax),
        }
        escaped = true;
    }
}

/// Past the escape whose backslash is at `at`.
fn escape_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let length = match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
        // Surrogates need no partner: RFC 8259 §8.2 leaves lone ones grammatical.
        Some(b'u') => 6,
        _ => return Err(JsonError::Syntax),
    };
    let digits = text.get(at + 2..at + length).ok_or(JsonError::Syntax)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(JsonError::Syntax);
    }
    Ok(at + length)
}

/// How many bytes at the start of `text` are string content without meaning to JSON: no quote, backslash or control character.
///
/// This is where the time goes when a message is long. Keys and names end within two words, mostly. Of a block it is only asked whether
/// it holds such a byte, a loop without branches that the compiler turns into vector instructions; where one is, words find.
#[inline]
pub(crate) fn plain_prefix(text: &[u8]) -> usize {
    let Some((first, rest)) = text.split_at_checked(FIRST) else {
        return plain_prefix_by_words(text);
    };
    match plain_prefix_by_words(first) {
        FIRST => FIRST + plain_prefix_by_blocks(rest),
        length => length,
    }
}

const FIRST: usize = 16;

fn plain_prefix_by_blocks(text: &[u8]) -> usize {
    let (blocks, tail) = text.as_chunks::<64>();
    for (index, block) in blocks.iter().enumerate() {
        let mut meaning = false;
        for &byte in block {
            meaning |= (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        }
        if meaning {
            return index * 64 + plain_prefix_by_words(block);
        }
    }
    blocks.len() * 64 + plain_prefix_by_words(tail)
}

/// The same, eight bytes at a time.
#[inline]
pub(super) fn plain_prefix_by_words(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // In each byte the high bit becomes 1 if the byte is the one sought. A borrow can only spoil bytes after the first hit.
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let hits = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if hits & HIGH != 0 {
            return index * 8 + (hits & HIGH).trailing_zeros() as usize / 8;
        }
    }
    let in_tail = tail
        .iter()
        .take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
        .count();
    words.len() * 8 + in_tail
}
