use super::*;
use crate::wire::xorshift::Xorshift;

/// RFC 6455 §5.3, octet by octet.
fn by_the_book(mask: [u8; 4], offset: usize, bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ mask[(offset + i) % 4])
        .collect()
}

#[test]
fn agrees_with_the_rfc_for_every_offset_length_and_alignment() {
    let mut random = Xorshift::new(1);
    let plain = random.bytes(300);
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    for offset in 0..9 {
        for start in 0..9 {
            for len in (0..140).chain([200, 255, 256, 257, 290]) {
                let mut bytes = plain[start..start + len].to_vec();
                apply(mask, offset, &mut bytes);
                assert_eq!(
                    bytes,
                    by_the_book(mask, offset, &plain[start..start + len]),
                    "offset {offset}, start {start}, length {len}"
                );
            }
        }
    }
}

#[test]
fn pieces_give_what_the_whole_gives() {
    let plain = Xorshift::new(2).bytes(67);
    let mask = [1, 2, 3, 4];
    let whole = by_the_book(mask, 0, &plain);
    for cut in 0..=plain.len() {
        let mut bytes = plain.clone();
        let (before, after) = bytes.split_at_mut(cut);
        apply(mask, 0, before);
        apply(mask, cut, after);
        assert_eq!(bytes, whole, "cut at {cut}");
        assert_eq!(rotate(mask, cut)[0], mask[cut % 4]);
    }
}

#[test]
fn is_its_own_inverse_on_64_kib() {
    let plain = Xorshift::new(3).bytes(65_536);
    let mut bytes = plain.clone();
    apply([9, 8, 7, 6], 3, &mut bytes);
    assert_ne!(bytes, plain);
    apply([9, 8, 7, 6], 3, &mut bytes);
    assert_eq!(bytes, plain);
}
