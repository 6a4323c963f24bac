//! Sealing: what makes the files of an encrypted backup unreadable and any change to them noticed.
//!
//! ```text
//!   passphrase --Argon2id--> wrapping key --unwraps--> data key of the chain      (ENCRYPTION-INFO, once per chain)
//!   data key, chain id, file id --HKDF-SHA256--> key of one file
//!   piece of a file --AES-256-GCM--> sealed piece    nonce: the piece's number
//!                                                    associated data: chain id, file id, number, whether it is the last
//! ```
//!
//! A file's id is random and never used again, not even by a retry, so no key and nonce meet twice. Neither the URI nor the
//! directory is in the associated data: a collection can be moved.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::hex::{hex, unhex};

/// Bytes by which sealing makes a piece longer.
pub const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const CHAIN_ID_BYTES: usize = 16;
const FORMAT: u32 = 1;
const ARGON2ID: &str = "argon2id";
/// The cost of trying a passphrase: memory, passes, lanes. As in RFC 9106, for machines short of memory.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// No more is spent on what a damaged file asks for.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 16;

/// What can go wrong with sealed things.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Another passphrase was used.
    #[error("the passphrase is not the one the backup was encrypted with")]
    WrongPassphrase,
    /// It was written by something newer, or is damaged.
    #[error("{0}")]
    Unreadable(String),
    /// The piece is not what was sealed.
    #[error("it has been changed, or is of another backup")]
    Changed,
}

/// The key that all files of a chain are sealed under.
#[derive(Clone)]
pub struct ChainKey {
    inner: Arc<Inner>,
}

struct Inner {
    chain: [u8; CHAIN_ID_BYTES],
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// The key of one file.
#[derive(Clone)]
pub struct FileKey {
    key: LessSafeKey,
    chain: [u8; CHAIN_ID_BYTES],
    file: u128,
}

/// How the data key of a chain can be had: `ENCRYPTION-INFO`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EncryptionInfo {
    format: u32,
    chain: String,
    wrapped: Vec<WrappedKey>,
}

/// The data key, wrapped once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
enum WrappedKey {
    /// Under a key derived from a passphrase.
    Passphrase { kdf: String, memory_kib: u32, passes: u32, lanes: u32, salt: String, nonce: String, key: String },
}

impl std::fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainKey(...)")
    }
}

fn damaged() -> Error {
    Error::Unreadable("it is damaged".into())
}

fn aead(key: &[u8]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| damaged())
}

impl ChainKey {
    /// A fresh one.
    pub fn random() -> ChainKey {
        ChainKey { inner: Arc::new(Inner { chain: rand::random(), key: Zeroizing::new(rand::random()) }) }
    }

    /// A fresh one, and how to have it again by a passphrase.
    pub fn create(passphrase: &str) -> Result<(ChainKey, EncryptionInfo), Error> {
        let key = ChainKey::random();
        let (salt, nonce): ([u8; 16], [u8; NONCE_LEN]) = (rand::random(), rand::random());
        let wrapping = derive(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
        let mut sealed = key.inner.key.to_vec();
        aead(&*wrapping)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.inner.chain), &mut sealed)
            .map_err(|_| damaged())?;
        let wrapped = WrappedKey::Passphrase {
            kdf: ARGON2ID.into(),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: hex(&salt),
            nonce: hex(&nonce),
            key: hex(&sealed),
        };
        let info = EncryptionInfo { format: FORMAT, chain: hex(&key.inner.chain), wrapped: vec![wrapped] };
        Ok((key, info))
    }

    /// The key of a chain, by a passphrase. Takes a noticeable part of a second and 64 MiB.
    pub fn unwrap(info: &EncryptionInfo, passphrase: &str) -> Result<ChainKey, Error> {
        if info.format > FORMAT {
            return Err(Error::Unreadable(format!("it has format {}; this version reads up to {FORMAT}", info.format)));
        }
        let chain = unhex(&info.chain).and_then(|chain| <[u8; CHAIN_ID_BYTES]>::try_from(chain).ok());
        let chain = chain.ok_or_else(damaged)?;
        let Some(WrappedKey::Passphrase { kdf, memory_kib, passes, lanes, salt, nonce, key }) = info.wrapped.first()
        else {
            return Err(Error::Unreadable("it was not encrypted with a passphrase".into()));
        };
        if kdf != ARGON2ID || *memory_kib > MAX_MEMORY_KIB || *passes > MAX_PASSES || *lanes > MAX_LANES {
            return Err(Error::Unreadable("this version does not derive keys in the way it asks for".into()));
        }
        let wrapping = derive(passphrase, &unhex(salt).ok_or_else(damaged)?, *memory_kib, *passes, *lanes)?;
        let nonce = unhex(nonce).and_then(|nonce| <[u8; NONCE_LEN]>::try_from(nonce).ok()).ok_or_else(damaged)?;
        let mut sealed = Zeroizing::new(unhex(key).ok_or_else(damaged)?);
        let opened = aead(&*wrapping)?
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(chain), &mut sealed)
            .map_err(|_| Error::WrongPassphrase)?;
        let key = <[u8; KEY_BYTES]>::try_from(&*opened).map_err(|_| damaged())?;
        Ok(ChainKey { inner: Arc::new(Inner { chain, key: Zeroizing::new(key) }) })
    }

    /// For keeping it where it is sealed again.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.inner.chain[..], &self.inner.key[..]].concat())
    }

    /// From what [`ChainKey::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<ChainKey> {
        let (chain, key) = bytes.split_at_checked(CHAIN_ID_BYTES)?;
        let key = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(key).ok()?);
        Some(ChainKey { inner: Arc::new(Inner { chain: chain.try_into().ok()?, key }) })
    }

    /// The key of a file.
    pub fn file(&self, file: u128) -> Result<FileKey, Error> {
        let id = file.to_be_bytes();
        let salt = Salt::new(HKDF_SHA256, &self.inner.chain).extract(&*self.inner.key);
        let info = [&b"keepsafe file"[..], &id];
        let key = salt.expand(&info, &AES_256_GCM).map_err(|_| damaged())?;
        Ok(FileKey { key: LessSafeKey::new(UnboundKey::from(key)), chain: self.inner.chain, file })
    }
}

fn derive(
    passphrase: &str,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    let parameters = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(|_| damaged())?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon.hash_password_into(passphrase.as_bytes(), salt, &mut *key).map_err(|_| damaged())?;
    Ok(key)
}

impl FileKey {
    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn associated(&self, number: u64, last: bool) -> Aad<Vec<u8>> {
        let mut data = Vec::with_capacity(CHAIN_ID_BYTES + 16 + 8 + 1);
        data.extend_from_slice(&self.chain);
        data.extend_from_slice(&self.file.to_be_bytes());
        data.extend_from_slice(&number.to_be_bytes());
        data.push(u8::from(last));
        Aad::from(data)
    }

    /// Seals a piece. Each number may be used once.
    pub fn seal(&self, number: u64, last: bool, mut piece: Vec<u8>) -> Result<Vec<u8>, Error> {
        let sealed =
            self.key.seal_in_place_append_tag(FileKey::nonce(number), self.associated(number, last), &mut piece);
        sealed.map(|()| piece).map_err(|_| Error::Changed)
    }

    /// Opens a piece.
    pub fn open(&self, number: u64, last: bool, mut piece: Vec<u8>) -> Result<Vec<u8>, Error> {
        let opened = self.key.open_in_place(FileKey::nonce(number), self.associated(number, last), &mut piece);
        let length = opened.map_err(|_| Error::Changed)?.len();
        piece.truncate(length);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_opens_what_it_sealed_and_no_other_does() {
        let (key, info) = ChainKey::create("correct horse").unwrap();
        let again = ChainKey::unwrap(&info, "correct horse").unwrap();
        let sealed = key.file(7).unwrap().seal(3, false, b"secret".to_vec()).unwrap();
        assert_eq!(again.file(7).unwrap().open(3, false, sealed.clone()), Ok(b"secret".to_vec()));
        assert_eq!(ChainKey::unwrap(&info, "wrong horse").map(drop), Err(Error::WrongPassphrase));
        let kept = ChainKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(kept.file(7).unwrap().open(3, false, sealed.clone()), Ok(b"secret".to_vec()));
        // Another place, another file, another chain, another byte.
        assert!(again.file(7).unwrap().open(4, false, sealed.clone()).is_err());
        assert!(again.file(7).unwrap().open(3, true, sealed.clone()).is_err());
        assert!(again.file(8).unwrap().open(3, false, sealed.clone()).is_err());
        let (other, _) = ChainKey::create("correct horse").unwrap();
        assert!(other.file(7).unwrap().open(3, false, sealed.clone()).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(again.file(7).unwrap().open(3, false, changed).is_err());
        }
        assert!(!format!("{key:?} {info:?}").contains("correct"));
    }

    #[test]
    fn what_a_damaged_file_asks_for_is_bounded() {
        let (_, info) = ChainKey::create("p").unwrap();
        let json = serde_json::to_string(&info).unwrap();
        for (from, to) in [
            ("\"memory_kib\":65536", "\"memory_kib\":4294967295"),
            ("\"passes\":3", "\"passes\":4000000000"),
            ("\"passes\":3", "\"passes\":0"),
            ("\"lanes\":1", "\"lanes\":16777215"),
            ("argon2id", "argon9"),
            ("\"format\":1", "\"format\":2"),
        ] {
            let changed: EncryptionInfo = serde_json::from_str(&json.replace(from, to)).unwrap();
            assert!(matches!(ChainKey::unwrap(&changed, "p"), Err(Error::Unreadable(_))), "{to}");
        }
    }
}
