//! Numbers in one to five bytes, whose order as bytes is their order as numbers.
//!
//! The leading ones of the first byte count the bytes that follow it: `0xxxxxxx`, `10xxxxxx` + 1, `110xxxxx` + 2,
//! `1110xxxx` + 3, `11110000` + 4; the rest is the number, big-endian. Only the shortest form is valid.

/// The bytes that `number` takes.
pub(crate) fn len(number: u32) -> usize {
    match number {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0x0FFF_FFFF => 4,
        0x1000_0000.. => 5,
    }
}

/// Writes `number` to the start of `out`, which has room for [`len`] bytes.
pub(crate) fn write(number: u32, out: &mut [u8]) {
    let bytes = number.to_be_bytes();
    match len(number) {
        5 => {
            out[0] = 0xF0;
            out[1..5].copy_from_slice(&bytes);
        }
        size => {
            const MARKS: [u8; 5] = [0, 0, 0x80, 0xC0, 0xE0];
            out[..size].copy_from_slice(&bytes[4 - size..]);
            out[0] |= MARKS[size];
        }
    }
}

/// The number at the start of `bytes` and the bytes it takes; `None` where it is cut short or not in its shortest form.
pub(crate) fn read(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let (head, size) = match first.leading_ones() {
        1 => (first & 0x3F, 2),
        2 => (first & 0x1F, 3),
        3 => (first & 0x0F, 4),
        _ if first == 0xF0 => (0, 5),
        _ => return None,
    };
    let rest = bytes.get(1..size)?;
    let number = rest.iter().fold(u32::from(head), |number, byte| (number << 8) | u32::from(*byte));
    (len(number) == size).then_some((number, size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: u32) -> Vec<u8> {
        let mut out = vec![0; len(number)];
        write(number, &mut out);
        out
    }

    #[test]
    fn the_borders_of_each_size_are_read_back() {
        for border in [0, 0x80, 0x4000, 0x20_0000, 0x1000_0000, u32::MAX] {
            for number in [border.saturating_sub(1), border, border.saturating_add(1)] {
                let bytes = written(number);
                assert_eq!(read(&bytes), Some((number, bytes.len())));
                assert_eq!(read(&bytes[..bytes.len() - 1]), None, "cut short");
            }
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        for bytes in [&[0x80, 0x7F][..], &[0xC0, 0x3F, 0xFF], &[0xF0, 0, 0, 0, 0], &[0xF1, 0xFF, 0xFF, 0xFF, 0xFF]] {
            assert_eq!(read(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_are_ordered_as_numbers(a: u32, b: u32, shift in 0..32_u32) {
            let (a, b) = (a >> shift, b >> shift);
            prop_assert_eq!(written(a).cmp(&written(b)), a.cmp(&b));
        }
    }
}
