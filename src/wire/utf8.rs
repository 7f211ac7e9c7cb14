//! UTF-8 that arrives in pieces, refused at the first byte that cannot belong to it.

#[cfg(test)]
mod tests;

use std::str;

/// The bytes so far are not the beginning of any UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Checks a text piece by piece. What it keeps between pieces is one unfinished character.
///
/// A piece is refused as soon as its last byte settles that no further byte can make it valid (overlong forms, surrogates
/// and code points above U+10FFFF included), so a text message can be failed long before it ends (RFC 6455 §8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validator {
    /// The beginning of a character: at most three bytes of four.
    pending: [u8; 3],
    pending_len: u8,
}

impl Validator {
    /// The next piece of the text. After an error the validator is of no more use.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let rest = self.finish_character(bytes)?;
        let Err(error) = str::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Invalid);
        }
        self.keep(rest.get(error.valid_up_to()..).unwrap_or_default());
        Ok(())
    }

    /// The text ends here: it must not end inside a character.
    pub(crate) fn finish(&self) -> Result<(), Invalid> {
        if self.pending_len == 0 {
            Ok(())
        } else {
            Err(Invalid)
        }
    }

    /// Completes the character that the last piece left unfinished, and returns the bytes after it. When the character
    /// is still unfinished, nothing is left over.
    fn finish_character<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Invalid> {
        if self.pending_len == 0 {
            return Ok(bytes);
        }
        let mut character = [0; 4];
        let mut len = usize::from(self.pending_len);
        character[..3].copy_from_slice(&self.pending);
        for (taken, byte) in bytes.iter().enumerate() {
            // Four bytes are either a character or an error, so the slot exists as long as the loop goes on.
            let Some(slot) = character.get_mut(len) else {
                return Err(Invalid);
            };
            *slot = *byte;
            len += 1;
            match str::from_utf8(&character[..len]) {
                Ok(_) => {
                    self.pending_len = 0;
                    return Ok(&bytes[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                Err(_) => {}
            }
        }
        self.keep(&character[..len]);
        Ok(&[])
    }

    fn keep(&mut self, unfinished: &[u8]) {
        debug_assert!(unfinished.len() <= 3, "four bytes are a whole character");
        for (slot, byte) in self.pending.iter_mut().zip(unfinished) {
            *slot = *byte;
        }
        self.pending_len = unfinished.len() as u8;
    }
}
