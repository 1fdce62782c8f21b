//! Entity keys as readable text: `<prefix><project>.<key space>:<part>:<part>`, e.g. `1.2:CUST00000042:-7`.
//!
//! - The prefix is configured, and empty if not: ASCII letters, digits, `_`, `-`, `/` and `:`, not ending in a digit.
//! - Project and key space are their numbers, decimal. A key without parts ends there, without a colon.
//! - An integer is decimal, by value: an int32 5 and an int64 5 are one key. A timestamp is decimal microseconds.
//! - A bool is `true` or `false`.
//! - A string is its UTF-8. Colon, percent, braces and the 65 control characters (U+0000–1F, U+007F–9F) are written as
//!   %XX for each of their bytes, in capitals; everything else, non-ASCII letters too, stays as it is.
//! - Bytes likewise, save that each byte outside printable ASCII (20–7E) is %XX.
//!
//! A key has no brace, so that `{key}suffix` shares its slot in a cluster. Different keys of a key space never have the
//! same bytes, and each key has just one form: anything else is refused when decoded.

mod columns;
mod scope;
mod text;

use arrow::array::ArrayRef;
use bytes::Bytes;
use larder_types::{EntityKey, Error, KeyPart, KeySpaceNumber, KeyType, ProjectNumber, Result};

use crate::packed::Packed;
use columns::KeyColumn;

pub use scope::KeyScope;

/// The most bytes a key may have.
pub const MAX_KEY_BYTES: usize = 4096;

/// Writes the keys of one key space.
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    scope: KeyScope,
    types: Vec<KeyType>,
}

/// Keys in one buffer. There is none where a part is null: it matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedKeys(Packed);

impl KeyEncoder {
    /// An encoder of keys whose parts have `types`, in the order of the key space; none for a view without entities.
    ///
    /// INVALID_ARGUMENT where the prefix is not one.
    pub fn new(
        prefix: Option<&str>,
        project: ProjectNumber,
        key_space: KeySpaceNumber,
        types: &[KeyType],
    ) -> Result<Self> {
        Ok(Self { scope: KeyScope::key_space(prefix, project, key_space)?, types: types.to_vec() })
    }

    /// The types of the parts.
    pub fn types(&self) -> &[KeyType] {
        &self.types
    }

    /// All keys that it can write.
    pub fn scope(&self) -> &KeyScope {
        &self.scope
    }

    /// Encodes `rows` keys out of one column per part. INVALID_ARGUMENT where a column's type or length does not fit, or
    /// a key is longer than [`MAX_KEY_BYTES`].
    ///
    /// An int32 or int64 column fits an int32 or int64 part.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<EncodedKeys> {
        let (keys, refused) = self.encode_each(columns, rows)?;
        match refused.into_iter().next() {
            Some((row, error)) => Err(error.context(format_args!("row {}", row + 1))),
            None => Ok(keys),
        }
    }

    /// As [`KeyEncoder::encode`], but there is no key for a row whose key is too long, and the rows so refused come with
    /// their errors.
    pub fn encode_each(&self, columns: &[ArrayRef], rows: usize) -> Result<(EncodedKeys, Vec<(usize, Error)>)> {
        let columns = self.columns(columns, rows)?;
        let mut bytes = Vec::with_capacity(rows * (self.scope.start().len() + 16 * columns.len()));
        let mut ends = Vec::with_capacity(rows);
        let mut refused = Vec::new();
        for row in 0..rows {
            let start = bytes.len();
            if columns.iter().all(|column| !column.is_null(row)) {
                bytes.extend_from_slice(self.scope.start());
                columns.iter().for_each(|column| column.write(row, &mut bytes));
                if let Err(error) = check_length(bytes.len() - start) {
                    bytes.truncate(start);
                    refused.push((row, error));
                }
            }
            ends.push(bytes.len());
        }
        Ok((EncodedKeys(Packed::new(bytes, ends)), refused))
    }

    /// Encodes one key. INVALID_ARGUMENT where its parts are not of the key space's types, or it is too long.
    pub fn encode_one(&self, key: &EntityKey) -> Result<Bytes> {
        self.check_count(key.0.len())?;
        let mut bytes = self.scope.start().to_vec();
        for (part, key_type) in key.0.iter().zip(&self.types) {
            bytes.push(b':');
            match (part, key_type) {
                (KeyPart::Bool(value), KeyType::Bool) => text::write_bool(*value, &mut bytes),
                (KeyPart::Int(value), KeyType::Int32 | KeyType::Int64)
                | (KeyPart::Timestamp(value), KeyType::Timestamp) => text::write_int(*value, &mut bytes),
                (KeyPart::String(value), KeyType::String) => text::write_string(value, &mut bytes),
                (KeyPart::Bytes(value), KeyType::Bytes) => text::write_bytes(value, &mut bytes),
                (
                    KeyPart::Bool(_) | KeyPart::Int(_) | KeyPart::String(_) | KeyPart::Bytes(_) | KeyPart::Timestamp(_),
                    _,
                ) => return Err(Error::invalid_argument(format!("the key part {part:?} is not {key_type}"))),
            }
        }
        check_length(bytes.len())?;
        Ok(bytes.into())
    }

    /// Reads a key back, for tools. INVALID_ARGUMENT where it is not one that this encoder writes.
    pub fn decode(&self, key: &[u8]) -> Result<EntityKey> {
        self.parts(key).filter(|read| self.encode_one(read).is_ok_and(|written| written == key)).ok_or_else(|| {
            let types: Vec<_> = self.types.iter().map(KeyType::to_string).collect();
            Error::invalid_argument(format!(
                "`{}` is not a key of key space `{}` with the parts ({})",
                key.escape_ascii(),
                self.scope,
                types.join(", ")
            ))
        })
    }

    fn columns<'a>(&self, columns: &'a [ArrayRef], rows: usize) -> Result<Vec<KeyColumn<'a>>> {
        self.check_count(columns.len())?;
        let columns = columns.iter().zip(&self.types).enumerate();
        columns.map(|(part, (array, key_type))| KeyColumn::new(part, array, *key_type, rows)).collect()
    }

    fn check_count(&self, parts: usize) -> Result<()> {
        if parts == self.types.len() {
            return Ok(());
        }
        let wanted = self.types.len();
        Err(Error::invalid_argument(format!("a key of {parts} parts was given, the key space has {wanted}")))
    }

    /// The parts of a key, which need not be in their only form.
    fn parts(&self, key: &[u8]) -> Option<EntityKey> {
        let rest = key.strip_prefix(self.scope.start())?;
        if self.types.is_empty() {
            return rest.is_empty().then(EntityKey::default);
        }
        let mut texts = rest.strip_prefix(b":")?.split(|byte| *byte == b':');
        let parts: Option<Vec<_>> = self.types.iter().map(|key_type| part(*key_type, texts.next()?)).collect();
        texts.next().is_none().then_some(EntityKey(parts?))
    }
}

impl EncodedKeys {
    /// How many keys there are, missing ones too.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all keys together.
    pub fn byte_len(&self) -> usize {
        self.0.byte_len()
    }

    /// A key; `None` where it matches nothing. Panics beyond the last.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        Some(self.0.get(index)).filter(|key| !key.is_empty())
    }

    /// A key that keeps the whole buffer alive, without copying. Panics beyond the last.
    pub fn slice(&self, index: usize) -> Option<Bytes> {
        Some(self.0.slice(index)).filter(|key| !key.is_empty())
    }

    /// The keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Keys that were encoded before; an empty one counts as missing.
impl<K: AsRef<[u8]>> FromIterator<Option<K>> for EncodedKeys {
    fn from_iter<I: IntoIterator<Item = Option<K>>>(keys: I) -> Self {
        let mut bytes = Vec::new();
        let end = |key: Option<K>| {
            bytes.extend_from_slice(key.as_ref().map_or(&[], AsRef::as_ref));
            bytes.len()
        };
        let ends = keys.into_iter().map(end).collect();
        Self(Packed::new(bytes, ends))
    }
}

fn part(key_type: KeyType, text: &[u8]) -> Option<KeyPart> {
    match key_type {
        KeyType::Bool => text::read_bool(text).map(KeyPart::Bool),
        KeyType::Int32 | KeyType::Int64 => text::read_int(text).map(KeyPart::Int),
        KeyType::String => String::from_utf8(text::unescape(text)?).ok().map(KeyPart::String),
        KeyType::Bytes => text::unescape(text).map(KeyPart::Bytes),
        KeyType::Timestamp => text::read_int(text).map(KeyPart::Timestamp),
    }
}

fn check_length(bytes: usize) -> Result<()> {
    if bytes <= MAX_KEY_BYTES {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("the entity key takes {bytes} bytes, at most {MAX_KEY_BYTES} are allowed")))
}
