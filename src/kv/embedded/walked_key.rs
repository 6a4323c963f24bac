//! The key a walk is at, as callers see it.
//!
//! Keys ascend, so most bytes of one are those of the one before. What they share is neither compared nor unescaped a second
//! time: one comparison tells whether it is the same key, and where to go on if it is not.

use super::encoding::{SPACE_BYTES, escaped_key, key_boundary, push_unescaped, unescaped_bytes};

/// The key of the version a walk looked at last.
#[derive(Default)]
pub struct WalkedKey {
    /// The fjall key of that version.
    versioned: Option<fjall::UserKey>,
    user: Vec<u8>,
}

impl WalkedKey {
    /// How many bytes a version prefix shares with this key.
    #[inline]
    pub fn shared_with(&self, prefix: &[u8]) -> usize {
        self.versioned.as_deref().map_or(0, |versioned| shared_bytes(versioned, prefix))
    }

    /// Goes on to a key, whose version prefix shares this many bytes with the present one.
    #[inline]
    pub fn advance(&mut self, versioned: fjall::UserKey, shared: usize) {
        let to = escaped_key(&versioned);
        match self.versioned.as_deref().map(escaped_key) {
            Some(from) => {
                let kept = key_boundary(to, shared.saturating_sub(SPACE_BYTES).min(from.len()));
                self.user.truncate(self.user.len() - unescaped_bytes(&from[kept..]));
                push_unescaped(&mut self.user, &to[kept..]);
            }
            None => push_unescaped(&mut self.user, to),
        }
        self.versioned = Some(versioned);
    }

    /// The key.
    #[inline]
    pub fn user(&self) -> &[u8] {
        &self.user
    }
}

/// Length of the common prefix, found eight bytes at a time.
#[inline]
fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    let mut shared = 0;
    for (a, b) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        let differing =
            u64::from_le_bytes(a.try_into().unwrap_or_default()) ^ u64::from_le_bytes(b.try_into().unwrap_or_default());
        if differing != 0 {
            return shared + differing.trailing_zeros() as usize / 8;
        }
        shared += 8;
    }
    shared + one[shared..].iter().zip(&other[shared..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::super::encoding::{split_time, version_prefix, with_time};
    use super::*;
    use crate::kv::SpaceId;
    use crate::time::Timestamp;

    #[test]
    fn a_walk_over_awkward_keys_sees_each_of_them() {
        let bytes: [u8; 5] = [0, 1, 2, 0xfe, 0xff];
        let mut keys = vec![Vec::new()];
        for length in 1..5_u32 {
            keys.extend(
                (0..5_usize.pow(length))
                    .map(|number| (0..length).map(|digit| bytes[number / 5_usize.pow(digit) % 5]).collect::<Vec<u8>>()),
            );
        }
        keys.extend((0..300_u64).map(|number| (number * 97).to_be_bytes().to_vec()));
        keys.sort();
        keys.dedup();
        let mut walked = WalkedKey::default();
        for key in &keys {
            for time in [9, 3] {
                let prefix = version_prefix(SpaceId(7), key);
                let versioned = with_time(&prefix, Timestamp(time));
                let shared = walked.shared_with(split_time(&versioned).unwrap().0);
                assert_eq!(shared == prefix.len(), time == 3, "{key:?}");
                walked.advance(versioned.into(), shared);
                assert_eq!(walked.user(), key);
            }
        }
    }
}
