//! Masking of client frames (RFC 6455 §5.3). It is its own inverse.

#[cfg(test)]
mod tests;

/// Masks or unmasks `bytes`, of which the first lies `offset` bytes into the frame's payload.
///
/// Plain safe code on 64-bit words: the compiler turns the loop into vector instructions, and a tiny payload
/// pays for no set-up beyond spreading the key.
#[inline]
pub(crate) fn apply(mask: [u8; 4], offset: usize, bytes: &mut [u8]) {
    let mask = rotate(mask, offset);
    let half = u64::from(u32::from_ne_bytes(mask));
    let key = half << 32 | half;

    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    let (halves, rest) = rest.as_chunks_mut::<4>();
    for half in halves {
        *half = (u32::from_ne_bytes(*half) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// The mask as it applies `offset` bytes further on: what carries a mask across the pieces of a frame.
#[inline]
pub(crate) fn rotate(mask: [u8; 4], offset: usize) -> [u8; 4] {
    // As a number: `<[u8]>::rotate_left` is a call, and a slow one.
    let bits = (offset % 4) as u32 * 8;
    u32::from_le_bytes(mask).rotate_right(bits).to_le_bytes()
}
