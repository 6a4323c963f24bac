//! Numbers of seven bits a byte, least first: what rows and data files are made of.

/// Appends an unsigned number.
pub fn push(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Appends a signed number, small ones of either sign short.
pub fn push_signed(buffer: &mut Vec<u8>, value: i64) {
    push(buffer, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes `length` bytes off the front of `rest`; `None` if it has fewer.
pub fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// Takes an unsigned number off the front of `rest`.
pub fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a signed number off the front of `rest`.
pub fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let value = take_number(rest)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}
