//! Key parts as text. Reading takes other forms than writing gives: who reads compares with what would be written.

/// `true` or `false`.
pub(super) fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(super) fn read_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Decimal.
pub(super) fn write_int(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let start = out.len();
    let mut rest = value.unsigned_abs();
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

pub(super) fn read_int(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// UTF-8, with %XX for the bytes of colon, percent, braces and control characters.
pub(super) fn write_string(value: &str, out: &mut Vec<u8>) {
    if value.bytes().all(is_plain) {
        return out.extend_from_slice(value.as_bytes());
    }
    let mut utf8 = [0; 4];
    for character in value.chars() {
        let bytes = character.encode_utf8(&mut utf8).as_bytes();
        let stays = if character.is_ascii() { is_plain(bytes[0]) } else { !character.is_control() };
        if stays {
            out.extend_from_slice(bytes);
        } else {
            bytes.iter().for_each(|byte| write_escaped(*byte, out));
        }
    }
}

/// Printable ASCII, with %XX for other bytes and colon, percent and braces.
pub(super) fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            write_escaped(*byte, out);
        }
    }
}

/// The bytes that were written; `None` where a percent sign has no two hexadecimal digits behind it.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(16 * hex(digits[0])? + hex(digits[1])?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b':' | b'%' | b'{' | b'}')
}

fn write_escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
